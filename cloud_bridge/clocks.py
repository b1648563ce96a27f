"""The machine's clocks, one that tests turn by hand, and how long to wait after failures."""

import time
from dataclasses import dataclass


class SystemClock:
    """Matches `ports.Clock`."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


class HandClock:
    """Matches `ports.Clock`; stands still until somebody moves it."""

    def __init__(self, wall_ns: int = 1_764_000_000_000_000_000) -> None:
        self._mono_ns = 1_000_000_000
        self._wall_ns = wall_ns

    def monotonic_ns(self) -> int:
        return self._mono_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def advance(self, seconds: float) -> None:
        self._mono_ns += round(seconds * 1e9)
        self._wall_ns += round(seconds * 1e9)

    def set_wall(self, wall_ns: int) -> None:
        """As NTP, or a hand, does."""
        self._wall_ns = wall_ns


def backoff_s(failures: int, jitter: float, least_s: float = 0.2, most_s: float = 3.0) -> float:
    """How long to wait after so many failures in a row; jitter: random, 0 to 1.

    Full jitter under a ceiling that doubles. Source: AWS Architecture Blog, "Exponential Backoff
    And Jitter". The ceiling is low: bridges are few, and a live event shall not wait long after
    the line is back.
    """
    ceiling_s = min(most_s, least_s * 2.0 ** min(failures, 16))
    return least_s + jitter * max(ceiling_s - least_s, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long the bridge waits for Pub/Sub and for its disk; tests that try every error have less
    time.

    retry_s, blocked_s: least and most between two tries of a call; disk_s: of a write.
    library_retry_s: of the library's own retries for hiccups; beyond it the bridge retries, and
    says so. call_s, pull_s: of one try: a line that swallows everything must not hold a parcel
    longer.
    """

    retry_s: tuple[float, float] = (0.2, 2.0)
    blocked_s: tuple[float, float] = (5.0, 60.0)
    disk_s: tuple[float, float] = (0.5, 10.0)
    library_retry_s: float = 5.0
    call_s: float = 10.0
    pull_s: float = 5.0

    def retry(self, failures: int, jitter: float) -> float:
        """After so many failures in a row that may pass by themselves."""
        return backoff_s(failures, jitter, *self.retry_s)

    def blocked(self, failures: int, jitter: float) -> float:
        """After so many that somebody has to mend."""
        return backoff_s(failures, jitter, *self.blocked_s)

    def disk(self, failures: int, jitter: float) -> float:
        """After so many of the disk."""
        return backoff_s(failures, jitter, *self.disk_s)


WAITS = Waits()
