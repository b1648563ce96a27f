"""`lookout trial`, hidden: the throw-away child in which a model that nobody trusts is opened.

Reads a request on standard input, reports on standard output, a line of JSON each; the other end
is `device/bundles/trial.py`.
"""

import argparse
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from device import assembly
from device.bundles.tflite_file import FileFacts, FlatbufferError, read_facts
from device.bundles.trial import (
    CPU_MAX_S,
    MEMORY_MAX_BYTES,
    OUTPUT_MAX_BYTES,
    REQUEST,
    Answer,
    Line,
    NetworkFacts,
    TensorFacts,
    TrialRequest,
    to_line,
)
from device.core.bundle import Bundle, InputSpec
from device.core.detection import Thresholds
from device.core.images import Rgb
from device.errors import LookoutError, ModelError, PictureError
from device.inference.preprocessing import check_input
from device.inference.tflite_classifier import TfliteClassifier, only_input, only_output
from device.picture_files import read_picture
from device.ports import Network, Runtime, TensorInfo

GREY = 127
FILE_MAX_BYTES = 1 << 30

Report = Callable[[Line], None]


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    # Without `help`, argparse leaves a command out of the list.
    parser = subparsers.add_parser("trial", description="Used by `lookout model`.")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 whenever there is a report, whatever it says."""
    del arguments
    return run_alone()


def run_alone() -> int:
    """The same, without the rest of the command line: a child starts it so."""
    _limit_self()
    report = _own_report()
    obey(REQUEST.validate_json(sys.stdin.buffer.read()), report)
    return 0


def obey(request: TrialRequest, report: Report) -> None:
    """Try the model in this process and report each step. Raises nothing of a bad model."""
    try:
        _try(request, report)
    except PictureError as exc:
        report(Line(error=str(exc), kind="picture"))
    except LookoutError as exc:
        report(Line(error=str(exc)))
    except MemoryError:
        most = f"{MEMORY_MAX_BYTES >> 30} GB of memory"
        report(Line(error=f"{Path(request.model).name}: wants over {most}; take a smaller model"))
    report(Line(is_end=True))


def _try(request: TrialRequest, report: Report) -> None:
    path = Path(request.model)
    report(Line(stage="read"))
    facts = _facts(path)
    report(Line(file=facts))
    report(Line(stage="load"))
    runtime = assembly.open_runtime(request.runtime)
    network = runtime.load(path, request.threads)
    problems = _problems(request, network)
    report(Line(network=_network_facts(runtime, network, problems)))
    if any(problems.values()):
        return
    report(Line(stage="run"))
    for row, spec in enumerate(request.specs):
        classifier = TfliteClassifier(_stand_in(request, spec, network), network)
        grey = np.full((spec.height_px, spec.width_px, 3), GREY, np.uint8)
        report(_answer(row, -1, classifier, Rgb(grey)))
        for number, picture in enumerate(request.pictures):
            report(_answer(row, number, classifier, read_picture(Path(picture))))


def _facts(path: Path) -> FileFacts:
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise ModelError(f"{path.name}: over {FILE_MAX_BYTES >> 30} GB; want a smaller model")
        return read_facts(path.read_bytes())
    except FlatbufferError as exc:
        raise ModelError(
            f"{path.name}: cut or damaged ({exc}); want a whole .tflite file: "
            "copy or download it again"
        ) from exc
    except OSError as exc:
        raise ModelError(f"{path.name}: cannot be read: {exc.strerror}") from exc


def _problems(request: TrialRequest, network: Network) -> dict[str, str | None]:
    """What is wrong with the model, by the name of the check."""
    problems: dict[str, str | None] = {"input": None, "output": None}
    try:
        tensor = only_input(network)
        for spec in request.specs:
            check_input(spec, tensor)
    except ModelError as exc:
        problems["input"] = str(exc)
    try:
        count = only_output(network).shape[-1]
    except ModelError as exc:
        problems["output"] = str(exc)
        return problems
    if request.labels is not None:
        problems["labels"] = None
        if request.labels != count:
            problems["labels"] = (
                f"the model gives {count} scores, but there are {request.labels} labels; "
                "want one label a score"
            )
    return problems


def _answer(spec: int, picture: int, classifier: TfliteClassifier, image: Rgb) -> Line:
    values = [round(value, 6) for value in classifier.classify(image).values.tolist()]
    return Line(answer=Answer(spec=spec, picture=picture, values=values))


def _stand_in(request: TrialRequest, spec: InputSpec, network: Network) -> Bundle:
    """A bundle around a model that has none yet; only its input and activation matter here."""
    return Bundle(
        name="trial",
        version="0",
        kind="classifier",
        description="",
        licence="",
        source="",
        scores="exclusive",
        activation=request.activation,
        input=spec,
        labels=tuple(str(row) for row in range(only_output(network).shape[-1])),
        has_background=False,
        groups={},
        thresholds=Thresholds(low=0.0, high=0.0),
        variants={"cpu": request.model},
        sha256="",
        folder=Path(request.model).parent,
    )


def _network_facts(
    runtime: Runtime, network: Network, problems: dict[str, str | None]
) -> NetworkFacts:
    return NetworkFacts(
        runtime=runtime.name,
        version=runtime.version,
        inputs=tuple(_tensor_facts(each) for each in network.inputs),
        outputs=tuple(_tensor_facts(each) for each in network.outputs),
        operators=tuple(network.operators),
        nodes=network.nodes,
        delegated_nodes=network.delegated_nodes,
        problems=problems,
    )


def _tensor_facts(info: TensorInfo) -> TensorFacts:
    return TensorFacts(
        name=info.name,
        shape=info.shape,
        dtype=str(info.dtype),
        scale=info.scale,
        zero_point=info.zero_point,
    )


def _own_report() -> Report:
    """Standard output for our lines alone: what native code prints goes to standard error."""
    ours = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def report(line: Line) -> None:
        content = to_line(line)
        while content:
            content = content[os.write(ours, content) :]

    return report


def _limit_self() -> None:
    """Bound memory, time and what is written, leave no core file, and hear the stop signals that
    a parent with threads may have blocked."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_MAX_BYTES, OUTPUT_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
