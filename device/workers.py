"""Threads, their heartbeats, their end: main supervises, named workers turn."""

import logging
import select
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread

from device.core.delivery import backoff_s
from device.ports import Clock

log = logging.getLogger(__name__)

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
DEATHS_AT_MOST = 5
DEATHS_WITHIN_NS = 60 * 1_000_000_000
TRY_ON_AT_MOST_S = 30.0
"""Between two tries of a part that keeps failing."""


class Worker(Thread):
    """A thread that proves progress; what a turn raises is logged, and the turn taken again.

    After `DEATHS_AT_MOST` deaths within a minute a worker with a deadline gives up: `error` says
    why, and main ends the process, because a part that keeps dying is not mended by another try.
    One without a deadline is a part that the box can do without: it is tried on, more seldom, and
    `problem` says why it is not itself.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], None],
        stop: Event,
        clock: Clock,
        deadline_s: float | None,
        jitter: Callable[[], float],
    ) -> None:
        """deadline_s: a turn that takes longer is late; None: it may take as long as it likes.
        jitter: random, 0 to 1."""
        super().__init__(name=name, daemon=True)
        self._turn = turn
        self._stop_event = stop  # Thread already owns `_stop`
        self._clock = clock
        self._deadline_s = deadline_s
        self._jitter = jitter
        self._last_turn_ns = clock.monotonic_ns()
        self._deaths_ns: deque[int] = deque(maxlen=DEATHS_AT_MOST)
        self._in_a_row = 0
        self.deaths = 0
        self.error: Exception | None = None
        self.problem: str | None = None
        """For people."""

    def run(self) -> None:
        while not self._stop_event.is_set():
            try:
                self._turn()
            except Exception as exc:  # noqa: BLE001 - a thread's top
                if not self._survives(exc):
                    return
            else:
                self._recover()
            self._last_turn_ns = self._clock.monotonic_ns()

    def _survives(self, exc: Exception) -> bool:
        now_ns = self._clock.monotonic_ns()
        self.deaths += 1
        if self._deadline_s is None:
            self._try_on(exc, now_ns)
            return True
        self._deaths_ns.append(now_ns)
        recent = sum(now_ns - each < DEATHS_WITHIN_NS for each in self._deaths_ns)
        if recent >= DEATHS_AT_MOST:
            log.critical("worker gives up name=%s deaths=%d", self.name, self.deaths, exc_info=exc)
            self.error = exc
            return False
        wait_s = backoff_s(recent, self._jitter(), least_s=0.1, most_s=5.0)
        log.error("worker died, starts again name=%s in_s=%.1f", self.name, wait_s, exc_info=exc)
        self._stop_event.wait(wait_s)
        return True

    def _try_on(self, exc: Exception, now_ns: int) -> None:
        """No end, only longer waits; the log has each of the first tracebacks."""
        self._in_a_row += 1
        self._deaths_ns.append(now_ns)
        wait_s = backoff_s(self._in_a_row, self._jitter(), least_s=0.1, most_s=TRY_ON_AT_MOST_S)
        if self._in_a_row <= DEATHS_AT_MOST:
            log.error(
                "worker died, starts again name=%s in_s=%.1f", self.name, wait_s, exc_info=exc
            )
        if self._in_a_row >= DEATHS_AT_MOST:
            if self.problem is None:
                log.critical("worker keeps dying, is tried on name=%s", self.name)
            self.problem = f"keeps failing: {type(exc).__name__}: {exc}; the log has the traceback"
        self._stop_event.wait(wait_s)

    def _recover(self) -> None:
        """A turn went well; so it does now and then in a part that keeps failing."""
        if not self._in_a_row:
            return
        if self._clock.monotonic_ns() - self._deaths_ns[-1] >= DEATHS_WITHIN_NS:
            self._in_a_row = 0
            if self.problem is not None:
                log.info("worker works again name=%s", self.name)
            self.problem = None

    def late_s(self) -> float:
        """How long past its deadline the running turn is; 0.0 when it is not."""
        if self._deadline_s is None:
            return 0.0
        turn_s = (self._clock.monotonic_ns() - self._last_turn_ns) / 1e9
        return max(turn_s - self._deadline_s, 0.0)


class StopSignals:
    """Hears SIGINT, SIGTERM and SIGHUP for the main thread, whichever thread the kernel gives
    them to.

    Blocking them would not do: numpy's and the runtimes' own threads are there before anybody
    could, and a signal that one of them may take ends the process at once. Main thread only.
    """

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._heard: int | None = None
        self._is_reload_asked = False
        self._wakeup_before = signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        self._before = {
            each: signal.signal(each, self._note) for each in (*STOP_SIGNALS, signal.SIGHUP)
        }

    def wait(self, timeout_s: float) -> int | None:
        """The stop signal's number once one came, now or earlier; None when none did in time."""
        if self._heard is None and select.select([self._near], [], [], timeout_s)[0]:
            with suppress(BlockingIOError):
                self._near.recv(64)
        return self._heard

    def take_reload(self) -> bool:
        """Whether SIGHUP came since the last call."""
        asked, self._is_reload_asked = self._is_reload_asked, False
        return asked

    def close(self) -> None:
        """Everything as it was before."""
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._near.close()
        self._far.close()

    def _note(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._is_reload_asked = True
        else:
            self._heard = number


def supervise(
    workers: Sequence[Worker],
    stop: Event,
    tick: Callable[[], None],
    wait_for_stop: Callable[[float], int | None],
) -> bool:
    """Start the workers and return when somebody asks to stop, or a worker died or hangs.

    tick: called about once a second; a mistake in it ends the box as a worker's does.
    wait_for_stop: `StopSignals.wait`. Returns whether the end was asked for. `stop` is set, also
    when this raises; the caller joins (`join_all`), and only then closes.
    """
    try:
        for worker in workers:
            worker.start()
        while True:
            if wait_for_stop(1.0) is not None or stop.is_set():
                return True
            if not _goes_well(tick):
                return False
            for worker in workers:
                if worker.error is not None:
                    return False
                if (late_s := worker.late_s()) > 0:
                    log.critical("worker hangs name=%s late_s=%.1f", worker.name, late_s)
                    return False
    finally:
        stop.set()


def _goes_well(tick: Callable[[], None]) -> bool:
    try:
        tick()
    except Exception as exc:
        log.critical("main's own work failed", exc_info=exc)
        return False
    return True


def run_within(name: str, step: Callable[[], None], timeout_s: float) -> bool:
    """Do `step` on a thread that may be left behind; whether it came to its end in time. What it
    raises is logged."""

    def attempt() -> None:
        try:
            step()
        except Exception as exc:
            log.error("not ended cleanly name=%s", name, exc_info=exc)

    thread = Thread(target=attempt, name=f"end-{name}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        log.critical("does not come to its end name=%s", name)
    return not thread.is_alive()


def join_all(workers: Sequence[Worker], timeout_s: float) -> list[str]:
    """Wait for all to end, `timeout_s` in all at most; the names of those that did not."""
    waiter = Event()
    left = round(timeout_s / 0.02)
    while left > 0 and any(worker.is_alive() for worker in workers):
        waiter.wait(0.02)
        left -= 1
    return [worker.name for worker in workers if worker.is_alive()]
