"""The loop that keeps a camera open and its newest frame in a slot of one."""

import logging
from collections.abc import Callable
from threading import Condition, Event
from typing import Literal

from device.core.delivery import backoff_s
from device.core.images import Frame
from device.errors import SourceEndedError, TransientError
from device.ports import Camera, CameraFactory, Clock

log = logging.getLogger(__name__)

CameraState = Literal["on", "opening", "paused", "ended", "failed"]


class Slot:
    """Holds one frame: a newer one replaces it, counted. Any thread."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._frame: Frame | None = None
        self.given = 0
        self.replaced = 0

    def put(self, frame: Frame) -> None:
        with self._condition:
            self.replaced += self._frame is not None
            self.given += 1
            self._frame = frame
            self._condition.notify()

    def take(self, timeout_s: float) -> Frame | None:
        """The frame, which then is the caller's; None when none came in time, or on `wake`."""
        with self._condition:
            if self._frame is None:
                self._condition.wait(timeout_s)
            frame, self._frame = self._frame, None
            return frame

    def clear(self) -> None:
        with self._condition:
            self._frame = None

    def wake(self) -> None:
        """End a waiting `take`."""
        with self._condition:
            self._condition.notify()


class Capture:
    """Owns the camera: opens it, reads it, and opens it again with backoff when it failed."""

    def __init__(
        self,
        open_camera: CameraFactory,
        slot: Slot,
        clock: Clock,
        jitter: Callable[[], float],
        stop: Event,
        stale_s: float,
    ) -> None:
        """jitter: random, 0 to 1. stale_s: a camera that is silent for longer has failed."""
        self._open_camera = open_camera
        self._slot = slot
        self._clock = clock
        self._jitter = jitter
        self._stop = stop
        self._stale_ns = round(stale_s * 1e9)
        self._camera: Camera | None = None
        self._failures = 0
        self._retry_ns = 0
        self._heard_ns = 0
        self._pause = Event()
        self.state: CameraState = "opening"
        self.problem: str | None = None
        """Why there are no frames, for people."""
        self.description = ""

    def pause(self) -> None:
        """Close the camera and leave it closed. Any thread; takes effect with the next turn."""
        self._pause.set()

    def resume(self) -> None:
        self._pause.clear()

    @property
    def is_paused(self) -> bool:
        return self._pause.is_set()

    def turn(self) -> None:
        """Wait for one frame, or for the time to open the camera again."""
        if self._pause.is_set():
            self._close()
            self.state, self.problem, self._retry_ns = "paused", None, 0
            self._stop.wait(0.1)
        elif self.state == "ended":
            self._stop.wait(0.5)
        elif self._camera is None:
            self._open()
        else:
            self._read(self._camera)

    def close(self) -> None:
        self._close()

    def _open(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._retry_ns:
            self._stop.wait(min((self._retry_ns - now_ns) / 1e9, 0.5))
            return
        if self.state != "failed":
            self.state = "opening"
        try:
            self._camera = self._open_camera()
            self.description = self._camera.description
        except TransientError as exc:
            self._fail(str(exc))
            return
        except Exception as exc:  # noqa: BLE001 - one part may fail, by a mistake of its own too
            self._fail(f"a mistake in the camera's part: {type(exc).__name__}: {exc}", exc)
            return
        self._heard_ns = self._clock.monotonic_ns()
        log.info("camera open what=%s", self.description)

    def _read(self, camera: Camera) -> None:
        try:
            frame = camera.read(timeout_s=1.0)
        except TransientError as exc:
            self._fail(str(exc))
            return
        except SourceEndedError as exc:
            log.info("camera ended: %s", exc)
            self._close()
            self.state, self.problem = "ended", str(exc)
            return
        except Exception as exc:  # noqa: BLE001 - as above
            self._fail(f"a mistake in the camera's part: {type(exc).__name__}: {exc}", exc)
            return
        now_ns = self._clock.monotonic_ns()
        if frame is None:
            if now_ns - self._heard_ns >= self._stale_ns:
                silent_s = (now_ns - self._heard_ns) / 1e9
                self._fail(f"no frame for {silent_s:.0f} s from {self.description}")
            return
        self._heard_ns = now_ns
        self._failures = 0
        self.state, self.problem = "on", None
        self._slot.put(frame)

    def _fail(self, problem: str, mistake: Exception | None = None) -> None:
        """mistake: what no camera should raise; its traceback goes to the log."""
        self._close()
        self._failures += 1
        retry_s = backoff_s(self._failures, self._jitter(), most_s=30.0)
        self._retry_ns = self._clock.monotonic_ns() + round(retry_s * 1e9)
        if problem != self.problem:  # once a change of state, not once a try
            log.warning(
                "camera failed: %s; tries again retry_in_s=%.1f", problem, retry_s, exc_info=mistake
            )
        self.state, self.problem = "failed", problem

    def _close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is None:
            return
        self._slot.clear()
        try:
            camera.close()
        except Exception as exc:
            log.warning("camera not closed cleanly: %s", exc, exc_info=exc)
