"""The SQLite file of the local Pub/Sub: its tables, and how it is opened and checked."""

import os
import sqlite3
from pathlib import Path
from typing import Literal

from cloud_bridge.errors import OutputError, TransientError

FORMAT = 1
"""`user_version` of the files that this code writes."""

Synchronous = Literal["FULL", "OFF"]

_SCHEMA = """
CREATE TABLE runs (number INTEGER PRIMARY KEY AUTOINCREMENT, served_s REAL NOT NULL) STRICT;
CREATE TABLE topics (name TEXT PRIMARY KEY, settings BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE subscriptions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, settings BLOB NOT NULL
) STRICT;
CREATE TABLE messages (id INTEGER PRIMARY KEY, born_s REAL NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE backlog (
    subscription INTEGER NOT NULL, message INTEGER NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (subscription, message)
) STRICT, WITHOUT ROWID;
"""


def open_file(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """A connection to a file that is whole and of our format, made if there is none.

    synchronous: anything but FULL loses in a power cut what a publisher was told is safe; OFF is
    for the test that shows it.

    Raises:
        OutputError: the file is damaged, or of another format.
        TransientError: the disk refused.
    """
    try:
        # Opened by one thread, then used by another alone.
        db = sqlite3.connect(path, isolation_level=None, timeout=2.0, check_same_thread=False)
        try:
            _prepare(db, synchronous, path)
        except BaseException:
            db.close()
            raise
        _sync_folder(path.parent)
    except sqlite3.DatabaseError as exc:
        if isinstance(exc, sqlite3.OperationalError):
            raise TransientError(
                f"{path}: {exc}; want a disk with room that this user can write"
            ) from exc
        raise OutputError(
            f"{path}: {exc}; the file is damaged: move it away, what waits in it is lost"
        ) from exc
    except OSError as exc:
        raise TransientError(f"{path}: {exc.strerror}; want a folder to write to") from exc
    return db


def _prepare(db: sqlite3.Connection, synchronous: Synchronous, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, FORMAT):
        raise OutputError(f"{path} has format {version}, want {FORMAT}: move it away")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={synchronous}")
    # Kept at this size and used again: on a full disk, removals need the room of a log.
    db.execute("PRAGMA journal_size_limit=16000000")
    db.execute("PRAGMA cache_size=-8000")
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={FORMAT}; COMMIT;")


def _sync_folder(folder: Path) -> None:
    """A file that was synced can still lose its name in a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
