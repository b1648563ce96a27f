"""A small disk of its own (tmpfs), to be filled. Mounting one wants root."""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.tools import absent


class SmallDisk:
    """A context manager: mounted, and unmounted at the end. Skips where that is not permitted."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self._size_bytes = size_bytes
        self._filler = path / "filler"

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "tmpfs", self.path],
            check=False,
            capture_output=True,
        )
        if done.returncode != 0:
            absent("the right to mount a tmpfs")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        subprocess.run(["umount", "-l", self.path], check=True)

    @property
    def free_bytes(self) -> int:
        space = os.statvfs(self.path)
        return space.f_bavail * space.f_frsize

    def fill(self) -> None:
        """Take all the room that is left, as somebody else's log would."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def empty(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)
