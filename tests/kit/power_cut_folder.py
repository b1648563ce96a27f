"""A folder that forgets what was not synced: a power cut without pulling a plug.

    python -m tests.kit.power_cut_folder MOUNT_POINT CONTROL_SOCKET

A flat FUSE folder, held in memory. Bytes of a file are durable once the file was synced; names
(made, renamed, removed) once the folder was. A cut goes back to what is durable. With a seed,
some sectors that were written and not synced survive all the same, as on a real disk, whose cache
writes what it likes in the order it likes.

It can also refuse every change, as a file system does that the kernel has made read-only under
running programs, or one whose device fails.

The control socket takes one word and answers one line: `cut`, `cut SEED`, `refuse ERRNO`, `mend`
or `counts`.
"""

import errno
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import mfusepy

from tests.kit.waiting import wait_until

SECTOR_BYTES = 512
FREE_BLOCKS = 1 << 20


@dataclass(eq=False)
class Inode:
    """A file's bytes as processes see them, and as the disk holds them."""

    number: int
    live: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    is_dirty: bool = False

    def sync(self) -> None:
        if self.is_dirty:
            self.durable = bytes(self.live)
            self.is_dirty = False

    def write(self, payload: bytes, offset: int) -> None:
        self.truncate(max(offset, len(self.live)))
        self.live[offset : offset + len(payload)] = payload
        self.is_dirty = True

    def truncate(self, length: int) -> None:
        if length < len(self.live):
            del self.live[length:]
            self.is_dirty = True
        elif length > len(self.live):
            self.live.extend(bytes(length - len(self.live)))
            self.is_dirty = True

    def cut(self, chance: random.Random | None) -> None:
        if not self.is_dirty:
            return
        kept = bytearray(self.durable)
        if chance is not None:
            # The length may have reached the disk without the bytes.
            if chance.random() < 0.5:
                kept = kept[: len(self.live)].ljust(len(self.live), b"\0")
            for start in range(0, min(len(kept), len(self.live)), SECTOR_BYTES):
                if chance.random() < 0.5:
                    end = min(start + SECTOR_BYTES, len(kept), len(self.live))
                    kept[start:end] = self.live[start:end]
        self.live = kept
        self.durable = bytes(kept)
        self.is_dirty = False


class Folder(mfusepy.Operations):  # type: ignore[misc]
    """FUSE's calls come from several threads; one lock holds everything."""

    use_ns = True

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._names: dict[str, Inode] = {}
        self._durable_names: dict[str, Inode] = {}
        self._open: dict[int, Inode] = {}
        self._next = 1
        self.syncs = 0
        self.writes = 0
        self.refusal: int | None = None
        """The errno of every change, while it is set."""

    def _change(self) -> None:
        if self.refusal is not None:
            raise mfusepy.FuseOSError(self.refusal)

    # --- the plug -----------------------------------------------------------------------------

    def cut(self, seed: int | None = None) -> None:
        chance = None if seed is None else random.Random(seed)
        with self._lock:
            self._names = dict(self._durable_names)
            for inode in {*self._names.values(), *self._open.values()}:
                inode.cut(chance)

    # --- names --------------------------------------------------------------------------------

    def _find(self, path: str, handle: int | None = None) -> Inode:
        found = self._open.get(handle) if handle else None
        found = found or self._names.get(path)
        if found is None:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return found

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        owner = {"st_uid": os.getuid(), "st_gid": os.getgid()}
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2, **owner}
        with self._lock:
            inode = self._find(path, fh)
            return {
                "st_mode": stat.S_IFREG | 0o600,
                "st_nlink": 1,
                "st_ino": inode.number,
                "st_size": len(inode.live),
                "st_blocks": -(-len(inode.live) // SECTOR_BYTES),
                **owner,
            }

    def readdir(self, path: str, fh: int) -> list[str]:
        with self._lock:
            return [".", "..", *(name[1:] for name in self._names)]

    def create(self, path: str, mode: int, fi: Any = None) -> int:  # noqa: ANN401 - FUSE's own
        with self._lock:
            self._change()
            self._names[path] = Inode(self._next + 1)
            return self.open(path, os.O_RDWR)

    def open(self, path: str, flags: int) -> int:
        with self._lock:
            inode = self._find(path)
            if self.refusal == errno.EROFS and flags & os.O_ACCMODE != os.O_RDONLY:
                self._change()
            if flags & os.O_TRUNC:
                self._change()
                inode.truncate(0)
            self._next += 1
            self._open[self._next] = inode
            return self._next

    def release(self, path: str, fh: int) -> int:
        with self._lock:
            self._open.pop(fh, None)
        return 0

    def unlink(self, path: str) -> int:
        with self._lock:
            self._change()
            self._find(path)
            del self._names[path]
        return 0

    def rename(self, old: str, new: str) -> int:
        with self._lock:
            self._change()
            self._names[new] = self._find(old)
            del self._names[old]
        return 0

    # --- bytes --------------------------------------------------------------------------------

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._lock:
            return bytes(self._find(path, fh).live[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._lock:
            self._change()
            self._find(path, fh).write(data, offset)
            self.writes += 1
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        with self._lock:
            self._change()
            self._find(path, fh).truncate(length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        with self._lock:
            self._change()
            self._find(path, fh).sync()
            self.syncs += 1
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        with self._lock:
            self._durable_names = dict(self._names)
            self.syncs += 1
        return 0

    # --- what programs ask for and nobody needs -------------------------------------------------

    def flush(self, path: str, fh: int) -> int:
        return 0

    def chmod(self, path: str, mode: int) -> int:
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        blocks = {"f_bfree": FREE_BLOCKS, "f_bavail": FREE_BLOCKS, "f_blocks": FREE_BLOCKS}
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255, **blocks}


def _answer(folder: Folder, word: str) -> str:
    match word.split():
        case ["cut"]:
            folder.cut()
            return "cut"
        case ["cut", seed]:
            folder.cut(int(seed))
            return "cut"
        case ["refuse", number]:
            folder.refusal = int(number)
            return "refused"
        case ["mend"]:
            folder.refusal = None
            return "mended"
        case _:
            return f"{folder.syncs} {folder.writes}"


def _serve(folder: Folder, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(4)
        while True:
            caller, _ = server.accept()
            with caller:
                caller.sendall(_answer(folder, caller.recv(64).decode()).encode())


class PowerCutFolder:
    """The folder in a process of its own; a context manager that unmounts it.

    Raises OSError from `__enter__` where FUSE is not to be had.
    """

    def __init__(self, folder: Path) -> None:
        """folder: two names are made in it, `disk` (the mount point) and `control`."""
        self.path = folder / "disk"
        self._control = folder / "control"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.power_cut_folder", self.path, self._control],
            cwd=Path(__file__).parents[2],
        )
        self._process = process

        def is_up() -> bool:
            if process.poll() is not None:
                raise OSError("the power-cut folder could not be mounted")
            return self.path.is_mount() and self._control.exists()

        wait_until(is_up, "the power-cut folder is mounted")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        program = shutil.which("fusermount3") or shutil.which("fusermount") or "umount"
        arguments = ["-u", "-z"] if program.startswith("/") else ["-l"]
        subprocess.run([program, *arguments, self.path], check=False, timeout=10.0)
        if self._process is not None:
            try:
                self._process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=5.0)

    def cut(self, seed: int | None = None) -> None:
        """Nobody may have a file of it open: end the writer first."""
        self._ask("cut" if seed is None else f"cut {seed}")

    def refuse(self, number: int) -> None:
        """Every change fails with this errno, for open files too: `EROFS`, `EIO`, `ENOSPC`."""
        self._ask(f"refuse {number}")

    def mend(self) -> None:
        self._ask("mend")

    def counts(self) -> tuple[int, int]:
        """Syncs and writes so far."""
        syncs, writes = self._ask("counts").split()
        return int(syncs), int(writes)

    def _ask(self, word: str) -> str:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(self._control))
            caller.sendall(word.encode())
            return caller.recv(100).decode()


def main(mount_point: str, control: str) -> None:
    folder = Folder()
    threading.Thread(target=_serve, args=(folder, control), daemon=True).start()
    # No caching of names and sizes: after a cut they are others.
    mfusepy.FUSE(folder, mount_point, foreground=True, attr_timeout=0, entry_timeout=0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
