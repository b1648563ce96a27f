"""The outbox's SQLite file: how it is opened, checked, and put aside when it is damaged."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from device.errors import TransientError

FORMAT = 2
"""`user_version` of the files that this code writes."""

OLD_FORMAT = 1
"""Payloads as they are sent, the sums in a table of their own, rows numbered by SQLite."""

CHECK_S = 3.0
"""The check at the start reads the whole file; a large one on a slow card is checked in part."""

DAMAGED_KEPT = 3

ROOM_BYTES = 200_000
"""With less, a disk is full: a new `-shm` and a few pages of the log take as much."""

# A commit writes every page that it touches, whole: what changes with each event stands in one row,
# that of the run.
_SCHEMA = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, digits TEXT NOT NULL, last_seq INTEGER NOT NULL,
    ended INTEGER NOT NULL, last_row INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0, size_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE events (
    row INTEGER PRIMARY KEY, run TEXT NOT NULL, seq INTEGER NOT NULL,
    subfolder TEXT NOT NULL, rank INTEGER NOT NULL, payload BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_rank ON events (rank, row);
"""

# Nothing is copied: a full disk takes it too. The old payloads stay as they are.
_MIGRATION = """
ALTER TABLE runs ADD COLUMN last_row INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET
    last_row = coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'), 0),
    waiting = coalesce((SELECT max(waiting) FROM totals), 0),
    size_bytes = coalesce((SELECT max(size_bytes) FROM totals), 0);
DROP TABLE totals;
"""


class DamagedError(Exception):
    """The file is no outbox of ours, or no longer one; it never leaves this room."""


_DAMAGE = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    # What we write fits the tables that we made; where it does not, they are others now.
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
}
_MISSING = ("no such table", "no such column", "has no column")


def is_damage(exc: sqlite3.Error) -> bool:
    """Whether SQLite speaks of the file's content and not of the disk below it."""
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None:
        return False
    return (code & 0xFF) in _DAMAGE or any(each in str(exc) for each in _MISSING)


def is_full(exc: BaseException | None, folder: Path) -> bool:
    """Whether a refusal comes from a lack of room. SQLite does not always say so: without room
    for its `-shm` file it tells of an I/O error."""
    return getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or not _has_room(folder)


def _has_room(folder: Path) -> bool:
    try:
        space = os.statvfs(folder)
    except OSError:
        return True  # nobody knows
    return space.f_bavail * space.f_frsize >= ROOM_BYTES


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors, translated.

    Raises:
        DamagedError: the file's content is bad.
        TransientError: the disk refused.
    """
    try:
        yield
    except sqlite3.Error as exc:
        if is_damage(exc):
            raise DamagedError(str(exc)) from exc
        raise TransientError(f"{path}: {exc}; {_advice(exc, path.parent)}") from exc
    except OSError as exc:
        advice = _advice(exc, path.parent)
        raise TransientError(f"{path}: {exc.strerror or exc}; {advice}") from exc


def _advice(exc: sqlite3.Error | OSError, folder: Path) -> str:
    if is_full(exc, folder):
        return "free some room on this disk, or lower [outbox] max_bytes"
    if isinstance(exc, OSError):
        return "want a folder to write to"
    match getattr(exc, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return "want a state folder that this user may write to ([device] state_dir)"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another program holds the file: end it"
        case _:
            return "the disk or card may be failing: look at `dmesg`"


def open_file(path: Path, synchronous: str) -> sqlite3.Connection:
    """A connection to a file that is whole and of our format, made if there is none.

    Raises:
        DamagedError: there is a file, and it cannot be used.
        TransientError: the disk refused.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Opened by one thread and closed by another after the first has ended.
        db = sqlite3.connect(path, isolation_level=None, timeout=2.0, check_same_thread=False)
        db.text_factory = text_of
        try:
            _prepare(db, synchronous)
        except BaseException:
            db.close()
            raise
        sync_folder(path.parent)
    return db


def _prepare(db: sqlite3.Connection, synchronous: str) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if version not in (OLD_FORMAT, FORMAT) and (version or tables):
        raise DamagedError(f"the file has format {version}, want {FORMAT}")
    # Half of SQLite's own, for new files: a lone event then writes 13 kB and not 20, and three or
    # four events still share a page.
    db.execute("PRAGMA page_size=2048")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={synchronous}")
    # A small log: on a full disk it has to fit into the room that the ballast frees.
    db.execute("PRAGMA wal_autocheckpoint=200")
    db.execute("PRAGMA journal_size_limit=1000000")
    if version:
        _check(db)
    if version != FORMAT:
        steps = _MIGRATION if version else _SCHEMA
        db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version={FORMAT}; COMMIT;")


def _check(db: sqlite3.Connection) -> None:
    deadline_s = monotonic() + CHECK_S
    db.set_progress_handler(lambda: int(monotonic() > deadline_s), 10_000)
    try:
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as exc:
        if getattr(exc, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
            raise
        found = "ok"  # as far as time allowed
    finally:
        db.set_progress_handler(None, 0)
    if found != "ok":
        raise DamagedError(found)


def text_of(raw: bytes) -> str:
    """A text column. One flipped bit must not make SQLite's driver refuse a whole page of rows:
    whoever reads a row checks its texts."""
    return raw.decode(errors="replace")


def put_aside(path: Path) -> None:
    """Rename a damaged file and its log, and forget all but the newest few of such. A file that
    is not there is put aside already: an earlier try came so far.

    Raises:
        TransientError: the disk refused.
    """
    number = 1 + newest_aside(path)
    aside = aside_of(path, number)
    with disk_errors(path):
        with suppress(FileNotFoundError):
            path.rename(aside)
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
        for old in path.parent.glob(f"{path.name}.damaged-*"):
            if _number(old) <= number - DAMAGED_KEPT:
                old.unlink(missing_ok=True)
        sync_folder(path.parent)


def aside_of(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}")


def newest_aside(path: Path) -> int:
    """The number of the file that was put aside last; 0: none is there."""
    return max((_number(each) for each in path.parent.glob(f"{path.name}.damaged-*")), default=0)


def _number(path: Path) -> int:
    digits = path.name.rpartition(".damaged-")[2].partition("-")[0]
    return int(digits) if digits.isdigit() else 0


def sync_folder(folder: Path) -> None:
    """Make names durable: a file that was synced can still lose its name in a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
