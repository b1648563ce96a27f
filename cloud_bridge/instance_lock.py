"""One process per data folder: a lock that the kernel frees when its holder dies."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from cloud_bridge.errors import OutputError, TransientError


class InstanceLock:
    """Held from construction until `close`; makes the folder where there is none."""

    def __init__(self, folder: Path, wish: str) -> None:
        """wish: what the person can do when the folder is taken or cannot be written.

        Raises:
            OutputError: the folder cannot be made or written.
            TransientError: another process holds it; the message names it.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as exc:
            raise OutputError(
                f"data folder {folder}: {exc.strerror}; want one that this user can write: {wish}"
            ) from exc
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise TransientError(
                f"data folder {folder} is in use by process {holder}; want one process per "
                f"folder: stop that one, or {wish}"
            ) from exc
        with suppress(OSError):  # a full disk: the lock holds, its holder's number is a courtesy
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
