"""A new folder that is either whole and in its place, or not there."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device.bundles.manifest import MANIFEST
from device.errors import OutputError

OPEN_TO_READ = 0o755


def refuse_to_replace(output: Path, force: bool) -> None:
    """Raises OutputError when something stands at `output` that may not be replaced."""
    if not output.exists() and not output.is_symlink():
        return
    if not output.is_dir():
        raise OutputError(f"{output}: there is a file of that name; want a new folder")
    if not any(output.iterdir()):
        return
    if not (output / MANIFEST).is_file():
        raise OutputError(f"{output}: a folder with other things in it; want a new folder")
    if not force:
        raise OutputError(f"{output}: there is a bundle already; want a new folder, or --force")


@contextmanager
def put_in_place(output: Path, force: bool) -> Iterator[Path]:
    """A temporary folder beside `output`, renamed to it at the end, removed on any error.

    Raises:
        OutputError: the disk refused.
    """
    output = output.absolute()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as exc:
        raise OutputError(f"{output}: cannot be written: {exc.strerror}") from exc
    try:
        yield folder
        folder.chmod(OPEN_TO_READ)
        refuse_to_replace(output, force)
        _swap(folder, output)
    except OSError as exc:
        raise OutputError(f"{output}: cannot be written: {exc.strerror}") from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, output: Path) -> None:
    if not output.exists():
        folder.rename(output)
        return
    old = folder.with_name(f"{folder.name}.old")
    output.rename(old)
    try:
        folder.rename(output)
    except OSError:
        old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)
