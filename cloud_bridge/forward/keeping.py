"""Dead letters to disk, many in one transaction."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event

from cloud_bridge.clocks import WAITS, Waits
from cloud_bridge.errors import FullError, TransientError
from cloud_bridge.forward.outcomes import KeepJob, Kept, Outcome
from cloud_bridge.ports import DeadLetters, Reporter

PART = "dead letters"
TURN_S = 0.5
JOBS_AT_ONCE = 50


class Keeping:
    """The turn of the thread that owns the store. When there is no room, it stops there: nothing
    more is acknowledged until somebody makes room."""

    def __init__(
        self,
        jobs: SimpleQueue[KeepJob],
        store: DeadLetters,
        tell: Callable[[Outcome], None],
        reporter: Reporter,
        stop: Event,
        jitter: Callable[[], float],
        waits: Waits = WAITS,
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._tell = tell
        self._reporter = reporter
        self._stop = stop
        self._jitter = jitter
        self._waits = waits
        self._held: list[_Held] = []
        self._failures = 0

    @property
    def waiting(self) -> int:
        """Jobs that are taken and not done."""
        return len(self._held)

    def turn(self) -> None:
        if not self._held:
            self._gather()
        if not self._held:
            return
        try:
            self._keep()
        except (FullError, TransientError) as exc:
            self._failures += 1
            self._reporter.trouble(PART, f"{exc}; nothing is acknowledged until there is room")
            self._stop.wait(self._waits.disk(self._failures, self._jitter()))
        else:
            self._failures = 0
            self._reporter.well(PART)

    def _gather(self) -> None:
        try:
            self._held.append(_Held(self._jobs.get(timeout=TURN_S)))
            while len(self._held) < JOBS_AT_ONCE:
                self._held.append(_Held(self._jobs.get_nowait()))
        except Empty:
            return

    def _keep(self) -> None:
        """As many as there is room for, oldest first."""
        try:
            self._store.add_all([letter for each in self._held for letter in each.left])
        except FullError:
            while self._held:
                self._keep_singly(self._held[0])
                self._done(self._held.pop(0))
        else:
            while self._held:
                self._done(self._held.pop(0))

    def _keep_singly(self, held: "_Held") -> None:
        """One by one: those of a whole parcel may never have room at the same time."""
        while held.left:
            self._store.add_all(held.left[:1])
            del held.left[0]

    def _done(self, held: "_Held") -> None:
        self._tell(Kept(held.job.parcel, held.job.letters))


class _Held:
    """A job that was taken. left: its letters that are not on disk yet."""

    __slots__ = ("job", "left")

    def __init__(self, job: KeepJob) -> None:
        self.job = job
        self.left = list(job.letters)
