"""The machine's clocks behind the `Clock` port, and one that tests turn by hand."""

import time
from datetime import UTC, datetime

YEAR_OF_SENSE = 2025
"""Before it was made, a box cannot be: an earlier wall clock has not been set yet."""


class SystemClock:
    """The real thing."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    def minute_of_day(self) -> int | None:
        now = datetime.now(UTC).astimezone()
        return now.hour * 60 + now.minute if now.year >= YEAR_OF_SENSE else None


class HandClock:
    """Stands still until somebody moves it; wall clock and monotonic clock move apart too."""

    def __init__(self, wall_ns: int = 1_764_000_000_000_000_000) -> None:
        self._mono_ns = 1_000_000_000
        self._wall_ns = wall_ns
        self.minute: int | None = 12 * 60

    def monotonic_ns(self) -> int:
        return self._mono_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def minute_of_day(self) -> int | None:
        return self.minute

    def advance(self, seconds: float) -> None:
        """Both clocks, as time does."""
        self._mono_ns += round(seconds * 1e9)
        self._wall_ns += round(seconds * 1e9)

    def set_wall(self, wall_ns: int) -> None:
        """As NTP, or a hand, does."""
        self._wall_ns = wall_ns
