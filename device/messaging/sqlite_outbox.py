"""The one queue of events: an SQLite file that survives power cuts (WAL, `synchronous=FULL`).

Payloads are stored as they will be sent, so an event is immutable from its commit on. Rows are
numbered by AUTOINCREMENT: a row number is never used twice, even after its event has left.
"""

import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from device.errors import TransientError
from device.messaging.ballast import Ballast
from device.messaging.numbering import Lost, Numbered, Numberer, chunk_bytes, size_of
from device.messaging.outbox_file import (
    DamagedError,
    disk_errors,
    is_full,
    last_run_number,
    open_file,
    put_aside,
    sync_folder,
)
from device.ports import Appended, PreviousRun, StoredEvent
from device.wire.events import Draft, Event
from device.wire.names import RunId

log = logging.getLogger(__name__)

_RUNS_KEPT = 10

_GAP = "SELECT row, run, seq, subfolder, payload FROM events WHERE row = ?"
_BY_RANK = "SELECT row, run, seq, subfolder, payload FROM events ORDER BY rank, row"


def _four_random_bytes() -> str:
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class _Totals:
    """What the next commit will have made true."""

    last_seq: int
    waiting: int
    size_bytes: int


class SqliteOutbox:
    """Matches `ports.Outbox`.

    path: the file; `-wal`, `-shm`, `.ballast` and `.damaged-N` stand beside it.
    max_bytes: bound of the events it keeps. One batch may exceed it until the next is stored.
    digits: the random part of the run id.
    synchronous: anything but FULL loses events in a power cut; for the test that shows it.
    """

    def __init__(
        self,
        path: Path,
        device: str,
        registry: str,
        max_bytes: int,
        digits: Callable[[], str] = _four_random_bytes,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
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
        self._is_closed = False
        self._last_row = 0
        self._gap_row = 0
        self._open(known_number=0)

    # --- opening --------------------------------------------------------------------------

    def _open(self, known_number: int) -> None:
        try:
            self._db = open_file(self._path, self._synchronous)
            with self._errors():
                self._begin_run(known_number)
        except DamagedError as exc:
            with suppress(AttributeError):
                self._db.close()
            known_number = max(known_number, last_run_number(self._path))
            aside = put_aside(self._path)
            self._damage = f"{self._path} is damaged ({exc}): put aside as {aside.name}"
            log.error("outbox damaged file=%s put_aside=%s", self._path, aside.name)
            try:
                self._db = open_file(self._path, self._synchronous)
                with self._errors():
                    self._begin_run(known_number)
            except DamagedError as again:
                raise TransientError(f"{self._path}: a new file is damaged too: {again}") from again
        self._ballast.restore()

    def _begin_run(self, known_number: int) -> None:
        with self._transaction():
            found = self._db.execute(
                "SELECT number, digits, last_seq, ended FROM runs ORDER BY number DESC LIMIT 1"
            ).fetchone()
            waiting, size_bytes = self._db.execute(
                "SELECT waiting, size_bytes FROM totals"
            ).fetchone()
            self._previous = (
                None
                if found is None
                else PreviousRun(RunId(found[0], found[1]), found[2], bool(found[3]))
            )
            number = 1 + max(known_number, 0 if found is None else found[0])
            self._run = RunId(number, self._digits())
            self._db.execute("INSERT INTO runs VALUES (?, ?, 0, 0)", (number, self._run.digits))
            self._db.execute("DELETE FROM runs WHERE number <= ?", (number - _RUNS_KEPT,))
            if self._last_row:
                # A new file in place of a damaged one: rows of the old one are still under way.
                self._db.execute(
                    "INSERT INTO sqlite_sequence VALUES ('events', ?)", (self._last_row,)
                )
        sync_folder(self._path.parent)  # the log has a name of its own
        self._numberer = Numberer(self._device, self._registry, self._run)
        self._totals = _Totals(last_seq=0, waiting=waiting, size_bytes=size_bytes)

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
        with self._healing():
            if self._tight_bytes is not None and self._ballast.restore():
                self._tight_bytes = None
                log.info("outbox has room again bound_bytes=%d", self._max_bytes)
            try:
                return self._append(drafts, self._bound_bytes)
            except sqlite3.OperationalError as exc:
                if not is_full(exc) or not self._make_room():
                    raise
                return self._append(drafts, self._bound_bytes)

    @property
    def _bound_bytes(self) -> int:
        return self._max_bytes if self._tight_bytes is None else self._tight_bytes

    def _make_room(self) -> bool:
        """On a full disk: room for deletes and the log, by ending the ballast. The file itself
        must not grow any more, so from now on each new event pushes out an old one."""
        if not self._ballast.drop():
            return False
        self._tight_bytes = max(self._totals.size_bytes, 1)
        log.warning("disk full freed_bytes=ballast bound_bytes=%d", self._tight_bytes)
        return True

    def _number(self, drafts: Sequence[Draft]) -> list[Numbered]:
        return self._numberer.number_all(drafts, self._totals.last_seq)

    def _append(self, drafts: Sequence[Draft], bound_bytes: int) -> Appended:
        gaps: list[Event] = []
        stored: list[StoredEvent] = []
        expelled = 0
        totals = self._totals
        with self._transaction():
            needed = sum(size_of(each.payload) for each in self._number(drafts))
            gap_row = self._gap_row
            while totals.size_bytes + needed > bound_bytes and totals.waiting > len(gaps):
                over = totals.size_bytes + needed - bound_bytes
                lost = self._expel(chunk_bytes(over, bound_bytes), gap_row)
                expelled += lost.expelled
                draft = replace(drafts[0], body=lost.gap())
                gap = self._numberer.number(draft, totals.last_seq + 1)
                stored.append(self._insert(gap))
                gaps.append(gap.event)
                gap_row = stored[-1].row
                totals = _Totals(
                    last_seq=totals.last_seq + 1,
                    waiting=totals.waiting - lost.rows + 1,
                    size_bytes=totals.size_bytes - lost.size_bytes + size_of(gap.payload),
                )
            numbered = self._numberer.number_all(drafts, totals.last_seq)
            stored += [self._insert(each) for each in numbered]
            totals = _Totals(
                last_seq=totals.last_seq + len(numbered),
                waiting=totals.waiting + len(numbered),
                size_bytes=totals.size_bytes + sum(size_of(each.payload) for each in numbered),
            )
            self._write(totals)
        self._totals = totals
        self._last_row = stored[-1].row
        self._gap_row = gap_row
        return Appended(
            events=[each.event for each in numbered],
            stored=stored,
            expelled=expelled,
            gaps=gaps,
            oversize=sum(each.is_oversize for each in numbered),
        )

    def _insert(self, numbered: Numbered) -> StoredEvent:
        event = numbered.event
        row = self._db.execute(
            "INSERT INTO events (run, seq, subfolder, rank, payload) VALUES (?, ?, ?, ?, ?)",
            (
                str(event.id.run),
                event.id.seq,
                event.subfolder,
                int(event.draft.rank),
                numbered.payload,
            ),
        ).lastrowid
        if row is None:
            raise AssertionError("an INSERT gave no row number")
        return StoredEvent(row, str(event.id), event.subfolder, numbered.payload)

    def _expel(self, size_bytes: int, gap_row: int) -> Lost:
        """The lowest rank first; the last gap event always, so that there is one and not many."""
        lost = Lost()
        gone = []
        by_rank = (each for each in self._db.execute(_BY_RANK) if each[0] != gap_row)
        for row, *event in chain(self._db.execute(_GAP, (gap_row,)), by_rank):
            if lost.rows and (lost.size_bytes >= size_bytes or lost.is_full):
                break
            lost.add(*event)
            gone.append((row,))
        self._db.executemany("DELETE FROM events WHERE row = ?", gone)
        return lost

    def oldest(self, limit: int, after_row: int = 0) -> list[StoredEvent]:
        with self._healing():
            found = self._db.execute(
                "SELECT row, run, seq, subfolder, payload FROM events"
                " WHERE row > ? ORDER BY row LIMIT ?",
                (after_row, limit),
            ).fetchall()
        return [
            StoredEvent(row, f"{self._device}:{run}:{seq}", subfolder, payload)
            for row, run, seq, subfolder, payload in found
        ]

    def remove(self, rows: Sequence[int]) -> None:
        if not rows:
            return
        with self._healing():
            try:
                self._remove(rows)
            except sqlite3.OperationalError as exc:
                if not is_full(exc) or not self._make_room():
                    raise
                self._remove(rows)

    def _remove(self, rows: Sequence[int]) -> None:
        totals = self._totals
        with self._transaction():
            for row in rows:
                for (length,) in self._db.execute(
                    "DELETE FROM events WHERE row = ? RETURNING length(payload)", (row,)
                ).fetchall():
                    totals = replace(
                        totals,
                        waiting=totals.waiting - 1,
                        size_bytes=totals.size_bytes - length - size_of(b""),
                    )
            self._write(totals)
        self._totals = totals

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with self._errors(), self._transaction():
                self._db.execute("UPDATE runs SET ended = 1 WHERE number = ?", (self._run.number,))
        except (TransientError, DamagedError) as exc:
            log.warning("outbox closed without a note of it: %s", exc)
        with suppress(sqlite3.Error):
            self._db.close()

    # --- transactions and errors ------------------------------------------------------------

    def _write(self, totals: _Totals) -> None:
        self._db.execute(
            "UPDATE runs SET last_seq = ? WHERE number = ?", (totals.last_seq, self._run.number)
        )
        self._db.execute(
            "UPDATE totals SET waiting = ?, size_bytes = ?", (totals.waiting, totals.size_bytes)
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
    def _errors(self) -> Iterator[None]:
        with disk_errors(self._path):
            yield

    @contextmanager
    def _healing(self) -> Iterator[None]:
        """As `_errors`; a file that turns out to be damaged is put aside, and a new run begun."""
        try:
            with self._errors():
                yield
        except DamagedError as exc:
            self._db.close()
            self._open(known_number=self._run.number)
            raise TransientError(f"{self._damage or exc}; a new one is begun") from exc
