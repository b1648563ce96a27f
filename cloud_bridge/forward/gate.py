"""Shut while the events topic has no subscription: Pub/Sub confirms, and drops, what is published
to such a topic."""

from collections.abc import Callable
from threading import Condition

from cloud_bridge.errors import BlockedError, TransientError
from cloud_bridge.ports import Publisher, Reporter

PART = "subscriptions"
SHUT_RETRY_S = 10.0


class Gate:
    """Shut until somebody opens it."""

    def __init__(self, is_open: bool = False) -> None:
        self._changed = Condition()
        self._is_open = is_open

    def open(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def shut(self) -> None:
        with self._changed:
            self._is_open = False

    @property
    def is_open(self) -> bool:
        with self._changed:
            return self._is_open

    def wait(self, timeout_s: float) -> bool:
        """Whether it is open, at once or within so long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_open, timeout_s)


class Watching:
    """The turn of the thread that counts the topic's subscriptions, at the start and ever again."""

    def __init__(
        self,
        gate: Gate,
        publisher: Publisher,
        topic: str,
        every_s: float,
        reporter: Reporter,
        pause: Callable[[float], object],
    ) -> None:
        """pause: waits so many seconds, less when the bridge stops."""
        self._gate = gate
        self._publisher = publisher
        self._topic = topic
        self._every_s = every_s
        self._reporter = reporter
        self._pause = pause

    def turn(self) -> None:
        try:
            count = self._publisher.subscriptions(self._topic)
        except TransientError as exc:
            # Nobody knows: what was so a moment ago still holds.
            self._reporter.trouble(PART, f"cannot be counted for now: {exc}")
            self._pause(min(SHUT_RETRY_S, self._every_s))
        except BlockedError as exc:
            self._stay_shut(f"{exc}")
        else:
            if count:
                self._gate.open()
                self._reporter.well(PART)
                self._pause(self._every_s)
            else:
                self._stay_shut(
                    f"{self._topic} has no subscription, and Pub/Sub drops what is published to "
                    "such a topic: nothing is forwarded and no receipts are given; make one, for "
                    "example with lookout-cloud provision"
                )

    def _stay_shut(self, words: str) -> None:
        self._gate.shut()
        self._reporter.trouble(PART, words)
        self._pause(min(SHUT_RETRY_S, self._every_s))
