import pytest

from device.camera.fake_camera import FakeCamera
from device.clocks import HandClock
from device.core.images import Rgb
from device.errors import SourceEndedError, TransientError
from tests.clips import scene


def test_it_plays_its_script_step_by_step() -> None:
    clock = HandClock()
    script = [Rgb(scene(0)), None, TransientError("pulled out"), Rgb(scene(1))]
    camera = FakeCamera(clock, script, ends=True, wait=clock.advance)
    began_ns = clock.monotonic_ns()
    first = camera.read(timeout_s=1.0)
    assert camera.read(timeout_s=1.0) is None
    assert clock.monotonic_ns() - began_ns == 1_000_000_000
    with pytest.raises(TransientError, match="pulled out"):
        camera.read(timeout_s=1.0)
    second = camera.read(timeout_s=1.0)
    assert first is not None
    assert second is not None
    assert (first.sequence, second.sequence) == (1, 2)
    with pytest.raises(SourceEndedError):
        camera.read(timeout_s=1.0)


def test_it_makes_a_second_stream_if_told_how() -> None:
    camera = FakeCamera(HandClock(), [Rgb(scene(0))], small=lambda image: Rgb(scene(9)))
    frame = camera.read(timeout_s=0.0)
    assert frame is not None
    assert isinstance(frame.small, Rgb)
    assert (frame.small.pixels == scene(9)).all()


def test_it_counts_how_often_it_was_closed() -> None:
    camera = FakeCamera(HandClock())
    camera.close()
    camera.close()
    assert camera.closes == 2
