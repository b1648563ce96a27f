"""One running box per state folder: a lock that the kernel frees when the process dies."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from device.errors import OutputError, TransientError


class InstanceLock:
    """Held from construction until `close`; also the one who makes the state folder."""

    def __init__(self, state_dir: Path) -> None:
        """
        Raises:
            OutputError: the folder cannot be made or written.
            TransientError: another running box holds it; the message names its process.
        """
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._fd = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as exc:
            raise OutputError(
                f"state folder {state_dir}: {exc.strerror}; want a folder that this user can "
                "write: change [device] state_dir, or its owner"
            ) from exc
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise TransientError(
                f"state folder {state_dir} is in use by process {holder}; one running box per "
                "folder: stop that one, or give this one a [device] state_dir of its own"
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
