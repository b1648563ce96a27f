"""A file that only takes room: on a full disk, its end lets removals and checkpoints work again."""

import os
from contextlib import suppress
from pathlib import Path

BALLAST_BYTES = 24_000_000
"""A checkpoint writes what the log holds: the largest commit and the four megabytes before it."""


class Ballast:
    """One file beside the store. No method raises."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self.size_bytes = size_bytes
        self._is_whole = False

    def drop(self) -> None:
        """Free its room."""
        self._is_whole = False
        with suppress(OSError):
            self._path.unlink()

    def keep(self) -> bool:
        """Take the room where it is not taken yet; whether it is."""
        if self._is_whole:
            return True
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(handle, 0, self.size_bytes)
            finally:
                os.close(handle)
        except OSError:
            self.drop()
            return False
        self._is_whole = True
        return True
