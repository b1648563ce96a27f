"""The camera's loop: open, read, fail, wait, open again."""

from threading import Event

import pytest

from device.camera.fake_camera import FakeCamera, Step
from device.clocks import HandClock
from device.core.images import Frame
from device.errors import SourceEndedError, TransientError
from device.pipeline.capture import Capture, Slot
from device.ports import Camera
from tests.device.pipeline.scene import picture

GONE = TransientError("unplugged")


class Rig:
    """A capture over scripted cameras; `None` in `scripts` is a camera that cannot be opened."""

    def __init__(self, *scripts: list[Step] | None, stale_s: float = 5.0) -> None:
        self.clock = HandClock()
        self.slot = Slot()
        self.scripts = list(scripts)
        self.cameras: list[FakeCamera] = []
        self.tries = 0
        self.open_error: Exception | None = None
        stop = Event()
        stop.set()
        self.capture = Capture(self._open, self.slot, self.clock, lambda: 1.0, stop, stale_s)

    def _open(self) -> Camera:
        self.tries += 1
        if self.open_error is not None:
            raise self.open_error
        script = self.scripts.pop(0) if self.scripts else []
        if script is None:
            raise TransientError("no camera there")
        self.cameras.append(FakeCamera(self.clock, script, wait=self.clock.advance))
        return self.cameras[-1]

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.capture.turn()

    @property
    def state(self) -> str:
        return self.capture.state

    def take(self) -> Frame | None:
        return self.slot.take(0.0)


def test_a_frame_comes_into_the_slot() -> None:
    rig = Rig([picture(1)])
    rig.turn(2)
    frame = rig.take()
    assert frame is not None
    assert frame.sequence == 1
    assert rig.state == "on"


def test_a_newer_frame_replaces_an_older_one_counted() -> None:
    rig = Rig([picture(1), picture(2), picture(3)])
    rig.turn(4)
    frame = rig.take()
    assert frame is not None
    assert frame.sequence == 3
    assert (rig.slot.given, rig.slot.replaced) == (3, 2)
    assert rig.take() is None


def test_a_camera_that_cannot_be_opened_is_tried_again_later_each_time() -> None:
    rig = Rig(None, None, None, [picture(1)])
    waits = []
    for _ in range(3):
        rig.turn()
        tries, waited_s = rig.tries, 0.0
        while rig.tries == tries:
            rig.clock.advance(0.1)
            waited_s += 0.1
            rig.turn()
        waits.append(waited_s)
    assert waits[0] < waits[1] < waits[2]
    assert rig.state == "failed"
    rig.turn()
    assert (rig.state, rig.capture.problem) == ("on", None)


def test_a_camera_that_fails_is_closed_and_opened_again() -> None:
    rig = Rig([picture(1), GONE], [picture(2)])
    rig.turn(3)
    assert rig.cameras[0].is_closed
    assert (rig.state, rig.capture.problem) == ("failed", "unplugged")
    assert rig.take() is None, "a frame of a camera that failed is no news"
    rig.clock.advance(10)
    rig.turn(2)
    assert rig.take() is not None


def test_a_camera_that_falls_silent_counts_as_failed() -> None:
    rig = Rig([picture(1)], stale_s=5.0)
    rig.turn(2)
    rig.turn(4)
    assert rig.state == "on"
    rig.turn(2)
    assert rig.state == "failed"
    assert rig.capture.problem is not None
    assert "no frame for" in rig.capture.problem
    assert rig.cameras[0].is_closed


def test_a_clip_that_ended_is_not_opened_again() -> None:
    rig = Rig([picture(1), SourceEndedError("the end")])
    rig.turn(20)
    assert rig.tries == 1
    assert rig.state == "ended"


def test_a_pause_closes_the_camera_and_a_resume_opens_it_at_once() -> None:
    rig = Rig([picture(1), picture(2)], [picture(3)])
    rig.turn(2)
    rig.capture.pause()
    rig.turn(3)
    assert rig.cameras[0].is_closed
    assert rig.state == "paused"
    assert rig.tries == 1
    rig.capture.resume()
    rig.turn(2)
    assert rig.state == "on"


def test_a_mistake_in_a_camera_is_a_failure_like_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig([picture(1), ZeroDivisionError("an odd file")], [picture(2)])
    rig.turn(3)
    assert rig.cameras[0].is_closed
    assert rig.state == "failed"
    assert rig.capture.problem is not None
    assert "ZeroDivisionError: an odd file" in rig.capture.problem
    assert any(each.exc_info for each in caplog.records), "the log has the traceback"
    rig.clock.advance(10)
    rig.turn(2)
    assert rig.state == "on"


def test_a_mistake_while_a_camera_opens_or_closes_is_a_failure_too() -> None:
    rig = Rig([picture(1), GONE])
    rig.open_error = UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "a title in Latin-1")
    rig.turn()
    assert rig.state == "failed"
    rig.open_error = None
    rig.clock.advance(10)
    rig.turn(2)
    assert rig.state == "on"
    rig.cameras[-1].close_error = OSError("the driver hangs on")
    rig.turn()
    assert rig.state == "failed"
