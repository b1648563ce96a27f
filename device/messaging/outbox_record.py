"""What an outbox's file knows of its runs, rows and sums: read with suspicion, because a card that
flips one bit should not cost the rest of the file.
"""

import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from device.core.delivery import SPARE_FIRST_ROW
from device.messaging.numbering import ROW_OVERHEAD_BYTES, Numbered, size_of
from device.messaging.outbox_file import DamagedError, aside_of, newest_aside, text_of
from device.ports import PreviousRun, StoredEvent
from device.wire.errors import WireError
from device.wire.events import MAX_EVENT_BYTES
from device.wire.names import EventId, RunId, is_name

RUNS_KEPT = 10

_NUMBER_LIMIT = 10**17
"""No box starts so often: a larger run number is a flipped bit."""

_LEVEL = 3
"""Of zlib: 490 bytes of a detection's 860; the highest saves seven more for half as much time."""

_BEGINNING = b"{"
"""Of JSON, and of nothing that zlib makes: files of the format before hold payloads as sent."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What is true after the last commit, or will be after the next. last_row: the highest row
    number that was ever given."""

    last_seq: int
    last_row: int
    waiting: int
    size_bytes: int

    def without(self, rows: int, size_bytes: int) -> "Totals":
        # Never below nothing: the file's sums may have been damaged.
        return replace(
            self,
            waiting=max(self.waiting - rows, 0),
            size_bytes=max(self.size_bytes - size_bytes, 0),
        )

    def with_row(self, packed: "Packed", is_own: bool) -> "Totals":
        """is_own: it has a number of this run."""
        return Totals(
            last_seq=self.last_seq + is_own,
            last_row=self.last_row + 1,
            waiting=self.waiting + 1,
            size_bytes=self.size_bytes + packed.size_bytes,
        )


@dataclass(frozen=True, slots=True)
class Packed:
    """An event and what the file holds of it: its payload, compressed."""

    numbered: Numbered
    stored: bytes

    @property
    def size_bytes(self) -> int:
        return size_of(self.stored)


def pack(numbered: Numbered) -> Packed:
    return Packed(numbered, zlib.compress(numbered.payload, _LEVEL))


def unpack(stored: object) -> bytes | None:
    """The payload as it is sent; None: the file holds no such thing. zlib's checksum tells."""
    if not isinstance(stored, bytes):
        return None
    if stored.startswith(_BEGINNING):
        return stored
    reader = zlib.decompressobj()
    with suppress(zlib.error):
        payload = reader.decompress(stored, MAX_EVENT_BYTES)
        return payload if reader.eof else None
    return None


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that has a row in the file. unnoted: number of the newest file put aside, when no
    event tells of it yet; else 0."""

    run: RunId
    previous: PreviousRun | None
    totals: Totals
    unnoted: int


def begin_run(
    db: sqlite3.Connection,
    path: Path,
    known: PreviousRun | None,
    digits: Callable[[], str],
    last_row: int,
) -> Begun:
    """Within a transaction of the caller's.

    known: the run before, when its file may no longer tell of it. last_row: row numbers up to it
    are in use, though this file may not know them: events of a file put aside are under way.

    Raises:
        DamagedError: the file's content is bad.
    """
    noted, newest = _read_noted(db), newest_aside(path)
    is_unnoted = newest > noted
    before = _read_runs(db)
    previous = before[0] if before else None
    if is_unnoted:
        # Until an event tells of the damage, the files put aside know what came before.
        before += _last_runs_of_asides(path, noted)
        before += [] if known is None else [known]
        # A run that never told of itself is of no use to whoever looks for a lost tail.
        previous = max(
            before,
            key=lambda each: (each.last_seq > 0, each.run.number, each.last_seq),
            default=None,
        )
    run = RunId(1 + max((each.run.number for each in before), default=0), digits())
    totals = _read_totals(db, last_row)
    db.execute(
        "DELETE FROM runs WHERE number NOT BETWEEN ? AND ?",
        (run.number - RUNS_KEPT + 1, run.number - 1),
    )
    db.execute(
        "INSERT INTO runs VALUES (?, ?, 0, 0, ?, ?, ?)",
        (run.number, run.digits, totals.last_row, totals.waiting, totals.size_bytes),
    )
    return Begun(run, previous, totals, newest if is_unnoted else 0)


def stored_event(
    device: str, row: int, run: object, seq: object, subfolder: object, stored: object
) -> StoredEvent | None:
    """A row as an event; None: its values are none that an outbox wrote."""
    event_id = f"{device}:{run}:{seq}"
    payload = unpack(stored)
    with suppress(WireError):
        EventId.parse(event_id)
        if payload is not None and isinstance(subfolder, str) and is_name(subfolder):
            return StoredEvent(row, event_id, subfolder, payload)
    return None


def insert(db: sqlite3.Connection, row: int, packed: Packed) -> StoredEvent:
    event, payload = packed.numbered.event, packed.numbered.payload
    run, rank = str(event.id.run), int(event.draft.rank)
    values = (row, run, event.id.seq, event.subfolder, rank, packed.stored)
    db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", values)
    return StoredEvent(row, str(event.id), event.subfolder, payload)


def _read_runs(db: sqlite3.Connection) -> list[PreviousRun]:
    """Newest first; a row whose values no longer fit is left out."""
    runs = []
    rows = db.execute("SELECT number, digits, last_seq, ended FROM runs ORDER BY number DESC")
    for number, digits, last_seq, ended in rows.fetchall():
        try:
            run = RunId.parse(f"{number}-{digits}")
        except WireError:
            continue
        if run.number < _NUMBER_LIMIT and isinstance(last_seq, int) and last_seq >= 0:
            runs.append(PreviousRun(run, last_seq, bool(ended)))
    return runs


def _read_totals(db: sqlite3.Connection, last_row: int) -> Totals:
    """For a run that begins; counted anew where the sums cannot be right.

    last_row: as of `begin_run`.
    """
    last_row = max(last_row, _read_last_row(db))
    found = db.execute(
        "SELECT waiting, size_bytes FROM runs WHERE number < ? ORDER BY number DESC LIMIT 1",
        (_NUMBER_LIMIT,),
    ).fetchone()
    is_empty = db.execute("SELECT 1 FROM events LIMIT 1").fetchone() is None
    match found:
        case (int(waiting), int(size_bytes)) if (
            waiting >= 0 and size_bytes >= 0 and (waiting == 0) == is_empty
        ):
            return Totals(0, last_row, waiting, size_bytes)
    waiting, payloads = db.execute(
        "SELECT count(*), coalesce(sum(length(payload)), 0) FROM events"
    ).fetchone()
    return Totals(0, last_row, waiting, payloads + waiting * ROW_OVERHEAD_BYTES)


def _read_last_row(db: sqlite3.Connection) -> int:
    """The highest row number that was ever given.

    Raises:
        DamagedError: no outbox gives so high a number.
    """
    given = db.execute("SELECT max(last_row) FROM runs").fetchone()[0]
    there = db.execute("SELECT max(row) FROM events").fetchone()[0]
    match (given or 0, there or 0):
        case (int(first), int(second)) if max(first, second) < SPARE_FIRST_ROW:
            return max(first, second)
    raise DamagedError(f"row number {given} or {there}: want less than {SPARE_FIRST_ROW}")


def _read_noted(db: sqlite3.Connection) -> int:
    """The last file put aside of which an event tells; makes the table that keeps it."""
    db.execute("CREATE TABLE IF NOT EXISTS damage (noted INTEGER NOT NULL) STRICT")
    found = db.execute("SELECT max(noted) FROM damage").fetchone()[0]
    if isinstance(found, int):
        return found
    db.execute("INSERT INTO damage VALUES (0)")
    return 0


def _last_runs_of_asides(path: Path, noted: int) -> list[PreviousRun]:
    """The last runs that files put aside after number `noted` still tell."""
    found = []
    for number in range(noted + 1, newest_aside(path) + 1):
        runs = _runs_of_damaged(aside_of(path, number))
        found += runs[:1]
    return found


def _runs_of_damaged(path: Path) -> list[PreviousRun]:
    # On a full disk SQLite cannot make the `-shm` that reading the log wants.
    for how in ("mode=ro", "mode=ro&immutable=1"):
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as db,
        ):
            db.text_factory = text_of
            return _read_runs(db)
    return []
