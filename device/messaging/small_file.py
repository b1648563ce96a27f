"""A few bytes on disk, whole or not at all: what was desired from afar, which commands are done."""

import logging
import os
from pathlib import Path

from device.errors import TransientError
from device.messaging.outbox_file import sync_folder

log = logging.getLogger(__name__)

READ_AT_MOST_BYTES = 1_000_000
FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class DiskFile:
    """Matches `ports.SmallFile`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                return file.read(READ_AT_MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as exc:
            log.warning("not read file=%s: %s", self._path, exc.strerror)
            return None

    def write(self, content: bytes) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            # Settings may hold what is nobody else's business.
            with os.fdopen(os.open(fresh, FRESH, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as exc:
            raise self._refusal(exc) from exc

    def remove(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)
        except OSError as exc:
            raise self._refusal(exc) from exc

    def _refusal(self, exc: OSError) -> TransientError:
        return TransientError(
            f"{self._path}: {exc.strerror or exc}; want room, and a folder to write to"
        )
