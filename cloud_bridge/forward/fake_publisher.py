"""A Pub/Sub without a network: it behaves like one, and tests decide what goes wrong."""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Event

from cloud_bridge.errors import BlockedError, CloudError, RejectedError
from cloud_bridge.ports import OutMessage

BODY_BYTES = 10 * 1000 * 1000


class FakePublisher:
    """Matches `ports.Publisher`."""

    def __init__(self, subscriptions: dict[str, int] | None = None) -> None:
        """subscriptions: how many each topic has; other topics are not there."""
        self._changed = Condition()
        self._subscriptions = subscriptions or {}
        self.stored: dict[str, list[OutMessage]] = {topic: [] for topic in self._subscriptions}
        """What subscriptions hold: nothing of a topic without any."""
        self.calls = 0
        self.errors: deque[CloudError | None] = deque()
        """Of the next calls; None lets one pass."""
        self.answers_lost = 0
        """So many next calls store everything, and then raise the next error."""
        self.poison: Callable[[OutMessage], bool] = lambda message: False
        self.gate = Event()
        """Calls wait for it."""
        self.gate.set()

    def publish(self, topic: str, messages: Sequence[OutMessage]) -> None:
        self.gate.wait()
        with self._changed:
            self.calls += 1
            self._changed.notify_all()
            error = self.errors.popleft() if self.errors else None
            if error is not None and not self.answers_lost:
                raise error
            self._count_of(topic)
            if not 1 <= len(messages) <= 1000:
                raise RejectedError(f"{len(messages)} messages: want 1 to 1000")
            if any(self.poison(message) for message in messages):
                raise RejectedError("a message is poison")
            if self._subscriptions[topic]:
                self.stored[topic].extend(messages)
            if error is not None:
                self.answers_lost -= 1
                raise error

    def subscriptions(self, topic: str) -> int:
        with self._changed:
            error = self.errors.popleft() if self.errors else None
            if error is not None:
                raise error
            return min(self._count_of(topic), 1)

    def close(self) -> None: ...

    # --- the test's side ----------------------------------------------------------------------

    def subscribe(self, topic: str, count: int = 1) -> None:
        with self._changed:
            self._subscriptions[topic] = count
            self.stored.setdefault(topic, [])

    def bodies(self, topic: str) -> list[bytes]:
        with self._changed:
            return [message.body for message in self.stored.get(topic, [])]

    def _count_of(self, topic: str) -> int:
        if topic not in self._subscriptions:
            raise BlockedError(f"{topic}: there is no such topic")
        return self._subscriptions[topic]
