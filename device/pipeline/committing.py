"""The outbox thread's part of delivery: drafts to disk, and from disk to whoever sends.

When the disk refuses for longer than `PATIENCE_NS`, events go on in memory, in a run of their
own and marked as not durable, until the disk takes events again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from device.core.delivery import SPARE_FIRST_ROW, Room
from device.errors import TransientError
from device.ports import Appended, Clock, Keepsake, Outbox, PreviousRun, StoredEvent
from device.wire.bodies import Gap
from device.wire.events import Draft, Event
from device.wire.names import RunId

log = logging.getLogger(__name__)

PATIENCE_NS = 2_000_000_000
RETRY_NS = 1_000_000_000
"""Between two tries of a disk that refuses."""

NOT_DUE_NS = 1 << 62

RESCUE_AT_MOST = 1000
"""Events that go from memory to disk in one transaction."""

PAGE = 256
"""Rows read at once where many of them have arrived already, and cannot be removed."""

DISK_END = SPARE_FIRST_ROW - 1
SPARE_END = 1 << 63

Committed = Callable[[Sequence[tuple[Event, Keepsake | None]]], None]


@dataclass(frozen=True, slots=True, eq=False)
class Queued:
    """A draft on its way to the outbox; arrived_ns: monotonic."""

    draft: Draft
    keepsake: Keepsake | None
    arrived_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitStatus:
    """What the outbox thread last knew."""

    run: RunId | None = None
    last_seq: int = 0
    waiting: int = 0
    size_bytes: int = 0
    problem: str | None = None
    expelled: int = 0
    oversize: int = 0
    not_durable: int = 0


@dataclass(frozen=True, slots=True)
class Fed:
    """events: to be sent. is_end: nothing more is there until something is committed."""

    events: list[StoredEvent]
    is_end: bool


@dataclass(frozen=True, slots=True)
class _Cursors:
    """Up to which row each part was handed on, on this connection."""

    backlog: int
    live: int
    spare: int = SPARE_FIRST_ROW - 1


@dataclass(frozen=True, slots=True)
class _Found:
    """row: read up to here."""

    events: list[StoredEvent]
    row: int
    is_end: bool


class Committer:
    """Owned by one thread.

    outbox_factory: opens the file; tried again when it raises TransientError.
    spare_factory: an outbox in memory whose rows begin at `SPARE_FIRST_ROW`; None: without a
    disk nothing is stored, and `commit` says so.
    """

    def __init__(
        self,
        outbox_factory: Callable[[], Outbox],
        spare_factory: Callable[[PreviousRun | None], Outbox] | None,
        first: Callable[[PreviousRun | None], Draft],
        on_committed: Committed,
        clock: Clock,
    ) -> None:
        self._outbox_factory = outbox_factory
        self._spare_factory = spare_factory
        self._first = first
        self._on_committed = on_committed
        self._clock = clock
        self._disk: Outbox | None = None
        self._spare: Outbox | None = None
        self._is_spare_in_use = False
        self._told_runs: set[RunId] = set()
        self._told_damage: str | None = None
        self._news: list[tuple[Event, Keepsake | None]] = []
        self._problem: str | None = None
        self._failing_since_ns: int | None = None
        self._retry_ns = 0
        self._read_problem: str | None = None
        self._remove_problem: str | None = None
        self._remove_retry_ns = 0
        self._expelled = self._oversize = self._not_durable = 0
        self._settled: set[int] = set()
        """Rows that have arrived and could not be removed yet."""
        self._last_row: int | None = None
        """Of the disk; None until this process has stored something there."""
        self._backlog_end = DISK_END
        self._cursors = _Cursors(backlog=0, live=DISK_END)

    @property
    def is_started(self) -> bool:
        """Whether there is a run."""
        return self._disk is not None or self._spare is not None

    def pause_ns(self) -> int:
        """How long `commit` has no chance to succeed, after a failure."""
        now_ns = self._clock.monotonic_ns()
        if self._can_spare(now_ns):
            return 0
        return max(self._retry_ns - now_ns, 0)

    def rescue_in_ns(self) -> int:
        """When `commit` should be tried even without drafts: events in memory wait for the disk.
        What was handed on from memory stays there as long as the connection stands."""
        if self._spare is None or not self._spare.oldest(1, self._cursors.spare):
            return NOT_DUE_NS
        return max(self._retry_ns - self._clock.monotonic_ns(), 0)

    def _can_spare(self, now_ns: int) -> bool:
        since_ns = self._failing_since_ns
        if self._spare_factory is None or since_ns is None:
            return False
        return now_ns - since_ns >= PATIENCE_NS

    def status(self) -> CommitStatus:
        parts = [part for part in (self._disk, self._spare) if part is not None]
        problem = self._problem or self._read_problem or self._remove_problem
        if not parts:
            return CommitStatus(problem=problem)
        now = parts[-1] if self._is_spare_in_use else parts[0]
        return CommitStatus(
            run=now.run,
            last_seq=now.last_seq,
            waiting=sum(part.waiting for part in parts),
            size_bytes=sum(part.size_bytes for part in parts),
            problem=problem or parts[0].damage,
            expelled=self._expelled,
            oversize=self._oversize,
            not_durable=self._not_durable,
        )

    # --- in ---------------------------------------------------------------------------------

    def commit(self, batch: Sequence[Queued]) -> bool:
        """Store all in one transaction, to be told with `tell`. False: the caller keeps them and
        comes again. An empty batch opens the outbox, and moves to disk what is in memory."""
        if not batch and self.is_started and self.rescue_in_ns() > 0:
            return True
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._retry_ns and self.commit_to_disk(batch):
            return True
        if not self._can_spare(now_ns):
            return False
        self._commit_to_spare(batch)
        return True

    def commit_to_disk(self, batch: Sequence[Queued]) -> bool:
        """As `commit`, at once and nowhere else."""
        try:
            if self._disk is None:
                self._disk = self._outbox_factory()
            # A run's first event comes first, also before what is adopted.
            self._append(self._disk, [] if self._spare_waits() else batch)
            if self._spare_waits():
                self._rescue(self._disk, self._cursors.spare)
                self._append(self._disk, batch)
        except TransientError as exc:
            self._note_failure(str(exc), self._clock.monotonic_ns())
            return False
        self._note_success()
        return True

    def _spare_waits(self) -> bool:
        return self._spare is not None and bool(self._spare.oldest(1, self._cursors.spare))

    def rescue_all(self) -> bool:
        """For the end: all that is in memory to the disk. False: the disk refused."""
        try:
            while self._spare is not None and self._spare.waiting:
                if self._disk is None:
                    self._disk = self._outbox_factory()
                self._append(self._disk, [])
                self._rescue(self._disk, 0)
        except TransientError as exc:
            self._note_failure(str(exc), self._clock.monotonic_ns())
            return False
        return True

    def _rescue(self, disk: Outbox, after_row: int) -> None:
        """One transaction's worth of the spare's events, with their ids, to the disk."""
        if self._spare is None:
            return
        events = self._spare.oldest(RESCUE_AT_MOST, after_row)
        self._note_stored(disk, disk.adopt(events))
        self._spare.remove([each.row for each in events])
        log.info("moved from memory to disk events=%d run=%s", len(events), self._spare.run)

    def _commit_to_spare(self, batch: Sequence[Queued]) -> None:
        if self._spare is None:
            if self._spare_factory is None:
                raise AssertionError("no spare outbox was given")
            disk = self._disk
            self._spare = self._spare_factory(
                None if disk is None else PreviousRun(disk.run, disk.last_seq, False)
            )
        if not self._is_spare_in_use:
            self._is_spare_in_use = True
            log.warning("events go on in memory, not durable run=%s", self._spare.run)
        self._not_durable += self._append(self._spare, batch)

    def _append(self, outbox: Outbox, batch: Sequence[Queued]) -> int:
        """How many events it became."""
        front = []
        if outbox.run not in self._told_runs:
            front.append(self._first(outbox.previous))
            if outbox.damage is not None and outbox.damage != self._told_damage:
                # Nobody knows how many events the damaged file held.
                front.append(
                    Draft(
                        time_ns=front[0].time_ns,
                        mono_ns=front[0].mono_ns,
                        body=Gap(reason="disk", counts={}),
                    )
                )
        appended = outbox.append_all([*front, *(each.draft for each in batch)])
        self._told_runs.add(outbox.run)
        self._told_damage = outbox.damage
        self._note_stored(outbox, appended)
        keepsakes = [*([None] * len(front)), *(each.keepsake for each in batch)]
        self._news += zip(appended.events, keepsakes, strict=True)
        return len(appended.events)

    def _note_stored(self, outbox: Outbox, appended: Appended) -> None:
        self._expelled += appended.expelled
        self._oversize += appended.oversize
        self._news += [(event, None) for event in appended.gaps]
        if outbox is not self._disk or not appended.stored:
            return
        if self._last_row is None:
            # What lay in the file before this process is the backlog.
            self._backlog_end = appended.stored[0].row - 1
            self._cursors = replace(self._cursors, live=self._backlog_end)
        self._last_row = appended.stored[-1].row

    def tell(self) -> None:
        """Tell of what is committed. Apart from `commit`, and a listener that raises is only
        logged: nothing that it does may bring the same drafts to disk again."""
        news, self._news = self._news, []
        if news:
            try:
                self._on_committed(news)
            except Exception:
                log.exception("nobody heard of what is committed: events=%d", len(news))

    def _note_failure(self, problem: str, now_ns: int) -> None:
        if self._failing_since_ns is None:
            self._failing_since_ns = now_ns
        if problem != self._problem:
            log.error("events are not on disk: %s", problem)
        self._problem = problem
        # At first quickly: a disk that was only busy should cost no durability.
        is_fresh = now_ns - self._failing_since_ns < PATIENCE_NS
        self._retry_ns = now_ns + (RETRY_NS // 5 if is_fresh else RETRY_NS)

    def _note_success(self) -> None:
        if self._problem is not None:
            log.info("events are on disk again")
        self._problem = None
        self._failing_since_ns = None
        self._retry_ns = 0
        self._is_spare_in_use = False

    # --- out --------------------------------------------------------------------------------

    def restart(self) -> None:
        """A new connection: everything that is still here is sent again, from the oldest."""
        if self._last_row is not None:
            self._backlog_end = self._last_row
        self._cursors = _Cursors(backlog=0, live=self._backlog_end)

    def give_up_places(self, backlog_end: int, is_spare_due: bool) -> None:
        """Rows up to `backlog_end`, sent as new ones, count as backlog from now on, and are sent
        again when the backlog comes to them. is_spare_due: the spare is read again from its
        beginning."""
        self._backlog_end = max(self._backlog_end, backlog_end)
        if is_spare_due:
            self._cursors = replace(self._cursors, spare=SPARE_FIRST_ROW - 1)

    @property
    def live_from(self) -> int:
        """The first row that counts as new on this connection."""
        return self._backlog_end + 1

    def feed(self, places: Room) -> Fed:
        """The next events to send, new ones first; each once until `restart`. What raises on
        the way moves nothing on."""
        self._read_problem = None
        before = self._cursors
        live = self._next(self._disk, places.live, before.live, DISK_END)
        free = places.live - len(live.events)
        spare = self._next(self._spare, free, before.spare, SPARE_END)
        free = min(places.backlog, free - len(spare.events))
        backlog = self._next(self._disk, free, before.backlog, self._backlog_end)
        self._cursors = _Cursors(backlog.row, live.row, spare.row)
        return Fed(
            [*live.events, *spare.events, *backlog.events],
            live.is_end and spare.is_end and backlog.is_end,
        )

    def _next(self, outbox: Outbox | None, limit: int, after_row: int, end_row: int) -> _Found:
        """Read on over what has arrived already, until enough was found or the end is reached."""
        found: list[StoredEvent] = []
        if outbox is None or after_row >= end_row:
            return _Found(found, after_row, True)
        while len(found) < limit:
            size = max(limit - len(found), PAGE if self._settled else 1)
            page = self._read(outbox, size, after_row)
            if page is None:
                return _Found(found, after_row, False)
            for event in page:
                if event.row > end_row:
                    return _Found(found, end_row, True)
                after_row = event.row
                if event.row not in self._settled:
                    found.append(event)
                    if len(found) == limit:
                        return _Found(found, after_row, False)
            if len(page) < size:
                return _Found(found, after_row, True)
        return _Found(found, after_row, False)

    def _read(self, outbox: Outbox, limit: int, after_row: int) -> list[StoredEvent] | None:
        try:
            return outbox.oldest(limit, after_row)
        except TransientError as exc:
            # A disk that cannot be read may still be written to: no word to `commit`.
            self._read_problem = str(exc)
            return None

    def remove(self, rows: Sequence[int]) -> None:
        """Forget what has arrived; what cannot be removed now is, with a later call."""
        self._settled.update(row for row in rows if row < SPARE_FIRST_ROW)
        if self._spare is not None:
            self._spare.remove([row for row in rows if row >= SPARE_FIRST_ROW])
        now_ns = self._clock.monotonic_ns()
        if self._disk is None or not self._settled or now_ns < self._remove_retry_ns:
            return
        try:
            self._disk.remove(sorted(self._settled))
        except TransientError as exc:
            self._remove_problem = str(exc)
            self._remove_retry_ns = now_ns + RETRY_NS
        else:
            self._remove_problem = None
            self._settled.clear()

    def close(self) -> int:
        """How many events go with the memory."""
        lost = 0
        if self._spare is not None and self._spare.waiting:
            lost = self._spare.waiting
            log.error(
                "lost with the memory: events=%d run=%s last_seq=%d",
                lost,
                self._spare.run,
                self._spare.last_seq,
            )
        for part in (self._disk, self._spare):
            if part is not None:
                part.close()
        return lost
