"""The loop of the bridge: events in, parcels to Pub/Sub, acknowledgements and receipts back.

One thread owns all of it. Nothing is acknowledged before Pub/Sub has confirmed it or its dead
letter is on disk; acknowledgements go in the order of arrival, receipts as soon as they may.
"""

import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from cloud_bridge.forward.outcomes import Dropped, KeepJob, Kept, Outcome, Published
from cloud_bridge.forward.parcel import Ledger, Parcel
from cloud_bridge.forward.reading import STATE_KINDS, Reader, Reading, shown
from cloud_bridge.forward.receipts import ReceiptBook
from cloud_bridge.forward.states import StateSlots
from cloud_bridge.ports import Arrival, Clock, Letter, Link, Reporter
from device.wire.errors import WireError
from device.wire.events import time_text

log = logging.getLogger(__name__)

READ_AT_MOST = 400
"""Messages of one turn: the acknowledgements of earlier ones do not wait longer."""

IDLE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """held_messages, held_bytes: taken from the broker and not yet done with; above them nothing
    is read. batch_*: of one parcel; batch_s: how long it is gathered."""

    held_messages: int
    held_bytes: int
    batch_messages: int
    batch_bytes: int
    batch_s: float


class Forwarding:
    """`turn` belongs to one thread; `tell` may be called from any."""

    def __init__(
        self,
        link: Link,
        reader: Reader,
        receipts: ReceiptBook,
        states: StateSlots,
        bounds: Bounds,
        clock: Clock,
        reporter: Reporter,
    ) -> None:
        self._link = link
        self._reader = reader
        self._receipts = receipts
        self._states = states
        self._bounds = bounds
        self._clock = clock
        self._reporter = reporter
        self.to_publish: SimpleQueue[Parcel] = SimpleQueue()
        self.to_keep: SimpleQueue[KeepJob] = SimpleQueue()
        self._outcomes: deque[Outcome] = deque()
        self._ledger = Ledger()
        self._connection = link.connection
        self._parcel = Parcel(self._connection)
        self._since_ns = 0
        self._held = 0
        self._held_bytes = 0

    # --- from other threads -------------------------------------------------------------------

    def tell(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._link.wake()

    def is_stale(self, parcel: Parcel) -> bool:
        """Its connection is gone, so all of it comes again."""
        return parcel.connection != self._connection

    @property
    def held(self) -> int:
        """Messages that are taken and not yet done with."""
        return self._held

    # --- the loop -----------------------------------------------------------------------------

    def turn(self) -> None:
        arrivals = self._link.turn(self._wait_s(), self._room())
        if self._link.connection != self._connection:
            self._start_over()
        for arrival in arrivals:
            self._take(arrival)
        self.settle()
        if self._parcel.total and self._is_due():
            self._hand_over()
        if self._receipts.due_in_s() == 0.0:
            self.send_receipts()

    def settle(self) -> None:
        """Take what the workers did, and acknowledge what may be."""
        while self._outcomes:
            self._hear(self._outcomes.popleft())
        mids = self._ledger.take_done(self._connection)
        if mids:
            self._link.acknowledge(mids)

    def send_receipts(self) -> None:
        """Now, if there is a connection; else they wait."""
        if not self._link.is_connected:
            return
        for topic, payload in self._receipts.take():
            self._link.send(topic, payload)
            self._reporter.add("receipts")

    def _wait_s(self) -> float:
        if self._outcomes:
            return 0.0
        waits = [IDLE_S]
        if self._parcel.total:
            left_ns = self._since_ns + round(self._bounds.batch_s * 1e9)
            waits.append(max(left_ns - self._clock.monotonic_ns(), 0) / 1e9)
        due_s = self._receipts.due_in_s()
        if due_s is not None and self._link.is_connected:
            waits.append(due_s)
        return min(waits)

    def _room(self) -> int:
        if self._held >= self._bounds.held_messages or self._held_bytes >= self._bounds.held_bytes:
            return 0
        return min(
            self._bounds.held_messages - self._held,
            READ_AT_MOST,
            self._bounds.batch_messages - self._parcel.total,
        )

    def _start_over(self) -> None:
        """A new connection: the broker sends again whatever it has no acknowledgement for."""
        self._connection = self._link.connection
        self._ledger.forget(self._connection)
        self._let_go(self._parcel)
        self._parcel = Parcel(self._connection)
        self._drop_queued()

    def _drop_queued(self) -> None:
        """What nobody has begun yet: it must not take the room of what comes again."""
        with suppress(Empty):
            while True:
                self._hear(Dropped(self.to_publish.get_nowait()))
        with suppress(Empty):
            while True:
                self._hear(Dropped(self.to_keep.get_nowait().parcel))

    def _let_go(self, parcel: Parcel) -> None:
        self._held -= parcel.total
        self._held_bytes -= parcel.size_bytes

    # --- arrivals -----------------------------------------------------------------------------

    def _take(self, arrival: Arrival) -> None:
        parcel = self._parcel
        if not parcel.total:
            self._since_ns = self._clock.monotonic_ns()
        parcel.mids.append(arrival.mid)
        parcel.total += 1
        self._held += 1
        size_bytes = len(arrival.payload)
        parcel.size_bytes += size_bytes
        self._held_bytes += size_bytes
        try:
            self._read(arrival, parcel)
        except WireError as exc:
            self._set_aside(arrival, str(exc))
        except Exception as exc:
            log.exception("bridge failed on a message topic=%s", shown(arrival.topic))
            self._set_aside(arrival, f"the bridge failed on it: {type(exc).__name__}")

    def _read(self, arrival: Arrival, parcel: Parcel) -> None:
        place = self._reader.place(arrival.topic)
        if place.kind in STATE_KINDS:
            self._take_state(arrival)
        else:
            parcel.readings.append(self._reader.event(place, arrival))

    def _take_state(self, arrival: Arrival) -> None:
        """Newest wins, and nothing waits for it: the broker retains it anyway."""
        place = self._reader.place(arrival.topic)
        if not arrival.payload:
            return  # a retained message was taken back
        wall_ns = self._clock.wall_ns()
        try:
            message = self._reader.state(place, arrival, time_text(wall_ns), wall_ns)
        except WireError as exc:
            self._reporter.add("states_refused")
            log.warning("state refused topic=%s: %s", shown(arrival.topic), exc)
            return
        if self._states.put((place.registry, place.device, place.kind), message):
            self._reporter.add("states")
        else:
            self._reporter.add("states_dropped")
            log.warning("state dropped, too much of them waits topic=%s", shown(arrival.topic))

    def _set_aside(self, arrival: Arrival, reason: str) -> None:
        self._parcel.letters.append(self._reader.letter(arrival, reason))

    def _is_due(self) -> bool:
        parcel = self._parcel
        if not parcel.readings:
            return True  # nothing to gather for
        if (
            parcel.total >= self._bounds.batch_messages
            or parcel.size_bytes >= self._bounds.batch_bytes
        ):
            return True
        waited_ns = self._clock.monotonic_ns() - self._since_ns
        return waited_ns >= self._bounds.batch_s * 1e9

    def _hand_over(self) -> None:
        parcel, self._parcel = self._parcel, Parcel(self._connection)
        self._reporter.add("received", len(parcel.readings) + len(parcel.letters))
        self._ledger.add(parcel)
        parcel.jobs = bool(parcel.readings) + bool(parcel.letters)
        if parcel.readings:
            self.to_publish.put(parcel)
        if parcel.letters:
            self.to_keep.put(KeepJob(parcel, parcel.letters))
        if not parcel.jobs:
            self._let_go(parcel)

    # --- outcomes -----------------------------------------------------------------------------

    def _hear(self, outcome: Outcome) -> None:
        parcel = outcome.parcel
        match outcome:
            case Published(_, confirmed, refused):
                self._confirm(confirmed)
                if refused and not self.is_stale(parcel):
                    letters = [_refused(reading, reason) for reading, reason in refused]
                    self.to_keep.put(KeepJob(parcel, letters))
                    return  # one job ends, another begins
            case Kept(_, letters):
                self._reporter.add("dead", len(letters))
                for letter in letters:
                    self._refuse(letter)
            case Dropped():
                pass
        parcel.jobs -= 1
        if parcel.jobs == 0:
            self._let_go(parcel)

    def _confirm(self, readings: list[Reading]) -> None:
        self._reporter.add("confirmed", len(readings))
        runs: dict[tuple[tuple[str, str], str], list[int]] = {}
        for device, run, seq, _, _ in readings:
            seqs = runs.get((device, run))
            if seqs is None:
                runs[device, run] = [seq]
            else:
                seqs.append(seq)
        for ((registry, device_name), run), seqs in runs.items():
            self._receipts.confirm(registry, device_name, run, seqs)

    def _refuse(self, letter: Letter) -> None:
        if letter.registry and letter.device and letter.run and letter.seq:
            self._receipts.refuse(
                letter.registry, letter.device, letter.run, letter.seq, letter.reason
            )


def _refused(reading: Reading, reason: str) -> Letter:
    registry, device = reading.device
    return Letter(
        topic=shown(reading.came.topic),
        payload=reading.came.payload,
        reason=reason,
        registry=registry,
        device=device,
        run=reading.run,
        seq=reading.seq,
    )
