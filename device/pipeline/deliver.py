"""The delivery loop: any thread reports drafts, the outbox thread commits them, and the uplink
thread sends what is committed. The two meet at one lock, and neither touches the other's adapter.
"""

import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition, Event, Lock

from device.core.delivery import DeliveryMode, DeliverySettings, Room
from device.pipeline.committing import NOT_DUE_NS, CommitStatus, Committed, Committer, Queued
from device.pipeline.sending import Sender, SendStatus, Turned
from device.ports import Clock, Incoming, Keepsake, Outbox, PreviousRun, StoredEvent, Uplink
from device.wire.bodies import Gap
from device.wire.events import Draft
from device.wire.names import RunId, Topics

log = logging.getLogger(__name__)

QUEUE_AT_MOST = 2000
BATCH_AT_MOST = 256
"""Drafts of one transaction."""

SETTLE_AT = 100
SETTLE_NS = 100_000_000
"""Acknowledged rows are removed together: each transaction costs the card a sync."""

TURN_S = 0.5
"""How long an outbox turn waits for work, at most."""

CLOSE_TRIES = 5
CLOSE_PAUSE_S = 0.4
"""Between two tries of a disk that refuses, at the end."""

CLOSE_WAIT_S = 5.0
"""For a commit that goes on while the end has come."""

NO_PLACES = Room(backlog=0, live=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """How delivery stands; counts are since the start.

    run: None until the outbox is open. waiting: events that have not arrived yet. queued: drafts
    that are not committed yet. disk_problem: for people; None while all is well. queue_lost:
    drafts that found the queue full, or no disk at the end. send: what the uplink thread knows.
    """

    mode: DeliveryMode
    run: RunId | None
    last_seq: int
    waiting: int
    size_bytes: int
    queued: int
    disk_problem: str | None
    expelled: int
    oversize: int
    not_durable: int
    queue_lost: int
    send: SendStatus

    @property
    def is_connected(self) -> bool:
        return self.send.is_connected

    @property
    def problem(self) -> str | None:
        """Why nothing is sent, for people; None while all is well."""
        return self.send.problem

    @property
    def refused(self) -> int:
        """By the broker."""
        return self.send.refused


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the uplink thread has room for; epoch: the connection that it is for."""

    epoch: int = 0
    places: Room = NO_PLACES


class Delivery:
    """The two turns, and the queue before them.

    outbox_factory: called on the outbox thread, again after each TransientError.
    uplink_factory: called on the uplink thread, once there is a run.
    group_ms: drafts wait so long for others to share their transaction.
    on_committed: called on the outbox thread with what is on disk now, in order.
    first: the draft of `run.started`, which comes before any other of its run.
    spare_factory: an outbox in memory for a disk that fails; see `Committer`.
    on_message: called on the uplink thread with what came down and is no receipt; only enqueues.
    jitter: random, 0 to 1. turn_s: how long an outbox turn waits for work.
    """

    def __init__(
        self,
        *,
        outbox_factory: Callable[[], Outbox],
        uplink_factory: Callable[[RunId], Uplink],
        settings: DeliverySettings,
        topics: Topics,
        group_ms: int,
        clock: Clock,
        on_committed: Committed,
        first: Callable[[PreviousRun | None], Draft],
        spare_factory: Callable[[PreviousRun | None], Outbox] | None = None,
        on_message: Callable[[Incoming], None] | None = None,
        jitter: Callable[[], float] = random.random,
        turn_s: float = TURN_S,
    ) -> None:
        self._uplink_factory = uplink_factory
        self._settings = settings
        self._topics = topics
        self._on_message = on_message
        self._group_ns = group_ms * 1_000_000
        self._clock = clock
        self._jitter = jitter
        self._turn_s = turn_s
        self._committer = Committer(outbox_factory, spare_factory, first, on_committed, clock)
        self._uplink: Uplink | None = None
        self._sender: Sender | None = None
        self._has_run = Event()
        self._told_run: RunId | None = None
        self._turning = Lock()
        """Held over an outbox turn: two threads must not commit the same queue."""
        # Everything below belongs to the lock of `_changed`.
        self._changed = Condition()
        self._queue: deque[Queued] = deque()
        self._lost: Counter[str] = Counter()
        self._queue_lost = 0
        self._settled: list[int] = []
        self._settled_ns = 0
        self._epoch = 0
        self._restarted_epoch = 0
        """The connection for which reading began anew last."""
        self._backlog_end = 0
        """Rows up to it have given up their places as new ones; 0: none have."""
        self._is_spare_due = False
        """What the spare handed on is to be read again."""
        self._wanted = _Wanted()
        self._is_end = False
        """Nothing more to send until something is committed or the connection is a new one."""
        self._is_tried = False
        """There is more, but none for the places that are wanted."""
        self._is_feeding = False
        self._handed: list[StoredEvent] = []
        self._live_from = 0
        self._state_payload: bytes | None = None
        self._commit_status = CommitStatus()
        self._send_status = SendStatus()
        self._is_closed = False

    # --- any thread ---------------------------------------------------------------------------

    def report(self, draft: Draft, keepsake: Keepsake | None = None) -> bool:
        """Queue a draft; never waits for the disk. False: the queue is full (or closed), and a
        gap event will count the draft."""
        with self._changed:
            if self._is_closed or len(self._queue) >= QUEUE_AT_MOST:
                self._lost[draft.body.subfolder] += 1
                self._queue_lost += 1
                return False
            self._queue.append(Queued(draft, keepsake, self._clock.monotonic_ns()))
            self._changed.notify_all()
            return True

    def set_state(self, payload: bytes) -> None:
        """Publish retained `state`, now or at the next connect; newest wins."""
        with self._changed:
            self._state_payload = payload
        self._wake_uplink()

    def status(self) -> DeliveryStatus:
        with self._changed:
            commit, send = self._commit_status, self._send_status
            return DeliveryStatus(
                mode=self._settings.mode,
                run=commit.run,
                last_seq=commit.last_seq,
                waiting=commit.waiting,
                size_bytes=commit.size_bytes,
                queued=len(self._queue),
                disk_problem=commit.problem,
                expelled=commit.expelled,
                oversize=commit.oversize,
                not_durable=commit.not_durable,
                queue_lost=self._queue_lost,
                send=send,
            )

    def wake(self) -> None:
        """End both threads' waits, so that they hear of the end."""
        with self._changed:
            self._changed.notify_all()
        self._wake_uplink()

    def _wake_uplink(self) -> None:
        uplink = self._uplink
        if uplink is not None:
            uplink.wake()

    # --- the outbox thread ----------------------------------------------------------------------

    def outbox_turn(self) -> None:
        """Commit what is due, forget what has arrived, and hand on what there is room for; waits
        at most `turn_s` for any of it."""
        with self._changed:
            wait_s = self._idle_s()
            if wait_s > 0:
                self._changed.wait(wait_s)
        with self._turning:
            if not self._is_closed:
                self._work()

    def _work(self) -> None:
        with self._changed:
            is_commit_due = self._commit_in_ns() <= 0
            batch = list(self._queue)[:BATCH_AT_MOST] if is_commit_due else []
            lost = Counter(self._lost) if is_commit_due else Counter[str]()
            settled = self._take_settled()
            epoch = self._epoch
            # While places are being filled, the uplink thread asks for no others.
            wanted, self._wanted = self._wanted, _Wanted(self._epoch)
            self._is_feeding = wanted.places.live > 0
        self._committer.remove(settled)
        is_restart = epoch != self._restarted_epoch
        if is_restart:
            self._committer.restart()
            self._restarted_epoch = epoch
        self._give_up_places()
        if (is_commit_due and self._commit(batch, lost)) or is_restart:
            with self._changed:
                self._is_end = self._is_tried = False
        self._feed(wanted)
        with self._changed:
            self._commit_status = self._committer.status()
        if self._committer.is_started:
            self._has_run.set()

    def _give_up_places(self) -> None:
        with self._changed:
            backlog_end, self._backlog_end = self._backlog_end, 0
            is_spare_due, self._is_spare_due = self._is_spare_due, False
        if not backlog_end and not is_spare_due:
            return
        self._committer.give_up_places(backlog_end, is_spare_due)
        with self._changed:
            self._is_end = self._is_tried = False

    def _is_restart_due(self) -> bool:
        return self._epoch != self._restarted_epoch

    def _idle_s(self) -> float:
        is_idle = self._is_end or self._is_tried
        is_feeding = self._wanted.places.live > 0 and not is_idle
        if self._is_restart_due() or is_feeding:
            return 0.0
        wait_ns = min(self._commit_in_ns(), self._settle_in_ns())
        return min(max(wait_ns, 0) / 1e9, self._turn_s)

    def _commit_in_ns(self) -> int:
        now_ns = self._clock.monotonic_ns()
        pause_ns = self._committer.pause_ns()
        if not self._committer.is_started:
            return pause_ns
        if not self._queue and not self._lost:
            return self._committer.rescue_in_ns()
        if not self._queue or len(self._queue) >= BATCH_AT_MOST:
            return pause_ns
        return max(pause_ns, self._queue[0].arrived_ns + self._group_ns - now_ns)

    def _settle_in_ns(self) -> int:
        if not self._settled:
            return NOT_DUE_NS
        if len(self._settled) >= SETTLE_AT:
            return 0
        return self._settled_ns + SETTLE_NS - self._clock.monotonic_ns()

    def _take_settled(self) -> list[int]:
        # Before a restart all of it: what has arrived must not be read, and sent, again.
        if self._settle_in_ns() > 0 and not self._is_restart_due():
            return []
        settled, self._settled = self._settled, []
        return settled

    def _commit(self, batch: list[Queued], lost: Counter[str], is_last: bool = False) -> bool:
        """is_last: to the disk or not at all."""
        with_gap = [*batch, self._gap(lost)] if lost else batch
        commit = self._committer.commit_to_disk if is_last else self._committer.commit
        if not commit(with_gap):
            return False
        with self._changed:
            for _ in batch:
                self._queue.popleft()
            self._lost -= lost
        self._committer.tell()
        return True

    def _gap(self, lost: Counter[str]) -> Queued:
        now_ns = self._clock.monotonic_ns()
        body = Gap(reason="disk", counts=dict(lost))
        draft = Draft(time_ns=self._clock.wall_ns(), mono_ns=now_ns, body=body)
        return Queued(draft, None, now_ns)

    def _feed(self, wanted: _Wanted) -> None:
        if wanted.places.live <= 0:
            return
        fed = self._committer.feed(wanted.places)
        with self._changed:
            self._is_feeding = False
            if wanted.epoch == self._epoch:
                self._is_end = fed.is_end
                if not fed.events:
                    self._is_tried = True
                    self._wanted = wanted
                    return
                self._handed = fed.events
                self._live_from = self._committer.live_from
            # Else the connection has gone meanwhile: the next one begins from the oldest.
        self._wake_uplink()

    # --- the uplink thread ----------------------------------------------------------------------

    def uplink_turn(self) -> None:
        """Network work for about a second at most, once there is a run."""
        if not self._has_run.wait(self._turn_s):
            return
        sender = self._sender or self._start_sender()
        turned = sender.turn(1.0)
        with self._changed:
            self._take_turned(turned)
            handed, self._handed = self._handed, []
            live_from = self._live_from
        sender.take(handed, live_from)
        self._hand_on(turned.messages)
        self._say_what_is_new()
        sender.send()
        places = sender.places()
        with self._changed:
            if not self._handed and not self._is_feeding:
                self._wanted = _Wanted(self._epoch, places)
                self._is_tried = False
            self._send_status = sender.status()
            self._changed.notify_all()

    def _take_turned(self, turned: Turned) -> None:
        if turned.arrived and not self._settled:
            self._settled_ns = self._clock.monotonic_ns()
        self._settled += turned.arrived
        if turned.is_new:
            self._epoch += 1
            self._handed = []
            self._wanted = _Wanted(self._epoch)
            self._backlog_end = 0
        self._backlog_end = max(self._backlog_end, turned.backlog_end)
        self._is_spare_due = self._is_spare_due or turned.is_spare_due

    def _hand_on(self, messages: Sequence[Incoming]) -> None:
        """A listener that raises is only logged: it must not cost the messages after it."""
        if self._on_message is None:
            return
        for message in messages:
            try:
                self._on_message(message)
            except Exception:
                log.exception("nobody heard of a message topic=%s", message.topic)

    def _say_what_is_new(self) -> None:
        with self._changed:
            state, run = self._state_payload, self._commit_status.run
        if self._uplink is None:
            return
        if run is not None and run != self._told_run:
            self._uplink.set_run(run)
            self._told_run = run
        if state is not None:
            self._uplink.set_state(state)
            with self._changed:
                if self._state_payload is state:
                    self._state_payload = None

    def _start_sender(self) -> Sender:
        run = self._commit_status.run
        if run is None:
            raise AssertionError("an uplink wants a run")
        self._uplink, self._told_run = self._uplink_factory(run), run
        self._sender = Sender(self._uplink, self._settings, self._topics, self._clock, self._jitter)
        return self._sender

    # --- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Commit what is queued, close the outbox as asked, say `offline`. Both threads should
        have ended; a commit that still goes on is waited for. May be called twice, raises nothing.
        """
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
        if self._turning.acquire(timeout=CLOSE_WAIT_S):
            try:
                self._close_outbox()
            except Exception:
                log.exception("delivery did not close as it should")
            finally:
                self._turning.release()
        else:
            log.critical("the disk hangs at the end: events_at_risk=%d", len(self._queue))
        if self._uplink is not None:
            self._uplink.close()

    def _close_outbox(self) -> None:
        self._committer.remove(self._settled)
        pause = Event()
        for _ in range(CLOSE_TRIES):
            if self._save_all():
                break
            pause.wait(min(CLOSE_PAUSE_S, self._turn_s))
        else:
            lost = len(self._queue) + sum(self._lost.values())
            log.error("no disk at the end, lost: events=%d", lost)
            self._queue_lost += len(self._queue)
        self._queue_lost += self._committer.close()
        self._commit_status = self._committer.status()

    def _save_all(self) -> bool:
        while self._queue or self._lost:
            batch = list(self._queue)[:BATCH_AT_MOST]
            if not self._commit(batch, Counter(self._lost), is_last=True):
                return False
        return self._committer.rescue_all()
