"""The uplink thread's part of delivery: what is under way, and what may be sent now.

With `receipts` an event stays under way after the broker has acknowledged it, until a receipt
names it; without one it is sent again, later and later.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from device.core.delivery import (
    RECEIPT_AFTER_CONNECT_S,
    SPARE_FIRST_ROW,
    DeliverySettings,
    DeliveryState,
    Room,
    backoff_s,
    receipt_wait_s,
    room,
    yield_places,
)
from device.pipeline.sent import SentEvents
from device.ports import Clock, Incoming, StoredEvent, Uplink
from device.wire.errors import WireError
from device.wire.names import Topics
from device.wire.receipts import Receipt, decode_receipt

log = logging.getLogger(__name__)

SILENT_NS = 600_000_000_000
"""Events under way on a connection, and no receipt for so long: something is missing."""

STEP_AT_MOST_NS = 5_000_000_000
"""Of one turn, towards `SILENT_NS`: a process that was stopped for an hour has not waited."""

REFUSALS_TOLD = 10
REASON_CHARS = 200

NO_RECEIPTS = (
    "no receipt for ten minutes, so nothing leaves the outbox: start the bridge "
    "(`lookout-cloud bridge` or `lookout-cloud hub`) and see that its log is clean, or choose "
    '[mqtt] delivery = "broker" if none is meant to run'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStatus:
    """What the uplink thread last knew; counts are since the start.

    refused: by the broker. receipts: that were read; unreadable: those that were not. unknown:
    ranges and refusals that name what was never sent. dead_letters: events that a receipt
    refused; last_dead_letters: the latest, as (event's run and seq, reason).
    """

    is_connected: bool = False
    problem: str | None = None
    refused: int = 0
    repeated: int = 0
    receipts: int = 0
    unreadable: int = 0
    unknown: int = 0
    dead_letters: int = 0
    last_dead_letters: tuple[tuple[str, str], ...] = ()
    receipts_problem: str | None = None
    incoming_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Turned:
    """What one turn brought. arrived: rows that may be forgotten. is_new: the connection is a new
    one. messages: for others. backlog_end: rows up to it count as backlog now; is_spare_due: the
    spare outbox is to be read again."""

    arrived: list[int]
    is_new: bool = False
    messages: Sequence[Incoming] = ()
    backlog_end: int = 0
    is_spare_due: bool = False


@dataclass(slots=True)
class _UnderWay:
    """sends: how often it was sent, with the one that it waits for. acknowledged_ns: by the broker;
    None: not yet, on this connection."""

    event: StoredEvent
    sends: int = 1
    acknowledged_ns: int | None = None
    due_ns: int = 0


@dataclass(slots=True)
class _Receipts:
    """What came of them."""

    read: int = 0
    unreadable: int = 0
    unknown: int = 0
    dead_letters: int = 0
    last: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=REFUSALS_TOLD))
    silent_ns: int = 0


class Sender:
    """Owned by one thread; without receipts each event is published once a connection, unless it
    was refused.

    Whatever raises on the way, no event is forgotten: one that was taken stays unsent until its
    publishing has returned.
    """

    def __init__(
        self,
        uplink: Uplink,
        settings: DeliverySettings,
        topics: Topics,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._uplink = uplink
        self._settings = settings
        self._topics = topics
        self._clock = clock
        self._jitter = jitter
        self._connects = uplink.connects
        self._state = DeliveryState()
        self._under_way: dict[int, _UnderWay] = {}
        """All that was taken and has not arrived."""
        self._unsent: deque[int] = deque()
        """Rows to be published; those that are not under way any more are passed over."""
        self._owed: set[int] = set()
        """Rows for which the broker owes an answer; a receipt may have come before it."""
        self._refused: set[int] = set()
        self._refusals = self._refused_count = self._repeated = 0
        self._retry_ns = 0
        self._sent = SentEvents()
        self._receipts = _Receipts()
        self._is_spare_owed = False
        self._turned_ns = clock.monotonic_ns()

    @property
    def _wants_receipts(self) -> bool:
        return self._settings.mode == "receipts"

    def turn(self, timeout_s: float) -> Turned:
        """Do network work; nothing is published in here."""
        if self._refused:
            wait_ns = self._retry_ns - self._clock.monotonic_ns()
            timeout_s = min(timeout_s, max(wait_ns, 0) / 1e9)
        acknowledged = self._uplink.turn(timeout_s)
        refused = self._uplink.refused()
        self._owed.difference_update(acknowledged, refused)
        arrived, messages = self._take_incoming()
        if self._uplink.connects != self._connects:
            self._connects = self._uplink.connects
            if not self._wants_receipts:
                arrived = acknowledged
            self._note_acknowledged(acknowledged)
            self._begin_connection()
            return Turned(arrived, True, messages)
        if self._wants_receipts:
            self._note_acknowledged(acknowledged)
        else:
            arrived = acknowledged
            self._settle(arrived)
        self._keep_refused(refused, is_any_arrived=bool(acknowledged))
        self._repeat_overdue()
        self._watch_silence()
        return self._make_room(arrived, messages)

    def _settle(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._state = self._state.settled(row)
            self._under_way.pop(row, None)
            self._refused.discard(row)

    def _begin_connection(self) -> None:
        """Nothing is under way any more but what the broker has acknowledged: its receipt may
        still come. If it does not, it was lost with the connection, or the broker forgot the
        event: what was sent once is due soon."""
        places = self._settings.window - self._settings.live_places
        kept = sorted(
            row for row, each in self._under_way.items() if each.acknowledged_ns is not None
        )[: places if self._wants_receipts else 0]
        self._under_way = {row: self._under_way[row] for row in kept}
        self._state = replace(self._state, under_way=frozenset(kept))
        soon_ns = self._after_ns(receipt_wait_s(1, self._jitter(), RECEIPT_AFTER_CONNECT_S))
        for each in self._under_way.values():
            if each.sends == 1:
                each.due_ns = min(each.due_ns, soon_ns)
        self._unsent.clear()
        self._owed.clear()
        self._refused.clear()
        self._refusals = 0

    # --- the broker's answers -------------------------------------------------------------------

    def _note_acknowledged(self, rows: Sequence[int]) -> None:
        first_s = self._settings.receipt_first_s
        for row in rows:
            each = self._under_way.get(row)
            if each is not None:
                each.acknowledged_ns = self._clock.monotonic_ns()
                each.due_ns = self._after_ns(receipt_wait_s(each.sends, self._jitter(), first_s))

    def _after_ns(self, wait_s: float) -> int:
        return self._clock.monotonic_ns() + round(wait_s * 1e9)

    def _keep_refused(self, rows: Sequence[int], is_any_arrived: bool) -> None:
        """Refused events keep their place in the window: so a broker that refuses everything is
        asked again for the same few, and one that refuses a few still gets the rest."""
        rows = [row for row in rows if row in self._under_way]
        if rows:
            self._refusals = 1 if is_any_arrived else self._refusals + 1
            self._refused.update(rows)
            self._refused_count += len(rows)
            wait_s = backoff_s(self._refusals, self._jitter())
            self._retry_ns = self._after_ns(wait_s)
        if self._refused and self._clock.monotonic_ns() >= self._retry_ns:
            again, self._refused = sorted(self._refused), set()
            self._unsent.extend(again)

    def _repeat_overdue(self) -> None:
        now_ns = self._clock.monotonic_ns()
        for row, each in self._under_way.items():
            is_due = each.acknowledged_ns is not None and now_ns >= each.due_ns
            if is_due and self._wants_receipts and self._uplink.is_connected:
                each.acknowledged_ns = None
                each.sends += 1
                self._repeated += 1
                self._unsent.append(row)

    def _make_room(self, arrived: list[int], messages: Sequence[Incoming]) -> Turned:
        if not self._wants_receipts:
            return Turned(arrived, messages=messages)
        before_ns = self._clock.monotonic_ns() - round(self._settings.receipt_first_s * 1e9)
        overdue = frozenset(
            row
            for row, each in self._under_way.items()
            if row in self._refused
            or (each.acknowledged_ns is not None and each.acknowledged_ns <= before_ns)
            or (each.acknowledged_ns is not None and each.sends > 1)
        )
        yielded = yield_places(self._state, self._window(), overdue)
        has_moved = yielded.state.live_from > self._state.live_from
        self._state = yielded.state
        for row in yielded.dropped:
            del self._under_way[row]
            self._refused.discard(row)
        # A spare has no backlog: what it gave up is read again once receipts come.
        is_spare_due = self._is_spare_owed and bool(arrived)
        self._is_spare_owed = not is_spare_due and (
            self._is_spare_owed or any(row >= SPARE_FIRST_ROW for row in yielded.dropped)
        )
        return Turned(
            arrived,
            messages=messages,
            backlog_end=yielded.state.live_from - 1 if has_moved else 0,
            is_spare_due=is_spare_due,
        )

    # --- receipts -------------------------------------------------------------------------------

    def _take_incoming(self) -> tuple[list[int], list[Incoming]]:
        """The rows that receipts settle, and the messages that are for others."""
        rows: list[int] = []
        others = []
        for message in self._uplink.incoming():
            if message.topic != self._topics.receipts:
                others.append(message)
            elif self._wants_receipts:
                rows += self._read_receipt(message.payload)
        return rows, others

    def _read_receipt(self, payload: bytes) -> list[int]:
        counts = self._receipts
        try:
            receipt = decode_receipt(payload)
        except WireError as exc:
            counts.unreadable += 1
            log.warning("receipt not read unreadable=%d: %s", counts.unreadable, exc)
            return []
        rows = self._take_receipt(receipt)
        counts.read += 1
        if rows:
            counts.silent_ns = 0
        self._settle(rows)
        return rows

    def _take_receipt(self, receipt: Receipt) -> list[int]:
        counts = self._receipts
        rows: list[int] = []
        for first, last in receipt.ok:
            taken = self._sent.take(receipt.run, first, last)
            rows += taken.rows
            counts.unknown += not taken.is_known
        for refusal in receipt.refused:
            taken = self._sent.take(receipt.run, refusal.seq, refusal.seq)
            counts.unknown += not taken.is_known
            if taken.rows:
                rows += taken.rows
                counts.dead_letters += 1
                reason = refusal.reason[:REASON_CHARS]
                counts.last.append((f"{receipt.run}:{refusal.seq}", reason))
                log.error(
                    "event refused beyond the broker, kept there as a dead letter run=%s seq=%d "
                    "reason=%r",
                    receipt.run,
                    refusal.seq,
                    reason,
                )
        return rows

    def _watch_silence(self) -> None:
        now_ns = self._clock.monotonic_ns()
        step_ns = min(now_ns - self._turned_ns, STEP_AT_MOST_NS)
        self._turned_ns = now_ns
        if not self._under_way:
            self._receipts.silent_ns = 0
        elif self._uplink.is_connected:
            self._receipts.silent_ns += step_ns

    # --- out ------------------------------------------------------------------------------------

    def take(self, events: Sequence[StoredEvent], live_from: int) -> None:
        """Events to `send`, in this order. live_from: where new events begin, as the outbox
        thread knows it."""
        if events:
            before = self._state.live_from
            # Before the disk is there, nobody knows where its new events will begin.
            known = 0 if before >= SPARE_FIRST_ROW else before
            self._state = replace(self._state, live_from=max(live_from, known))
        for event in events:
            if event.row in self._under_way:
                continue  # read again, because others before it had to be
            self._under_way[event.row] = _UnderWay(event)
            self._state = self._state.sent(event.row)
            self._unsent.append(event.row)

    def send(self) -> None:
        """Publish what the broker has room for. Without a connection all of it is read again
        after the next connect."""
        while self._unsent and self._uplink.is_connected:
            row = self._unsent[0]
            each = self._under_way.get(row)
            if each is not None:
                if len(self._owed) >= self._uplink.receive_maximum:
                    return
                self._uplink.publish(each.event)
                self._owed.add(row)
            self._unsent.popleft()
            if each is not None and self._wants_receipts:
                self._sent.add(each.event.id, row)

    def places(self) -> Room:
        if not self._uplink.is_connected:
            return Room(backlog=0, live=0)
        return room(self._state, self._window())

    def _window(self) -> DeliverySettings:
        """With receipts an event stays under way long after the broker has acknowledged it: how
        many the broker takes at once says nothing of the window, and `send` keeps to it."""
        if self._wants_receipts:
            return self._settings
        window = min(self._settings.window, self._uplink.receive_maximum)
        return replace(self._settings, window=window)

    def status(self) -> SendStatus:
        counts = self._receipts
        is_silent = self._wants_receipts and counts.silent_ns >= SILENT_NS
        return SendStatus(
            is_connected=self._uplink.is_connected,
            problem=self._uplink.problem,
            refused=self._refused_count,
            repeated=self._repeated,
            receipts=counts.read,
            unreadable=counts.unreadable,
            unknown=counts.unknown,
            dead_letters=counts.dead_letters,
            last_dead_letters=tuple(counts.last),
            receipts_problem=NO_RECEIPTS if is_silent else None,
            incoming_dropped=self._uplink.incoming_dropped,
        )
