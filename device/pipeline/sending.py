"""The uplink thread's part of delivery: what is under way, and what may be sent now."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from device.core.delivery import DeliverySettings, DeliveryState, Room, backoff_s, room
from device.ports import Clock, StoredEvent, Uplink


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStatus:
    """What the uplink thread last knew."""

    is_connected: bool = False
    problem: str | None = None
    refused: int = 0


class Sender:
    """Owned by one thread; each event is published once a connection, unless it was refused.

    Whatever raises on the way, no event is forgotten: one that was taken stays unsent until its
    publishing has returned.
    """

    def __init__(
        self, uplink: Uplink, settings: DeliverySettings, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        self._uplink = uplink
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._connects = uplink.connects
        self._state = DeliveryState()
        self._events: dict[int, StoredEvent] = {}
        """All that was taken and has not arrived."""
        self._unsent: deque[StoredEvent] = deque()
        self._refused: set[int] = set()
        self._refusals = self._refused_count = 0
        self._retry_ns = 0

    def turn(self, timeout_s: float) -> tuple[list[int], bool]:
        """Do network work; the rows that have arrived, and whether the connection is a new one,
        so that nothing is under way any more."""
        if self._refused:
            wait_ns = self._retry_ns - self._clock.monotonic_ns()
            timeout_s = min(timeout_s, max(wait_ns, 0) / 1e9)
        arrived = self._uplink.turn(timeout_s)
        refused = self._uplink.refused()
        is_new = self._uplink.connects != self._connects
        if is_new:
            self._connects = self._uplink.connects
            self._state = DeliveryState()
            self._events.clear()
            self._unsent.clear()
            self._refused.clear()
            self._refusals = 0
            return arrived, True
        for row in arrived:
            self._state = self._state.settled(row)
            self._events.pop(row, None)
        self._keep_refused(refused, is_any_arrived=bool(arrived))
        return arrived, False

    def _keep_refused(self, rows: Sequence[int], is_any_arrived: bool) -> None:
        """Refused events keep their place in the window: so a broker that refuses everything is
        asked again for the same few, and one that refuses a few still gets the rest."""
        rows = [row for row in rows if row in self._events]
        if rows:
            self._refusals = 1 if is_any_arrived else self._refusals + 1
            self._refused.update(rows)
            self._refused_count += len(rows)
            wait_s = backoff_s(self._refusals, self._jitter())
            self._retry_ns = self._clock.monotonic_ns() + round(wait_s * 1e9)
        if self._refused and self._clock.monotonic_ns() >= self._retry_ns:
            again, self._refused = sorted(self._refused), set()
            self._unsent.extend(self._events[row] for row in again)

    def take(self, events: Sequence[StoredEvent], live_from: int) -> None:
        """Events to `send`, in this order."""
        if events:
            self._state = replace(self._state, live_from=live_from)
        for event in events:
            self._events[event.row] = event
            self._state = self._state.sent(event.row)
        self._unsent.extend(events)

    def send(self) -> None:
        """Publish what the broker has room for. Without a connection all of it is read again
        after the next connect."""
        while self._unsent and self._uplink.is_connected:
            answerable = len(self._events) - len(self._unsent) - len(self._refused)
            if answerable >= self._uplink.receive_maximum:
                return
            self._uplink.publish(self._unsent[0])
            self._unsent.popleft()

    def places(self) -> Room:
        if not self._uplink.is_connected:
            return Room(backlog=0, live=0)
        window = min(self._settings.window, self._uplink.receive_maximum)
        return room(self._state, replace(self._settings, window=window))

    def status(self) -> SendStatus:
        return SendStatus(
            is_connected=self._uplink.is_connected,
            problem=self._uplink.problem,
            refused=self._refused_count,
        )
