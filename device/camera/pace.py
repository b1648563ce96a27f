"""When the next frame is due, for sources that could give more of them than were asked for."""

NS_PER_S = 1_000_000_000


class FrameRate:
    """Lets through at most so many frames a second, evenly, whatever the source's own rate.

    It keeps to a grid: of 25 frames a second, ten a second are let through and not 8.3.
    """

    def __init__(self, frames_per_s: float) -> None:
        self.interval_ns = max(round(NS_PER_S / frames_per_s), 1)
        # A driver's 10.0 frames a second are sometimes 10.02: those must not become 5.
        self._slack_ns = self.interval_ns // 10
        self._next_ns: int | None = None

    def admits(self, at_ns: int) -> bool:
        """Whether the frame of this moment is given; moments come in order."""
        if self._next_ns is None:
            self._next_ns = at_ns
        if at_ns < self._next_ns - self._slack_ns:
            return False
        late_ns = at_ns - self._next_ns
        self._next_ns = (at_ns if late_ns >= self.interval_ns else self._next_ns) + self.interval_ns
        return True
