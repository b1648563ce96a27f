"""Files that are whole or absent, and keys that nobody else can read at any moment."""

import os
from collections.abc import Mapping
from pathlib import Path

from cloud_bridge.errors import ConfigError, OutputError

PRIVATE = 0o600
PUBLIC = 0o644


def make_folder(folder: Path) -> None:
    """For its owner alone, where there is none yet. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise OutputError(
            f"folder {folder}: {exc.strerror}; want a folder that this user can make and write"
        ) from exc


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Under another name first, synced, then renamed: a power cut leaves the old or the new one.

    Raises:
        OutputError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        # The mode is given at birth: a key is never readable by others, not even for a moment.
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)  # whatever the umask says
            _keep_owner(path, fd)
            file.write(content)
            file.flush()
            os.fsync(fd)
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as exc:
        raise OutputError(
            f"{path}: {exc.strerror}; want a place that this user can write, with room on it"
        ) from exc


def write_files(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """name -> (content, mode), in that order. Raises OutputError."""
    make_folder(folder)
    for name, (content, mode) in files.items():
        write_file(folder / name, content, mode)


def read_file(path: Path, wish: str) -> bytes:
    """wish: how to mend it when it cannot be read. Raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}; {wish}") from exc


def _keep_owner(path: Path, fd: int) -> None:
    """A file that is replaced keeps its owner, where we may: mosquitto must still read it."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    if os.geteuid() == 0:
        os.fchown(fd, old.st_uid, old.st_gid)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
