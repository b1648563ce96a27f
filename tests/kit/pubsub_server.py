"""A local Pub/Sub in a process of its own, that can be killed and started again."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import IO, Self

from tests.kit.broker import free_port
from tests.kit.processes import Process, Spawn, fresh

REPOSITORY = Path(__file__).parents[2]
STARTS_WITHIN_S = 20.0


class PubsubServer:
    """`lookout-cloud pubsub` on a port that stays the same; a context manager.

    command: what runs instead, for doubles; it is given `--data-dir`, `--port` and `arguments`.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str] = (),
        command: Sequence[str] = ("-m", "cloud_bridge.main", "pubsub"),
        spawn: Spawn = fresh,
    ) -> None:
        self.port = free_port()
        self._command = [
            sys.executable,
            *command,
            "--data-dir",
            str(folder),
            "--port",
            str(self.port),
            *arguments,
        ]
        self._spawn = spawn
        self._process: Process | None = None
        self._stdout: IO[str] | None = None

    @property
    def host(self) -> str:
        """As `PUBSUB_EMULATOR_HOST` wants it."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill it where it runs."""
        if self._process is not None:
            self.kill()

    def start(self) -> None:
        """Start it and wait for its word that it listens."""
        ours, theirs = os.pipe()
        self._stdout = os.fdopen(ours)
        self._process = self._spawn(self._command, theirs, 2, os.environ)
        os.close(theirs)
        line = first_line(self._stdout)
        if line != f"listening on {self.host}":
            self.kill()
            raise AssertionError(f"the local Pub/Sub does not start: {line!r}")

    def kill(self) -> None:
        """As a power cut does to a process."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As systemd does; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._running(), None
        process.send_signal(how)
        try:
            return process.wait(timeout=10.0)
        finally:
            if self._stdout is not None:
                self._stdout.close()

    def _running(self) -> Process:
        if self._process is None:
            raise AssertionError("it is not running")
        return self._process


def first_line(pipe: IO[str] | None) -> str:
    """Read with a deadline; "" when nothing came."""
    if pipe is None:
        raise AssertionError("no pipe")
    lines: SimpleQueue[str] = SimpleQueue()
    Thread(target=lambda: lines.put(pipe.readline()), daemon=True).start()
    try:
        return lines.get(timeout=STARTS_WITHIN_S).strip()
    except Empty:
        return ""
