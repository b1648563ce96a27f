"""A mosquitto on a free port, with persistence, that can be stopped and started again."""

import getpass
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit.waiting import wait_until


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Broker:
    """One mosquitto process at a time; a context manager that leaves none behind.

    folder: its own, for settings, log and persistence. lines: added to the settings; the
    listener's options (TLS, ...) must be among them, as it is the only one.
    """

    def __init__(
        self, program: str, folder: Path, lines: Sequence[str] = (), port: int | None = None
    ) -> None:
        self._program = program
        self._folder = folder
        self._lines = lines
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port() if port is None else port
        self.starts = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        given = {line.split()[0] for line in self._lines}
        defaults = {
            "listener": f"{self.port} 127.0.0.1",
            "allow_anonymous": "true",
            # Else mosquitto gives up root, and its folder with it.
            "user": getpass.getuser(),
            "persistence": "true",
            "persistence_location": f"{self._folder}/",
            # By default only 1,000 messages wait for a subscriber that is away.
            "max_queued_messages": "0",
            "log_dest": f"file {self.log_path}",
            "log_type": "all",
        }
        lines = [f"{key} {value}" for key, value in defaults.items() if key not in given]
        text = "\n".join([*lines, *self._lines]) + "\n"
        self._settings_path.write_text(text, encoding="utf-8")
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _settings_path(self) -> Path:
        return self._folder / "mosquitto.conf"

    @property
    def log_path(self) -> Path:
        return self._folder / "mosquitto.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AssertionError("mosquitto is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens."""
        if self.is_running:
            return
        process = subprocess.Popen(
            [self._program, "-c", str(self._settings_path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._process = process
        self.starts += 1

        def listens() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"mosquitto ended: {self.log_path.read_text()[-2000:]}")
            return is_listening(self.port)

        wait_until(listens, "mosquitto listens")

    def stop(self) -> None:
        """As a person does: it saves its sessions and queues first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut does: it forgets what it has not saved."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(timeout=10.0)
