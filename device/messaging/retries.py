"""When a connection is tried again: soon after short outages, ever later in long ones."""

from collections.abc import Callable

from device.core.delivery import backoff_s, reconnect_within_s

STEADY_NS = 30_000_000_000
"""A connection that stood so long was a good one: the next failure is the first again."""


class Retries:
    """jitter: random, 0 to 1. now_ns, everywhere: of a clock that only goes forward."""

    def __init__(self, jitter: Callable[[], float], now_ns: int) -> None:
        self._jitter = jitter
        self._good_ns = now_ns
        """When a steady connection ended, or all of it began."""
        self._due_ns = 0
        self.failures = 0
        """In a row."""

    def wait_ns(self, now_ns: int) -> int:
        """Until the next try; 0 or less: now."""
        return self._due_ns - now_ns

    def note_end(self, began_ns: int, now_ns: int) -> bool:
        """A connection has ended; whether it had been steady."""
        was_steady = now_ns - began_ns > STEADY_NS
        if was_steady:
            self.failures = 0
            self._good_ns = now_ns
        return was_steady

    def fail(self, now_ns: int) -> float:
        """A try has failed, or a connection ended; how long to wait, in seconds."""
        self.failures += 1
        most_s = reconnect_within_s((now_ns - self._good_ns) / 1e9)
        wait_s = backoff_s(self.failures, self._jitter(), most_s=most_s)
        self._due_ns = now_ns + round(wait_s * 1e9)
        return wait_s
