"""A camera that plays a script: for the tests of whoever reads cameras."""

from collections import deque
from collections.abc import Callable, Iterable
from threading import Condition
from typing import TypeAlias

from device.core.images import Frame, Image
from device.errors import SourceEndedError, TransientError
from device.ports import Clock

Step: TypeAlias = Image | Exception | None
"""A picture to give; an error to raise; None: one read that gives nothing."""


class FakeCamera:
    """Gives one step of its script at each read; after the last it is silent, or ends if told to.

    `give` adds steps from any thread, also while a `read` waits.
    """

    def __init__(
        self,
        clock: Clock,
        script: Iterable[Step] = (),
        *,
        small: Callable[[Image], Image] | None = None,
        ends: bool = False,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """small: makes the second stream from the first. ends: SourceEndedError after the last
        step. wait: lets a silent read's time pass, such as `HandClock.advance`; by default real
        time, which `give` cuts short."""
        self._clock = clock
        self._steps: deque[Step] = deque(script)
        self._small = small
        self._ends = ends
        self._wait = wait
        self._changed = Condition()
        self._sequence = 0
        self.is_closed = False
        self.closes = 0
        self.close_error: Exception | None = None
        """What `close` raises, against its contract."""

    @property
    def description(self) -> str:
        return "a scripted camera"

    def give(self, *steps: Step) -> None:
        with self._changed:
            self._steps.extend(steps)
            self._changed.notify()

    def drop_rest(self) -> None:
        """Forget the steps that are left."""
        with self._changed:
            self._steps.clear()

    def read(self, timeout_s: float) -> Frame | None:
        with self._changed:
            if self.is_closed:
                raise TransientError("the scripted camera was closed; open it again")
            if not self._steps:
                if self._ends:
                    raise SourceEndedError("the script came to its end")
                if self._wait is None:
                    self._changed.wait(timeout_s)
            step = self._steps.popleft() if self._steps else None
        if isinstance(step, Exception):
            raise step
        if step is None:
            if self._wait is not None:
                self._wait(timeout_s)
            return None
        self._sequence += 1
        small = None if self._small is None else self._small(step)
        return Frame(
            sequence=self._sequence,
            captured_ns=self._clock.monotonic_ns(),
            main=step,
            small=small,
        )

    def close(self) -> None:
        self.is_closed = True
        self.closes += 1
        if self.close_error is not None:
            raise self.close_error
