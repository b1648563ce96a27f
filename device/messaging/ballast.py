"""A file that only takes room: on a full disk, its end lets deletes and checkpoints work again."""

import os
from contextlib import suppress
from pathlib import Path

BALLAST_BYTES = 1_000_000


class Ballast:
    """One file beside the outbox. No method raises: without ballast the box is only less sure."""

    def __init__(self, path: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def is_there(self) -> bool:
        """Whole: whoever was killed while writing it left less."""
        try:
            return self._path.stat().st_size == self._size_bytes
        except OSError:
            return False

    def drop(self) -> bool:
        """Free its room; whether there was any to free."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def restore(self) -> bool:
        """Take the room again once the disk has four times as much; whether it is there now."""
        if self.is_there:
            return True
        try:
            space = os.statvfs(self._path.parent)
            if space.f_bavail * space.f_frsize < 4 * self._size_bytes:
                return False
            # Random bytes: a file system that compresses would keep no room for zeros.
            self._path.write_bytes(os.urandom(self._size_bytes))
        except OSError:
            with suppress(OSError):
                self._path.unlink()
            return False
        return True
