"""The machine's clocks, one that tests turn by hand, and how long to wait after failures."""

import time


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


def backoff_s(failures: int, jitter: float, least_s: float = 0.2, most_s: float = 3.0) -> float:
    """How long to wait after so many failures in a row; jitter: random, 0 to 1.

    Full jitter under a ceiling that doubles. Source: AWS Architecture Blog, "Exponential Backoff
    And Jitter". The ceiling is low: bridges are few, and a live event shall not wait long after
    the line is back.
    """
    ceiling_s = min(most_s, least_s * 2.0 ** min(failures, 16))
    return least_s + jitter * max(ceiling_s - least_s, 0.0)
