"""A folder that forgets what was not synced: a power cut without pulling a plug.

    python -m tests.kit.power_cut_folder MOUNT_POINT CONTROL_SOCKET

A flat FUSE folder, held in memory; `power_cut_disk` says what a cut leaves. Without a seed, what
was not synced is lost; with one, some of it survives. Every step can be recorded, so that one
writer's life can be cut at many moments. It can also refuse every change, as a file system does
that the kernel has made read-only under running programs, or one whose device fails.

The control socket takes one line and answers one; `Folder.answer` has them all.
"""

import errno
import json
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import mfusepy

from tests.kit.power_cut_disk import SECTOR_BYTES, Disk, History, Inode
from tests.kit.waiting import wait_until

FREE_BLOCKS = 1 << 20


@dataclass
class Counts:
    """What programs asked of the folder. written_bytes: in whole sectors, write by write."""

    syncs: int = 0
    writes: int = 0
    written_bytes: int = 0


class Folder(mfusepy.Operations):  # type: ignore[misc]
    """FUSE's calls come from several threads; one lock holds everything."""

    use_ns = True

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._disk = Disk()
        self._history: History | None = None
        self._open: dict[int, Inode] = {}
        self._next = 1
        self._counts = Counts()
        self._refusal: int | None = None
        """The errno of every change, while it is set."""

    # --- the plug -----------------------------------------------------------------------------

    def cut(self, seed: int | None = None) -> None:
        with self._lock:
            self._disk.cut(_chance(seed))

    def record(self) -> None:
        """From now on, keep every step: memory for each byte written."""
        with self._lock:
            self._history = History(self._disk)

    def answer(self, words: list[str]) -> str:
        with self._lock:
            match words:
                case ["cut", *seed]:
                    self.cut(*map(int, seed))
                case ["record"]:
                    self.record()
                case ["position"]:
                    return str(len(self._recorded()))
                case ["save", position, folder, *seed]:
                    disk = self._recorded().disk_at(int(position))
                    files = disk.after_cut(_chance(*map(int, seed)))
                    for name, content in files.items():
                        (Path(folder) / name.lstrip("/")).write_bytes(content)
                case ["rewind", position, *seed]:
                    self._disk = self._recorded().disk_at(int(position))
                    self._disk.cut(_chance(*map(int, seed)))
                    self._history = None
                case ["refuse", number]:
                    self._refusal = int(number)
                case ["mend"]:
                    self._refusal = None
                case ["counts"]:
                    return json.dumps(asdict(self._counts))
                case _:
                    return f"error: {words}"
            return "done"

    def _recorded(self) -> History:
        if self._history is None:
            raise AssertionError("nothing was recorded: ask for `record` first")
        return self._history

    def _do(self, step: Callable[[Disk], None]) -> None:
        if self._refusal is not None:
            raise mfusepy.FuseOSError(self._refusal)
        step(self._disk)
        if self._history is not None:
            self._history.note(step)

    # --- names --------------------------------------------------------------------------------

    def _find(self, path: str, handle: int | None = None) -> Inode:
        found = self._open.get(handle) if handle else None
        found = found or self._disk.find(path)
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
            return [".", "..", *(name[1:] for name in self._disk.names)]

    def create(self, path: str, mode: int, fi: Any = None) -> int:  # noqa: ANN401 - FUSE's own
        with self._lock:
            self._do(lambda disk: disk.create(path))
            return self.open(path, os.O_RDWR)

    def open(self, path: str, flags: int) -> int:
        with self._lock:
            inode = self._find(path)
            if self._refusal == errno.EROFS and flags & os.O_ACCMODE != os.O_RDONLY:
                raise mfusepy.FuseOSError(errno.EROFS)
            if flags & os.O_TRUNC:
                self.truncate(path, 0)
            self._next += 1
            self._open[self._next] = inode
            return self._next

    def release(self, path: str, fh: int) -> int:
        with self._lock:
            self._open.pop(fh, None)
        return 0

    def unlink(self, path: str) -> int:
        with self._lock:
            self._find(path)
            self._do(lambda disk: disk.unlink(path))
        return 0

    def rename(self, old: str, new: str) -> int:
        with self._lock:
            self._find(old)
            self._do(lambda disk: disk.rename(old, new))
        return 0

    # --- bytes --------------------------------------------------------------------------------

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._lock:
            return bytes(self._find(path, fh).live[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._lock:
            number = self._find(path, fh).number
            self._do(lambda disk: disk.write(number, data, offset))
            self._counts.writes += 1
            # Each write counts as the whole sectors that it touches: a disk knows nothing smaller.
            first, last = offset // SECTOR_BYTES, (offset + len(data) - 1) // SECTOR_BYTES
            self._counts.written_bytes += (last - first + 1) * SECTOR_BYTES
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        with self._lock:
            number = self._find(path, fh).number
            self._do(lambda disk: disk.truncate(number, length))
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        with self._lock:
            number = self._find(path, fh).number
            self._do(lambda disk: disk.sync(number))
            self._counts.syncs += 1
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        with self._lock:
            self._do(Disk.sync_names)
            self._counts.syncs += 1
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


def _chance(seed: int | None = None) -> random.Random | None:
    return None if seed is None else random.Random(seed)


def _serve(folder: Folder, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(4)
        while True:
            caller, _ = server.accept()
            with caller:
                caller.sendall(folder.answer(caller.recv(4096).decode().split()).encode())


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
        self._ask("cut", seed)

    def refuse(self, number: int) -> None:
        """Every change fails with this errno, for open files too: `EROFS`, `EIO`, `ENOSPC`."""
        self._ask("refuse", number)

    def mend(self) -> None:
        self._ask("mend")

    def record(self) -> None:
        """Keep every step from now on, for `position`, `save` and `rewind`."""
        self._ask("record")

    def position(self) -> int:
        """How many steps were recorded: every write, sync and change of a name is one."""
        return int(self._ask("position"))

    def save(self, position: int, folder: Path, seed: int | None = None) -> None:
        """Write into an ordinary folder what a cut after that many steps would have left."""
        self._ask("save", position, folder, seed)

    def rewind(self, position: int, seed: int | None = None) -> None:
        """Go on from such a cut, and record no more. Nobody may have a file of it open."""
        self._ask("rewind", position, seed)

    def counts(self) -> Counts:
        """So far."""
        return Counts(**json.loads(self._ask("counts")))

    def _ask(self, *words: object) -> str:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(self._control))
            caller.sendall(" ".join(str(word) for word in words if word is not None).encode())
            answer = caller.recv(1000).decode()
        if not answer or answer.startswith("error"):
            raise AssertionError(f"the power-cut folder did not do {words}: {answer}")
        return answer


def main(mount_point: str, control: str) -> None:
    folder = Folder()
    threading.Thread(target=_serve, args=(folder, control), daemon=True).start()
    # No caching of names and sizes: after a cut they are others.
    mfusepy.FUSE(folder, mount_point, foreground=True, attr_timeout=0, entry_timeout=0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
