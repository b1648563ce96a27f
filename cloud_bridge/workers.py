"""Threads of the bridge: each proves progress, and is started again when a turn raises."""

import logging
import signal
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread

from cloud_bridge.clocks import backoff_s
from cloud_bridge.ports import Clock

log = logging.getLogger(__name__)

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
POLL_S = 0.1
DEATHS_AT_MOST = 5
DEATHS_WITHIN_NS = 60 * 1_000_000_000


class Worker(Thread):
    """Takes turns until `stop`; after `DEATHS_AT_MOST` deaths in a minute it gives up, and `error`
    says why."""

    def __init__(
        self,
        name: str,
        turn: Callable[[], None],
        stop: Event,
        clock: Clock,
        jitter: Callable[[], float],
        deadline_s: float | None = None,
    ) -> None:
        """deadline_s: a turn that takes longer hangs; None: it may take as long as it likes.
        jitter: random, 0 to 1."""
        super().__init__(name=name, daemon=True)
        self._turn = turn
        self._stop_event = stop  # Thread already owns `_stop`
        self._clock = clock
        self._jitter = jitter
        self._deadline_s = deadline_s
        self._last_turn_ns = clock.monotonic_ns()
        self._deaths_ns: deque[int] = deque(maxlen=DEATHS_AT_MOST)
        self.deaths = 0
        self.error: Exception | None = None

    def run(self) -> None:
        while not self._stop_event.is_set():
            self._last_turn_ns = self._clock.monotonic_ns()
            try:
                self._turn()
            except Exception as exc:  # noqa: BLE001 - a thread's top
                if not self._survives(exc):
                    return

    def _survives(self, exc: Exception) -> bool:
        now_ns = self._clock.monotonic_ns()
        self.deaths += 1
        self._deaths_ns.append(now_ns)
        recent = sum(now_ns - each < DEATHS_WITHIN_NS for each in self._deaths_ns)
        if recent >= DEATHS_AT_MOST:
            log.critical("worker gives up name=%s deaths=%d", self.name, recent, exc_info=exc)
            self.error = exc
            return False
        wait_s = backoff_s(recent, self._jitter(), most_s=5.0)
        log.error("worker died, starts again name=%s in_s=%.1f", self.name, wait_s, exc_info=exc)
        self._stop_event.wait(wait_s)
        return True

    def late_s(self) -> float:
        """How long past its deadline the running turn is; 0.0 when it is not."""
        if self._deadline_s is None:
            return 0.0
        turn_s = (self._clock.monotonic_ns() - self._last_turn_ns) / 1e9
        return max(turn_s - self._deadline_s, 0.0)


def supervise(
    workers: Sequence[Worker],
    stop: Event,
    tick: Callable[[], None],
    wait_for_stop: Callable[[float], bool],
) -> bool:
    """Start the workers and return when somebody asks to stop (True), or one gave up or hangs.

    tick: called about once a second. wait_for_stop: waits so many seconds for the wish to stop.
    """
    for worker in workers:
        worker.start()
    try:
        while True:
            if wait_for_stop(1.0) or stop.is_set():
                return True
            tick()
            for worker in workers:
                if worker.error is not None:
                    return False
                if (late_s := worker.late_s()) > 0:
                    log.critical("worker hangs name=%s late_s=%.1f", worker.name, late_s)
                    return False
    finally:
        stop.set()


def stop_signal_within(timeout_s: float) -> bool:
    """Whether a stop signal came; the signals must be blocked in every thread.

    Asked again and again, since `sigtimedwait` of CPython 3.11 says that a signal came when the
    process was stopped (SIGSTOP) and continued beyond its timeout.
    """
    waiter = Event()
    for _ in range(max(round(timeout_s / POLL_S), 1)):
        if signal.sigpending() & STOP_SIGNALS:
            return True
        waiter.wait(POLL_S)
    return False


def join_all(workers: Sequence[Worker], timeout_s: float) -> list[str]:
    """Wait for all to end, `timeout_s` in all at most; the names of those that did not."""
    waiter = Event()
    left = round(timeout_s / 0.02)
    while left > 0 and any(worker.is_alive() for worker in workers):
        waiter.wait(0.02)
        left -= 1
    return [worker.name for worker in workers if worker.is_alive()]
