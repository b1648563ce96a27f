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
        runs = {
            f"{number}-{digits}": last_seq
            for number, digits, last_seq in db.execute("SELECT number, digits, last_seq FROM runs")
        }
        events = {
            (run, seq): payload if payload.startswith(b"{") else zlib.decompress(payload)
            for run, seq, payload in db.execute("SELECT run, seq, payload FROM events")
        }
        db.execute("COMMIT")
    return FileContent(runs, events)
