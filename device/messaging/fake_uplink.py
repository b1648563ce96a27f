"""An uplink without a network: it behaves like one, and tests decide what its broker does."""

from collections.abc import Callable, Sequence
from threading import Condition

from device.ports import INCOMING_AT_MOST, Incoming, StoredEvent
from device.wire.names import RunId


class FakeUplink:
    """Matches `ports.Uplink`. It connects on its first turn unless told that the broker is away.

    The test's side may be called from any thread: `acknowledge`, `refuse`, `drop`, `let_in`.
    """

    def __init__(self, receive_maximum: int = 65535, acknowledges: bool = False) -> None:
        """acknowledges: at once, whatever is published."""
        self.published: list[StoredEvent] = []
        """Everything that reached the broker, repeats too."""
        self.states: list[bytes] = []
        self.runs: list[RunId] = []
        self.is_closed = False
        self._receive_maximum = receive_maximum
        self._acknowledges = acknowledges
        self._changed = Condition()
        self._under_way: dict[int, StoredEvent] = {}
        self._acknowledged: list[int] = []
        self._refused: list[int] = []
        self._state: bytes | None = None
        self._is_away = False
        self._is_connected = False
        self._is_woken = False
        self._connects = 0
        self._refusal: str | None = None
        self._incoming: list[Incoming] = []
        self.incoming_dropped = 0

    # --- the port ---------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @property
    def connects(self) -> int:
        return self._connects

    @property
    def problem(self) -> str | None:
        return self._refusal if self._is_connected else "the fake broker is away"

    @property
    def receive_maximum(self) -> int:
        return self._receive_maximum

    def turn(self, timeout_s: float) -> list[int]:
        with self._changed:
            if not self._is_connected and not self._is_away and not self.is_closed:
                self._is_connected = True
                self._connects += 1
                self._under_way.clear()
                if self._state is not None:
                    self.states.append(self._state)
            elif not self._has_news():
                self._changed.wait(timeout_s)
            self._is_woken = False
            acknowledged, self._acknowledged = self._acknowledged, []
            return acknowledged

    def _has_news(self) -> bool:
        return bool(self._is_woken or self._acknowledged or self._refused or self._incoming)

    def refused(self) -> list[int]:
        with self._changed:
            refused, self._refused = self._refused, []
            return refused

    def incoming(self) -> list[Incoming]:
        with self._changed:
            incoming, self._incoming = self._incoming, []
            return incoming

    def publish(self, event: StoredEvent) -> None:
        with self._changed:
            if not self._is_connected:
                raise AssertionError("publish wants a connection")
            if event.row in self._under_way:
                raise AssertionError(f"row {event.row} is under way already")
            if len(self._under_way) >= self._receive_maximum:
                raise AssertionError(f"the broker takes {self._receive_maximum} at once")
            self.published.append(event)
            self._under_way[event.row] = event
            if self._acknowledges:
                self._settle([event.row], self._acknowledged)
            self._changed.notify_all()

    def set_state(self, payload: bytes) -> None:
        with self._changed:
            self._state = payload
            if self._is_connected:
                self.states.append(payload)

    def set_run(self, run: RunId) -> None:
        with self._changed:
            self.runs.append(run)

    def wake(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.is_closed = True
            self._is_connected = False

    # --- the test's side ----------------------------------------------------------------------

    def acknowledge(self, count: int | None = None) -> int:
        """The broker acknowledges the oldest so many that are under way, or all; how many."""
        with self._changed:
            rows = list(self._under_way)[:count]
            self._settle(rows, self._acknowledged)
            return len(rows)

    def give(self, topic: str, payload: bytes) -> bool:
        """A message comes down; False: nobody is connected, and it is gone."""
        with self._changed:
            if not self._is_connected:
                return False
            if len(self._incoming) >= INCOMING_AT_MOST:
                self.incoming_dropped += 1
            else:
                self._incoming.append(Incoming(topic, payload))
            self._changed.notify_all()
            return True

    def refuse(self, rows: Sequence[int] | None = None) -> int:
        """The broker answers with a failure."""
        with self._changed:
            rows = list(self._under_way) if rows is None else rows
            self._refusal = "the fake broker refuses"
            self._settle(rows, self._refused)
            return len(rows)

    def _settle(self, rows: Sequence[int], answers: list[int]) -> None:
        for row in rows:
            del self._under_way[row]
        answers.extend(rows)
        self._changed.notify_all()

    def drop(self) -> None:
        """The connection goes, and what was under way with it; the broker stays away."""
        with self._changed:
            self._is_away = True
            self._is_connected = False
            self._under_way.clear()
            self._changed.notify_all()

    def let_in(self) -> None:
        """The broker is back."""
        with self._changed:
            self._is_away = False
            self._changed.notify_all()

    def wait_until(self, fact: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        """Wait for a fact about this uplink; whether it came true."""
        with self._changed:
            return self._changed.wait_for(fact, timeout_s)
