"""A model that nobody trusts yet, run in a throw-away child process.

A cut or crafted file can end the process that opens it, or write where it should not; here that
is the child, and the parent says so. Request and report are lines of JSON.
"""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from device.bundles.tflite_file import FileFacts, problem_of_start
from device.core.bundle import Activation, InputSpec
from device.errors import LookoutError, ModelError, PictureError

TIMEOUT_S = 120.0
MEMORY_MAX_BYTES = 3 << 30
"""Address space of the child; an ordinary classifier takes 0.2 GB of it."""
CPU_MAX_S = 300
OUTPUT_MAX_BYTES = 128 << 20
"""Of any file that the child writes, its report among them: six pictures' scores of a million
labels fit."""
LINE_MAX_BYTES = 32 << 20
WORDS_MAX_BYTES = 64 << 10
LONGEST_WORDS = 300
START_BYTES = 512

STAGES = {
    "start": "while it started",
    "read": "while it read the file",
    "load": "while it loaded the model",
    "run": "while it ran the model",
}

Kind: TypeAlias = Literal["model", "picture"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRequest:
    """What the child shall do: read `model`, load it, and score `pictures` under each of `specs`.

    labels: how many there are; None to leave that open. Each spec is first run on plain grey.
    """

    model: str
    runtime: str = "auto"
    threads: int = 1
    labels: int | None = None
    activation: Activation = "none"
    specs: tuple[InputSpec, ...] = ()
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """As `TensorInfo`, its dtype by name."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """A model that a runtime could load. problems: check to what is wrong, or None."""

    runtime: str
    version: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operators: tuple[str, ...]
    nodes: int
    delegated_nodes: int
    problems: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Scores of one picture under one spec. picture: -1 for plain grey."""

    spec: int
    picture: int
    values: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the child's report; one of its fields is set."""

    stage: str | None = None
    file: FileFacts | None = None
    network: NetworkFacts | None = None
    answer: Answer | None = None
    error: str | None = None
    kind: Kind = "model"
    is_end: bool = False


@dataclass(slots=True)
class TrialResult:
    """What the child told before its end. error: None when it came to the end as asked."""

    file: FileFacts | None = None
    network: NetworkFacts | None = None
    answers: dict[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict)
    error: LookoutError | None = None

    def take(self, line: Line) -> None:
        """Add one line of the report; the first error counts."""
        self.file = line.file or self.file
        self.network = line.network or self.network
        if line.answer is not None:
            key = (line.answer.spec, line.answer.picture)
            self.answers[key] = np.array(line.answer.values, np.float32)
        if line.error is not None and self.error is None:
            self.error = (PictureError if line.kind == "picture" else ModelError)(line.error)

    def need_network(self) -> NetworkFacts:
        """Raises what ended the trial."""
        if self.error is not None:
            raise self.error
        if self.network is None:
            raise ModelError("the trial of the model ended without a word; run it again")
        return self.network


TryModel: TypeAlias = Callable[[TrialRequest], TrialResult]

REQUEST = TypeAdapter(TrialRequest)
LINE = TypeAdapter(Line)


def check_start(path: Path) -> None:
    """Cheap sanity before anything else opens the file. Raises ModelError."""
    try:
        if path.is_dir():
            raise ModelError(f"{path}: a folder; want a .tflite file")
        if path.exists() and not path.is_file():  # a named pipe would be waited for, for ever
            raise ModelError(f"{path}: no plain file; want a .tflite file")
        with path.open("rb") as file:
            start = file.read(START_BYTES)
        problem = problem_of_start(start, path.stat().st_size)
    except FileNotFoundError as exc:
        raise ModelError(f"{path}: no such file; want a .tflite file") from exc
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    if problem is not None:
        raise ModelError(f"{path}: {problem}")


def run_trial(
    request: TrialRequest, command: Sequence[str], timeout_s: float = TIMEOUT_S
) -> TrialResult:
    """Start `command`, which does `request` and reports; the caller survives its crash.

    Raises nothing for a bad model: the result says what happened.
    """
    name = Path(request.model).name
    # Files, not pipes: the child bounds what it writes (`OUTPUT_MAX_BYTES`), and nothing that it
    # says is held in this process but what is read here.
    with TemporaryFile() as output, TemporaryFile() as words:
        code: int | None = None
        try:
            code = subprocess.run(
                command,
                input=REQUEST.dump_json(request),
                stdout=output,
                stderr=words,
                timeout=timeout_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            pass
        except OSError as exc:
            error = ModelError(f"the trial of {name} cannot be started: {exc.strerror}")
            return TrialResult(error=error)
        result = TrialResult()
        stage, is_ended = "start", False
        for text in _lines_of(output):
            try:
                line = LINE.validate_json(text)
            except ValidationError:
                continue
            stage = line.stage or stage
            is_ended = is_ended or line.is_end
            result.take(line)
        if result.error is None and not is_ended:
            where = STAGES.get(stage, stage)
            said = _last_words(words)
            result.error = ModelError(_how_it_ended(name, code, where, timeout_s, said))
        return result


def _lines_of(report: BinaryIO) -> Iterator[bytes]:
    """Whole lines, as far as they are no longer than any of ours."""
    report.seek(0)
    left = OUTPUT_MAX_BYTES
    while left > 0 and (line := report.readline(min(left, LINE_MAX_BYTES))):
        left -= len(line)
        yield line


def _last_words(words: BinaryIO) -> list[str]:
    """The last line of what it said in its need."""
    size_bytes = words.seek(0, SEEK_END)
    words.seek(max(size_bytes - WORDS_MAX_BYTES, 0))
    text = words.read(WORDS_MAX_BYTES).decode("utf-8", "replace")
    return [line[-LONGEST_WORDS:] for line in text.strip().splitlines()[-1:]]


def _how_it_ended(
    name: str, code: int | None, where: str, timeout_s: float, last_words: Sequence[str]
) -> str:
    wanted = "the file is cut, damaged or made to do harm: take it from its source again"
    if code is None:
        return f"{name}: its trial did not end within {timeout_s:.0f} s, {where}; {wanted}"
    if code < 0:
        return f"{name}: ended its trial process with {_signal(-code)}, {where}; {wanted}"
    words = f" ({last_words[0]})" if last_words else ""
    return f"{name}: its trial process ended with code {code}{words}, {where}; {wanted}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def to_line(line: Line) -> bytes:
    """Without what is not set."""
    found: dict[str, Any] = LINE.dump_python(line, mode="json", exclude_none=True)
    return json.dumps(found).encode() + b"\n"
