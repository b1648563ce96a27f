"""The one queue of events: an SQLite file that survives power cuts (WAL, `synchronous=FULL`).

Payloads are stored as they will be sent, compressed by zlib: an event is immutable from its commit
on. A row number is never used twice, even after its event has left: the run's row has the last one.
"""

import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

from device.errors import TransientError
from device.messaging.ballast import Ballast
from device.messaging.numbering import Lost, Numbered, Numberer, chunk_bytes, size_of
from device.messaging.outbox_file import (
    DamagedError,
    aside_of,
    disk_errors,
    is_full,
    open_file,
    put_aside,
    sync_folder,
)
from device.messaging.outbox_record import (
    Packed,
    Totals,
    begin_run,
    insert,
    pack,
    stored_event,
    unpack,
)
from device.ports import Appended, PreviousRun, StoredEvent
from device.wire.bodies import Gap
from device.wire.events import Draft, Event, decode
from device.wire.names import RunId

log = logging.getLogger(__name__)

Synchronous = Literal["FULL", "NORMAL", "OFF"]
"""SQLite's word for how often it syncs. Only FULL keeps what this outbox promises."""

_GAP = "SELECT row, run, seq, subfolder, payload FROM events WHERE row = ?"
_BY_RANK = "SELECT row, run, seq, subfolder, payload FROM events ORDER BY rank, row"
_AFTER = "SELECT row, run, seq, subfolder, payload FROM events WHERE row > ? ORDER BY row"


def _four_random_bytes() -> str:
    return secrets.token_hex(4)


class SqliteOutbox:
    """Matches `ports.Outbox`.

    path: the file; `-wal`, `-shm`, `.ballast` and `.damaged-N` stand beside it.
    max_bytes: bound of the events it keeps. One batch may exceed it until the next is stored.
    digits: the random part of the run id.
    synchronous: anything but FULL loses events in a power cut; for the tests that show it.
    """

    def __init__(
        self,
        path: Path,
        device: str,
        registry: str,
        max_bytes: int,
        digits: Callable[[], str] = _four_random_bytes,
        synchronous: Synchronous = "FULL",
    ) -> None:
        """Open the file and commit the run's number.

        Raises:
            TransientError: the disk refused.
        """
        self._path = path
        self._device = device
        self._registry = registry
        self._max_bytes = max_bytes
        self._digits = digits
        self._synchronous = synchronous
        self._ballast = Ballast(path.with_name(f"{path.name}.ballast"))
        self._tight_bytes: int | None = None
        """The bound while the disk is full: no more than fits into the file as it is."""
        self._damage: str | None = None
        self._is_damaged = False
        """The file at the path is to be put aside."""
        self._is_lost = False
        """No file is open; every call tries to open one."""
        self._is_closed = False
        self._totals = Totals(last_seq=0, last_row=0, waiting=0, size_bytes=0)
        self._gap_row = 0
        self._unnoted = 0
        """Number of a file put aside that no event tells of; 0: all are told of."""
        self._bad: dict[int, Sequence[object]] = {}
        """Rows that cannot be read: the next commit takes them away, and tells of them."""
        self._open(known=None)

    # --- opening --------------------------------------------------------------------------

    def _open(self, known: PreviousRun | None) -> None:
        """known: the run before, when its file may no longer tell of it."""
        try:
            self._open_some_file(known)
        except TransientError as exc:
            if not self._make_room(exc.__cause__):
                raise
            self._open_some_file(known)
            self._tight_bytes = max(self._totals.size_bytes, 1)
        self._ballast.restore()

    def _open_some_file(self, known: PreviousRun | None) -> None:
        if not self._is_damaged:
            try:
                self._open_file(known)
            except DamagedError as exc:
                self._note_damage(exc)
            else:
                return
        put_aside(self._path)
        self._is_damaged = False
        try:
            self._open_file(known)
        except DamagedError as exc:
            raise TransientError(f"{self._path}: a new file is damaged too: {exc}") from exc

    def _open_file(self, known: PreviousRun | None) -> None:
        db = open_file(self._path, self._synchronous)
        try:
            with disk_errors(self._path):
                self._begin_run(db, known)
        except BaseException:
            db.close()
            raise

    def _begin_run(self, db: sqlite3.Connection, known: PreviousRun | None) -> None:
        self._db = db
        with self._transaction():
            begun = begin_run(db, self._path, known, self._digits, self._totals.last_row)
        sync_folder(self._path.parent)  # the log has a name of its own
        self._run, self._previous = begun.run, begun.previous
        self._totals = begun.totals
        self._numberer = Numberer(self._device, self._registry, begun.run)
        self._gap_row = 0
        self._bad.clear()
        self._unnoted = begun.unnoted
        if begun.unnoted:
            aside = aside_of(self._path, begun.unnoted).name
            self._damage = f"{self._path} was damaged: put aside as {aside}"
            log.error("outbox damaged file=%s put_aside=%s", self._path, aside)

    def _note_damage(self, exc: DamagedError) -> None:
        self._is_damaged = True
        log.error("outbox cannot be used file=%s: %s", self._path, exc)

    def _open_again(self) -> None:
        """Raises TransientError."""
        with suppress(sqlite3.Error):
            self._db.close()
        self._open(PreviousRun(self._run, self._totals.last_seq, ended_cleanly=False))
        self._is_lost = False

    # --- what it knows --------------------------------------------------------------------

    @property
    def run(self) -> RunId:
        return self._run

    @property
    def previous(self) -> PreviousRun | None:
        return self._previous

    @property
    def damage(self) -> str | None:
        return self._damage

    @property
    def last_seq(self) -> int:
        return self._totals.last_seq

    @property
    def waiting(self) -> int:
        return self._totals.waiting

    @property
    def size_bytes(self) -> int:
        return self._totals.size_bytes

    # --- events ---------------------------------------------------------------------------

    def append_all(self, drafts: Sequence[Draft]) -> Appended:
        if not drafts:
            return Appended(events=[], stored=[])
        return self._store(drafts[0], lambda seq: self._numberer.number_all(drafts, seq))

    def adopt(self, events: Sequence[StoredEvent]) -> Appended:
        adopted = [Numbered(decode(each.payload), each.payload) for each in events]
        if not adopted:
            return Appended(events=[], stored=[])
        return self._store(adopted[0].event.draft, lambda _: adopted)

    def _store(self, like: Draft, number: Callable[[int], list[Numbered]]) -> Appended:
        """like: where a gap event takes its times from. number: events after the last seq."""
        with self._healing():
            if self._tight_bytes is not None and self._ballast.restore():
                self._tight_bytes = None
                log.info("outbox has room again bound_bytes=%d", self._max_bytes)
            try:
                return self._append(like, number)
            except sqlite3.OperationalError as exc:
                if not self._make_room(exc):
                    raise
                self._tight_bytes = max(self._totals.size_bytes, 1)
                return self._append(like, number)

    def _make_room(self, exc: BaseException | None) -> bool:
        """On a full disk: room for deletes and the log, by ending the ballast. The file itself
        must not grow any more, so from now on each new event pushes out an old one."""
        if not is_full(exc, self._path.parent) or not self._ballast.drop():
            return False
        log.warning("disk full freed_bytes=ballast file=%s", self._path)
        return True

    def _append(self, like: Draft, number: Callable[[int], list[Numbered]]) -> Appended:
        bound_bytes = self._max_bytes if self._tight_bytes is None else self._tight_bytes
        gaps: list[Event] = []
        stored: list[StoredEvent] = []
        expelled = 0
        totals = self._totals
        gap_row = self._gap_row
        with self._transaction():
            packed = [pack(each) for each in number(totals.last_seq)]
            needed = sum(each.size_bytes for each in packed)
            is_bad = bool(self._bad)
            while is_bad or (
                totals.size_bytes + needed > bound_bytes and totals.waiting > len(gaps)
            ):
                over = totals.size_bytes + needed - bound_bytes
                lost = (
                    self._drop_bad()
                    if is_bad
                    else self._expel(chunk_bytes(over, bound_bytes), gap_row)
                )
                is_bad = False
                expelled += lost.expelled
                gap = self._numberer.number(replace(like, body=lost.gap()), totals.last_seq + 1)
                totals = totals.without(lost.rows, lost.size_bytes)
                totals = self._insert(pack(gap), totals, stored)
                gaps.append(gap.event)
                gap_row = totals.last_row
            if gaps:
                packed = [pack(each) for each in number(totals.last_seq)]
            for each in packed:
                totals = self._insert(each, totals, stored)
            self._write(totals)
        self._totals = totals
        self._gap_row = gap_row
        self._bad.clear()
        self._unnoted = 0
        return Appended(
            events=[each.numbered.event for each in packed],
            stored=stored,
            expelled=expelled,
            gaps=gaps,
            oversize=sum(each.numbered.is_oversize for each in packed),
        )

    def _insert(self, packed: Packed, totals: Totals, stored: list[StoredEvent]) -> Totals:
        is_own = packed.numbered.event.id.run == self._run
        totals = totals.with_row(packed, is_own)
        stored.append(insert(self._db, totals.last_row, packed))
        return totals

    def _expel(self, size_bytes: int, gap_row: int) -> Lost:
        """The lowest rank first; the last gap event always, so that there is one and not many."""
        lost = Lost()
        gone = []
        by_rank = (each for each in self._db.execute(_BY_RANK) if each[0] != gap_row)
        for row, run, seq, subfolder, stored in chain(self._db.execute(_GAP, (gap_row,)), by_rank):
            if lost.rows and (lost.size_bytes >= size_bytes or lost.is_full):
                break
            _add(lost, run, seq, subfolder, stored)
            gone.append((row,))
        self._db.executemany("DELETE FROM events WHERE row = ?", gone)
        return lost

    def _drop_bad(self) -> Lost:
        lost = Lost("disk")
        for values in self._bad.values():
            _add(lost, *values)
        self._db.executemany("DELETE FROM events WHERE row = ?", [(row,) for row in self._bad])
        return lost

    def oldest(self, limit: int, after_row: int = 0) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        if limit <= 0:
            return found
        # Closed at once: a reading that stays open keeps the log from being emptied.
        with self._healing(), closing(self._db.execute(_AFTER, (after_row,))) as rows:
            for row, *values in rows:
                event = stored_event(self._device, row, *values)
                if event is None:
                    self._note_bad(row, values)
                else:
                    found.append(event)
                if len(found) == limit:
                    break
        return found

    def _note_bad(self, row: int, values: Sequence[object]) -> None:
        if row not in self._bad:
            log.error(
                "outbox row cannot be read, a gap will tell row=%d run=%r seq=%r", row, *values[:2]
            )
            self._bad[row] = values

    def remove(self, rows: Sequence[int]) -> None:
        if not rows:
            return
        with self._healing():
            try:
                self._remove(rows)
            except sqlite3.OperationalError as exc:
                if not self._make_room(exc):
                    raise
                self._tight_bytes = max(self._totals.size_bytes, 1)
                self._remove(rows)

    def _remove(self, rows: Sequence[int]) -> None:
        totals = self._totals
        with self._transaction():
            for row in rows:
                for (length,) in self._db.execute(
                    "DELETE FROM events WHERE row = ? RETURNING length(payload)", (row,)
                ).fetchall():
                    totals = totals.without(1, (length or 0) + size_of(b""))
            self._write_totals(totals)
        self._totals = totals

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with disk_errors(self._path), self._transaction():
                self._db.execute("UPDATE runs SET ended = 1 WHERE number = ?", (self._run.number,))
        except (TransientError, DamagedError) as exc:
            log.warning("outbox closed without a note of it: %s", exc)
        with suppress(sqlite3.Error):
            self._db.close()

    # --- transactions and errors ------------------------------------------------------------

    def _write(self, totals: Totals) -> None:
        self._write_totals(totals)
        if self._unnoted:
            # Whoever appends first tells of the damage, so with this commit it is told.
            self._db.execute("UPDATE damage SET noted = ?", (self._unnoted,))

    def _write_totals(self, totals: Totals) -> None:
        # The row is made again where a flipped bit gave it another number.
        self._db.execute(
            "INSERT INTO runs VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6) ON CONFLICT (number) DO UPDATE"
            " SET last_seq = ?3, last_row = ?4, waiting = ?5, size_bytes = ?6",
            (
                self._run.number,
                self._run.digits,
                totals.last_seq,
                totals.last_row,
                totals.waiting,
                totals.size_bytes,
            ),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _healing(self) -> Iterator[None]:
        """Errors translated; a file that turns out to be damaged is put aside, and a new run
        begun, now or, when the disk refuses that, with a later call."""
        if self._is_lost:
            self._open_again()
        try:
            with disk_errors(self._path):
                yield
        except DamagedError as exc:
            self._note_damage(exc)
            self._is_lost = True
            self._open_again()
            raise TransientError(f"{self._damage}; a new one is begun") from exc


def _add(lost: Lost, run: object, seq: object, subfolder: object, stored: object) -> None:
    """Only what a gap event says is read: the others are many."""
    payload = unpack(stored) if subfolder == Gap.subfolder else None
    lost.add(run, seq, subfolder, payload, stored)
