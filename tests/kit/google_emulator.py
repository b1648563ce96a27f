"""Google's own emulator of Pub/Sub, where the machine has it: a witness, never required."""

import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit.broker import free_port, is_listening
from tests.kit.waiting import wait_until

PLACES = (
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    str(Path.home() / "google-cloud-sdk"),
)


def find_emulator() -> Path | None:
    """Its jar, if Java is there too."""
    if shutil.which("java") is None:
        return None
    for place in PLACES:
        for jar in Path(place).glob("platform/pubsub-emulator/lib/cloud-pubsub-emulator*.jar"):
            return jar
    return None


class GoogleEmulator:
    """One process on a free port; keeps nothing. A context manager."""

    def __init__(self, jar: Path) -> None:
        self._jar = jar
        self._port = free_port()
        self.host = f"127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        process = subprocess.Popen(
            ["java", "-jar", str(self._jar), "--host=127.0.0.1", f"--port={self._port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._process = process

        def listens() -> bool:
            if process.poll() is not None:
                raise AssertionError("Google's emulator ended at once")
            return is_listening(self._port)

        wait_until(listens, "Google's emulator listens", timeout_s=60.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=5.0)
