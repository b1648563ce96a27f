"""Reads an outbox's SQLite file from outside, sharing no code with it: what was committed is what
this sees. Only the names of tables and columns are known here."""

import sqlite3
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileContent:
    """runs: `N-digits` to the last seq committed in it. events: (run, seq) to payload, of those
    not yet removed."""

    runs: dict[str, int]
    events: dict[tuple[str, int], bytes]


def read_outbox(path: Path) -> FileContent:
    """One consistent look at the file, whoever else has it open."""
    with closing(sqlite3.connect(path, timeout=10.0, isolation_level=None)) as db:
        db.execute("BEGIN")
        runs = _read_runs(db)
        events = {
            (run, seq): payload if payload.startswith(b"{") else zlib.decompress(payload)
            for run, seq, payload in db.execute("SELECT run, seq, payload FROM events")
        }
        db.execute("COMMIT")
    return FileContent(runs, events)


def read_runs(path: Path) -> dict[str, int]:
    """The runs alone, where many events wait; none while the file is in the making."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path, timeout=10.0, isolation_level=None)) as db:
        try:
            return _read_runs(db)
        except sqlite3.OperationalError as exc:
            if "no such table" not in str(exc):
                raise
            return {}


def count_waiting(path: Path) -> int:
    """How many events lie in the file, without reading them."""
    with closing(sqlite3.connect(path, timeout=10.0, isolation_level=None)) as db:
        count: int = db.execute("SELECT count(*) FROM events").fetchone()[0]
        return count


def _read_runs(db: sqlite3.Connection) -> dict[str, int]:
    rows = db.execute("SELECT number, digits, last_seq FROM runs")
    return {f"{number}-{digits}": last_seq for number, digits, last_seq in rows}
