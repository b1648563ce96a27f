"""`tests.faults.delivering` as a process: the sending half of a box, that can be killed."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit.history import Committed
from tests.kit.outbox_reader import count_waiting, read_outbox, read_runs
from tests.kit.processes import Process, Spawn, fresh


class DeliveringDevice:
    """A context manager that leaves no process behind. options: of the program's command line."""

    def __init__(
        self,
        folder: Path,
        port: int,
        device: str = "garden",
        options: Sequence[str] = (),
        spawn: Spawn = fresh,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.outbox = folder / "outbox.db"
        self.log_path = folder / "device.log"
        self.committed = Committed(device)
        self._command = [
            sys.executable,
            "-m",
            "tests.faults.delivering",
            str(folder),
            str(port),
            "--device",
            device,
            *options,
        ]
        self._spawn = spawn
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AssertionError("the device is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = self._spawn(self._command, 1, log.fileno(), os.environ)

    def kill(self) -> None:
        """And look at what it has committed: its file forgets old runs."""
        self._end(signal.SIGKILL)
        self.note()

    def stop(self) -> None:
        """As asked; with a last look."""
        self._end(signal.SIGTERM)
        self.note()

    def hush(self) -> None:
        """No more events; those that are there go out."""
        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)

    def note(self) -> None:
        if read_runs(self.outbox):
            self.committed.note(read_outbox(self.outbox))

    def newest_run(self) -> str:
        return max(read_runs(self.outbox), key=lambda run: int(run.partition("-")[0]))

    def count(self) -> int:
        """Events that are committed now, of all runs."""
        now = read_runs(self.outbox)
        return sum({**self.committed.last_seqs, **now}.values())

    def waiting(self) -> int:
        """Events in its outbox now."""
        return count_waiting(self.outbox)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            raise AssertionError("the device is not running")
        process.send_signal(how)
        process.wait(timeout=15.0)
