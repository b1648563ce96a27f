"""A broker and the link to it, without a network: a session that sends again what nobody
acknowledged."""

from collections import deque
from collections.abc import Callable, Container, Sequence
from threading import Condition
from typing import NamedTuple

from cloud_bridge.ports import Arrival


class Sent(NamedTuple):
    """What came down."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class _Everything:
    def __contains__(self, _topic: object) -> bool:
        return True


class FakeLink:
    """Matches `ports.Link`. The test's side may be called from any thread."""

    def __init__(self, window: int = 65535) -> None:
        self._changed = Condition()
        self._window = window
        self._session: deque[tuple[bytes, bytes]] = deque()
        """Not acknowledged, oldest first."""
        self._under_way: deque[int] = deque()
        """mids of the oldest of the session, as sent on this connection."""
        self._next_mid = 1
        self._connection = 0
        self._is_connected = False
        self._is_away = False
        self._is_woken = False
        self.sent: list[Sent] = []
        self.refuses: str | None = None
        """What the broker says to QoS 1 publishes."""
        self.listened: Container[str] = _Everything()
        """Topics that a device has subscribed to."""
        self.acknowledged = 0
        self.is_closed = False

    # --- the port -----------------------------------------------------------------------------

    @property
    def connection(self) -> int:
        return self._connection

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @property
    def problem(self) -> str | None:
        return None if self._is_connected else "the fake broker is away"

    def turn(self, timeout_s: float, room: int) -> list[Arrival]:
        with self._changed:
            if not self._is_connected and not self._is_away:
                self._connection += 1
                self._is_connected = True
                self._under_way.clear()
            elif not self._is_woken and not (room and self._waiting()):
                self._changed.wait(timeout_s)
            self._is_woken = False
            arrivals = []
            for _ in range(min(room, self._waiting())):
                topic, payload = self._session[len(self._under_way)]
                arrivals.append(Arrival(self._next_mid, topic, payload))
                self._under_way.append(self._next_mid)
                self._next_mid = self._next_mid % 65535 + 1
            return arrivals

    def _waiting(self) -> int:
        if not self._is_connected:
            return 0
        return min(len(self._session), self._window) - len(self._under_way)

    def acknowledge(self, mids: Sequence[int]) -> None:
        with self._changed:
            if not self._is_connected:
                return
            for mid in mids:
                if not self._under_way or self._under_way[0] != mid:
                    raise AssertionError(f"mid {mid} acknowledged out of order")
                self._under_way.popleft()
                self._session.popleft()
                self.acknowledged += 1
            self._changed.notify_all()

    def send(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        must_be_heard: bool = False,
        done: Callable[[str | None], None] | None = None,
    ) -> None:
        with self._changed:
            problem = self.problem or (self.refuses if qos else None)
            if problem is None and must_be_heard and topic not in self.listened and qos:
                problem = "nobody listens"
            if problem is None:
                self.sent.append(Sent(topic, payload, qos, retain))
            self._changed.notify_all()
        if done is not None:
            done(problem)

    def wake(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.is_closed = True
            self._is_connected = False

    # --- the test's side ----------------------------------------------------------------------

    def arrive(self, topic: str | bytes, payload: bytes) -> None:
        """A device publishes with QoS 1."""
        with self._changed:
            self._session.append((topic.encode() if isinstance(topic, str) else topic, payload))
            self._changed.notify_all()

    def drop(self) -> None:
        """The connection goes; `let_in` brings another."""
        with self._changed:
            self._is_away = True
            self._is_connected = False
            self._under_way.clear()
            self._changed.notify_all()

    def let_in(self) -> None:
        with self._changed:
            self._is_away = False
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """In the session: not acknowledged."""
        with self._changed:
            return len(self._session)
