"""The demo's processes: each started by its command, watched, and ended with the demo."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import IO

from device.commands.screen import complain
from device.errors import ConfigError, LookoutError, TransientError

END_WITHIN_S = 15.0
LAST_WORDS = 8
LIBRARY_NOISE = ("E0000", "I0000", "WARNING: All log messages before absl")
"""gRPC's C library writes lines like these beside what a program says."""


class PartEndedError(LookoutError):
    """A part of the demo has ended by itself."""


class StoppedError(Exception):
    """The person asked the demo to end while it was starting."""


class Part:
    """A process with a log of its own. words: of a command, `python -m` before them.

    reads: its standard output is a pipe, `stdout`; else it is in the log too.
    """

    def __init__(
        self, name: str, folder: Path, words: Sequence[str], *, reads: bool = False
    ) -> None:
        self.name = name
        self._log_path = folder / f"{name}.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if reads else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is the demo's; the part is then told to end
            )

    @property
    def stdout(self) -> IO[bytes]:
        if self._process.stdout is None:
            raise ValueError(f"{self.name} was started without a pipe")
        return self._process.stdout

    @property
    def log(self) -> str:
        with suppress(OSError):
            return self._log_path.read_text(errors="replace")
        return ""

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def last_words(self) -> str:
        lines = [line for line in self.log.splitlines() if not line.startswith(LIBRARY_NOISE)]
        return "\n".join(lines[-LAST_WORDS:]) or "nothing"

    def tell_to_end(self) -> None:
        if self.exit_code is None:
            self._process.terminate()

    def close(self) -> None:
        """End it, and wait until it has."""
        self.tell_to_end()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            complain(f"{self.name} did not end in time and was killed")
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Parts:
    """Those that run. stop: set when the person wants the demo to end."""

    def __init__(self, folder: Path, stop: Event) -> None:
        self.folder = folder
        self.stop = stop
        self._running: list[Part] = []

    def start(self, name: str, *words: str, reads: bool = False) -> Part:
        part = Part(name, self.folder, words, reads=reads)
        self._running.append(part)
        return part

    def check(self) -> None:
        """Raises PartEndedError: one has ended by itself."""
        for part in self._running:
            if part.exit_code is not None:
                raise PartEndedError(
                    f"{part.name} ended by itself with code {part.exit_code}; its last words: "
                    f"{part.last_words}"
                )

    def last_words(self) -> str:
        """Of each part."""
        return "\n".join(f"{part.name} says: {part.last_words}" for part in self._running)

    def wait_for(self, fact: Callable[[], object], part: Part, within_s: float) -> None:
        """Until `fact()` is true.

        Raises:
            PartEndedError: a part has ended instead.
            StoppedError: the person does not want to wait.
            TransientError: it took too long; the words are those of `part`.
        """
        for _ in range(round(within_s / 0.05)):
            if fact():
                return
            self.check()
            if self.stop.wait(0.05):
                raise StoppedError
        raise TransientError(
            f"{part.name} is not ready within {within_s:.0f} s; it says: {part.last_words}"
        )

    def run(self, name: str, *words: str, within_s: float) -> None:
        """A command, to its end; not one of those that run on.

        Raises:
            ConfigError: it failed; with its words.
            StoppedError, TransientError, PartEndedError: as `wait_for` does.
        """
        part = Part(name, self.folder, words)
        try:
            self.wait_for(lambda: part.exit_code is not None, part, within_s)
        finally:
            part.close()
        if part.exit_code != 0:
            raise ConfigError(f"{name}: {part.last_words}")

    def close(self) -> None:
        """End all: the newest first, on its own, since it is the box; the others together."""
        while self._running:
            self._running.pop().close()
            for part in self._running:
                part.tell_to_end()
