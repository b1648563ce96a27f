"""The outbox thread's part of delivery: drafts to disk, and from disk to whoever sends.

When the disk refuses for longer than `PATIENCE_NS`, events go on in memory, in a run of their
own and marked as not durable, until the disk takes events again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
        self._told_runs: set[RunId] = set()
        self._told_damage: str | None = None
        self._news: list[tuple[Event, Keepsake | None]] = []
        self._problem: str | None = None
        self._failing_since_ns: int | None = None
        self._retry_ns = 0
        self._expelled = self._oversize = self._not_durable = 0
        self._settled: set[int] = set()
        """Rows that have arrived and could not be removed yet."""
        self._last_row = 0
        self._backlog_row = self._backlog_end = self._live_row = 0
        self._spare_row = SPARE_FIRST_ROW - 1

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

    def _can_spare(self, now_ns: int) -> bool:
        since_ns = self._failing_since_ns
        if self._spare_factory is None or since_ns is None:
            return False
        return now_ns - since_ns >= PATIENCE_NS

    def status(self) -> CommitStatus:
        parts = [part for part in (self._disk, self._spare) if part is not None]
        if not parts:
            return CommitStatus(problem=self._problem)
        return CommitStatus(
            run=parts[0].run,
            last_seq=parts[0].last_seq,
            waiting=sum(part.waiting for part in parts),
            size_bytes=sum(part.size_bytes for part in parts),
            problem=self._problem or parts[0].damage,
            expelled=self._expelled,
            oversize=self._oversize,
            not_durable=self._not_durable,
        )

    # --- in ---------------------------------------------------------------------------------

    def commit(self, batch: Sequence[Queued]) -> bool:
        """Store all in one transaction, to be told with `tell`. False: the caller keeps them and
        comes again. An empty batch only opens the outbox."""
        if not batch and self.is_started:
            return True
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._retry_ns:
            try:
                self._commit_to_disk(batch)
            except TransientError as exc:
                self._note_failure(str(exc), now_ns)
            else:
                self._note_success()
                return True
        if not self._can_spare(now_ns):
            return False
        self._commit_to_spare(batch)
        return True

    def _commit_to_disk(self, batch: Sequence[Queued]) -> None:
        if self._disk is None:
            self._disk = self._outbox_factory()
        appended = self._append(self._disk, batch)
        if self._last_row == 0 and appended.stored:
            # What lay in the file before this process is the backlog.
            self._live_row = self._backlog_end = appended.stored[0].row - 1
        if appended.stored:
            self._last_row = appended.stored[-1].row

    def _commit_to_spare(self, batch: Sequence[Queued]) -> None:
        if self._spare is None:
            if self._spare_factory is None:
                raise AssertionError("no spare outbox was given")
            disk = self._disk
            self._spare = self._spare_factory(
                None if disk is None else PreviousRun(disk.run, disk.last_seq, False)
            )
            log.warning("events go on in memory, not durable run=%s", self._spare.run)
        appended = self._append(self._spare, batch)
        self._not_durable += len(appended.events)

    def _append(self, outbox: Outbox, batch: Sequence[Queued]) -> Appended:
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
        self._expelled += appended.expelled
        self._oversize += appended.oversize
        keepsakes = [*([None] * len(front)), *(each.keepsake for each in batch)]
        self._news += [(event, None) for event in appended.gaps]
        self._news += zip(appended.events, keepsakes, strict=True)
        return appended

    def tell(self) -> None:
        """Tell of what is committed. Apart from `commit`, because a listener that raises must not
        bring the same drafts to disk again."""
        news, self._news = self._news, []
        if news:
            self._on_committed(news)

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

    # --- out --------------------------------------------------------------------------------

    def restart(self) -> None:
        """A new connection: everything that is still here is sent again, from the oldest."""
        self._backlog_row = 0
        self._backlog_end = self._live_row = self._last_row
        self._spare_row = SPARE_FIRST_ROW - 1

    def give_up_places(self, backlog_end: int, is_spare_due: bool) -> None:
        """Rows up to `backlog_end`, sent as new ones, count as backlog from now on, and are sent
        again when the backlog comes to them. is_spare_due: the spare is read again from its
        beginning."""
        self._backlog_end = max(self._backlog_end, backlog_end)
        if is_spare_due:
            self._spare_row = SPARE_FIRST_ROW - 1

    @property
    def live_from(self) -> int:
        """The first row that counts as new on this connection."""
        return self._backlog_end + 1

    def feed(self, places: Room) -> list[StoredEvent]:
        """The next events to send, new ones first; each once until `restart`."""
        live = self._next_live(places.live)
        backlog = self._next_backlog(min(places.backlog, places.live - len(live)))
        return [*live, *backlog]

    def _next_live(self, limit: int) -> list[StoredEvent]:
        found = self._read(self._disk, limit, self._live_row)
        if found:
            self._live_row = found[-1].row
        spare = self._read(self._spare, limit - len(found), self._spare_row)
        if spare:
            self._spare_row = spare[-1].row
        return self._unsettled([*found, *spare])

    def _next_backlog(self, limit: int) -> list[StoredEvent]:
        if self._backlog_row >= self._backlog_end:
            return []
        found = self._read(self._disk, limit, self._backlog_row)
        inside = [each for each in found if each.row <= self._backlog_end]
        if inside:
            self._backlog_row = inside[-1].row
        if limit > 0 and self._problem is None and len(inside) < limit:
            self._backlog_row = self._backlog_end
        return self._unsettled(inside)

    def _unsettled(self, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        return [each for each in events if each.row not in self._settled]

    def _read(self, outbox: Outbox | None, limit: int, after_row: int) -> list[StoredEvent]:
        if outbox is None or limit <= 0:
            return []
        try:
            return outbox.oldest(limit, after_row)
        except TransientError as exc:
            self._note_failure(str(exc), self._clock.monotonic_ns())
            return []

    def remove(self, rows: Sequence[int]) -> None:
        """Forget what has arrived; what cannot be removed now is, with the next."""
        if self._spare is not None:
            self._spare.remove([row for row in rows if row >= SPARE_FIRST_ROW])
        self._settled.update(row for row in rows if row < SPARE_FIRST_ROW)
        if self._disk is None or not self._settled:
            return
        try:
            self._disk.remove(sorted(self._settled))
        except TransientError as exc:
            self._note_failure(str(exc), self._clock.monotonic_ns())
        else:
            self._settled.clear()

    def close(self) -> None:
        for part in (self._disk, self._spare):
            if part is not None:
                part.close()
