from importlib.util import find_spec

import numpy as np
import pytest

from device.camera.fake_picamera2 import (
    REC709,
    SMPTE170M,
    SYCC,
    FakeColorSpace,
    FakeSensor,
    FakeTransform,
)
from device.camera.pi_camera import PiCamera, load_library
from device.clocks import HandClock
from device.config import CameraConfig
from device.core.images import Frame, Yuv420
from device.errors import TransientError
from tests.clips import yuv_image

MAIN, SMALL = (120, 180), (224 // 2, 224 // 2)
SLEPT_NS = 3_600_000_000_000
"""How far the boot-time clock is ahead: the time that the machine was suspended."""


class Pi:
    """A sensor, a camera on it, and the two clocks."""

    def __init__(
        self,
        model_size: tuple[int, int] | None = SMALL,
        colour_space: FakeColorSpace = REC709,
        **settings: object,
    ) -> None:
        self.clock = HandClock()
        self.sensor = FakeSensor(colour_space)
        values = {"height_px": MAIN[0], "width_px": MAIN[1], **settings}
        config = CameraConfig.model_validate(values)
        self.camera = PiCamera(
            config, self.clock, model_size, self.sensor.library, self.boottime_ns
        )

    def boottime_ns(self) -> int:
        return self.clock.monotonic_ns() + SLEPT_NS

    def expose(self, step: int, small: tuple[int, int] | None = SMALL) -> None:
        images = [
            None if size is None else yuv_image(step, size, is_full=False, is_bt709=True)
            for size in (MAIN, small)
        ]
        assert images[0] is not None
        self.sensor.expose(self.boottime_ns(), images[0], images[1])

    def read(self) -> Frame:
        frame = self.camera.read(timeout_s=0.0)
        assert frame is not None
        return frame


def assert_same(got: object, wanted: Yuv420) -> None:
    assert isinstance(got, Yuv420)
    for plane, other in [(got.y, wanted.y), (got.u, wanted.u), (got.v, wanted.v)]:
        np.testing.assert_array_equal(plane, other)


def test_both_streams_come_without_the_padding_of_their_lines() -> None:
    pi = Pi()
    pi.expose(7)
    frame = pi.read()
    assert_same(frame.main, yuv_image(7, MAIN, is_full=False, is_bt709=True))
    assert_same(frame.small, yuv_image(7, SMALL, is_full=False, is_bt709=True))


def test_the_settings_reach_libcamera() -> None:
    pi = Pi(rotation=180, frames_per_s=8.0)
    asked = pi.sensor.asked
    assert asked["main"] == {"format": "YUV420", "size": (MAIN[1], MAIN[0])}
    assert asked["lores"] == {"format": "YUV420", "size": (SMALL[1], SMALL[0])}
    assert asked["transform"] == FakeTransform(hflip=True, vflip=True)
    assert asked["controls"] == {"FrameDurationLimits": (125_000, 125_000)}
    assert asked["raw"] is None
    assert Pi().sensor.asked["transform"] == FakeTransform()


def test_without_a_model_size_there_is_no_second_stream() -> None:
    pi = Pi(model_size=None)
    pi.expose(0, small=None)
    assert pi.sensor.asked["lores"] is None
    assert pi.read().small is None


def test_a_second_stream_larger_than_the_first_is_not_asked_for() -> None:
    pi = Pi(model_size=(224, 224))
    assert pi.sensor.asked["lores"] is None


def test_an_odd_model_size_is_rounded_up_to_what_the_isp_can() -> None:
    pi = Pi(model_size=(99, 75))
    assert pi.sensor.asked["lores"]["size"] == (76, 100)


@pytest.mark.parametrize(
    ("space", "is_full", "is_bt709"),
    [(SYCC, True, False), (SMPTE170M, False, False), (REC709, False, True)],
)
def test_range_and_matrix_are_those_that_libcamera_chose(
    space: FakeColorSpace, is_full: bool, is_bt709: bool
) -> None:
    pi = Pi(colour_space=space)
    pi.expose(0)
    frame = pi.read()
    for image in (frame.main, frame.small):
        assert isinstance(image, Yuv420)
        assert (image.is_full_range, image.is_bt709) == (is_full, is_bt709)


def test_the_sensors_time_becomes_monotonic_and_of_the_exposures_end() -> None:
    pi = Pi(model_size=None)
    main = yuv_image(0, MAIN, is_full=False, is_bt709=True)
    pi.clock.advance(5.0)
    pi.sensor.expose(pi.boottime_ns() - 50_000_000, main, exposure_us=20_000)
    assert pi.read().captured_ns == pi.clock.monotonic_ns() - 30_000_000


def test_every_request_is_released() -> None:
    pi = Pi()
    for step in range(20):
        pi.expose(step)
        pi.read()
    pi.camera.close()
    assert len(pi.sensor.requests) == 20
    assert all(request.ref_count == 0 for request in pi.sensor.requests)


def test_a_request_is_released_also_when_its_buffer_is_wrong() -> None:
    pi = Pi()
    main = yuv_image(0, MAIN, is_full=False, is_bt709=True)
    pi.sensor.expose(pi.boottime_ns(), main)  # the second stream is missing
    with pytest.raises(TransientError, match="'lores' is not defined"):
        pi.read()
    assert pi.sensor.requests[0].ref_count == 0


def test_a_silent_read_leaves_one_job_and_no_request() -> None:
    pi = Pi()
    assert pi.camera.read(timeout_s=0.0) is None
    assert pi.camera.read(timeout_s=0.0) is None
    pi.expose(1)
    pi.expose(2)
    assert_same(pi.read().main, yuv_image(1, MAIN, is_full=False, is_bt709=True))
    assert_same(pi.read().main, yuv_image(2, MAIN, is_full=False, is_bt709=True))
    pi.camera.close()
    assert all(request.ref_count == 0 for request in pi.sensor.requests)


def test_a_frame_that_came_for_nobody_is_released_when_closing() -> None:
    pi = Pi()
    assert pi.camera.read(timeout_s=0.0) is None
    pi.expose(1)
    pi.camera.close()
    assert [request.ref_count for request in pi.sensor.requests] == [0]
    assert not pi.sensor.is_open


def test_a_camera_that_is_not_there_says_what_to_check() -> None:
    sensor = FakeSensor()
    sensor.is_there = False
    with pytest.raises(TransientError, match=r"Pi camera 0 cannot be opened .* ribbon"):
        PiCamera(CameraConfig(), HandClock(), None, sensor.library)


def test_a_camera_that_is_taken_can_be_opened_once_it_is_free() -> None:
    sensor = FakeSensor()
    first = PiCamera(CameraConfig(), HandClock(), None, sensor.library)
    with pytest.raises(TransientError):
        PiCamera(CameraConfig(), HandClock(), None, sensor.library)
    first.close()
    PiCamera(CameraConfig(), HandClock(), None, sensor.library).close()


def test_a_format_that_was_not_asked_for_is_refused_and_the_camera_freed() -> None:
    sensor = FakeSensor()
    sensor.format = "XBGR8888"
    with pytest.raises(TransientError, match="came as XBGR8888; want YUV420"):
        PiCamera(CameraConfig(), HandClock(), None, sensor.library)
    assert not sensor.is_open


@pytest.mark.skipif(find_spec("libcamera") is not None, reason="this machine has libcamera")
def test_where_the_libraries_are_absent_it_says_what_to_install() -> None:
    with pytest.raises(TransientError, match="sudo apt install python3-picamera2"):
        load_library()
