"""The times that the service lives by."""

from collections.abc import Callable

from cloud_bridge.local_pubsub.delivery import SECOND_NS


class Clocks:
    """monotonic_ns and wall_ns as in `time`; served_before_s: of all runs before this one."""

    def __init__(
        self, monotonic_ns: Callable[[], int], wall_ns: Callable[[], int], served_before_s: float
    ) -> None:
        self.monotonic_ns = monotonic_ns
        self.wall_ns = wall_ns
        self._served_before_s = served_before_s
        self._started_ns = monotonic_ns()

    def served_s(self) -> float:
        """How long the service has run in its life: the clock of retention.

        A wall clock that is set, or was wrong at the start, must not make messages too old.
        """
        return self._served_before_s + (self.monotonic_ns() - self._started_ns) / SECOND_NS
