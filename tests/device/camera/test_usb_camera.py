import errno
from inspect import signature

import linuxpy.video.device as linuxpy_video
import numpy as np
import pytest
from linuxpy.video import raw

from device.camera.fake_v4l2 import FakeDevice, FakeReader, FakeV4l2, FakeWebcam
from device.camera.usb_camera import UsbCamera
from device.clocks import HandClock
from device.config import CameraConfig
from device.core.images import Frame, Yuv420
from device.errors import TransientError
from tests.clips import COLOUR, HEIGHT_PX, WIDTH_PX, jpeg_of, yuv_of, yuyv_of

FLAGS = linuxpy_video.BufferFlag


def open_usb(webcam: FakeWebcam, clock: HandClock, **settings: object) -> UsbCamera:
    config = CameraConfig.model_validate({"source": "usb", "frames_per_s": 100.0, **settings})
    return UsbCamera(config, clock, FakeV4l2(webcam))


def image_of(frame: Frame | None) -> Yuv420:
    assert frame is not None
    assert isinstance(frame.main, Yuv420)
    return frame.main


def colour_of(image: Yuv420) -> list[int]:
    return [int(image.y[100, 100]), int(image.u[50, 50]), int(image.v[50, 50])]


def test_jpeg_is_preferred_and_arrives_in_full_range() -> None:
    clock, webcam = HandClock(), FakeWebcam()
    camera = open_usb(webcam, clock)
    webcam.deliver(jpeg_of(3), clock.monotonic_ns())
    image = image_of(camera.read(timeout_s=0.0))
    assert webcam.asked == [(1280, 720, "MJPG")]
    assert image.size == (HEIGHT_PX, WIDTH_PX)
    assert image.is_full_range
    assert not image.is_bt709
    np.testing.assert_allclose(colour_of(image), yuv_of(COLOUR, True, False), atol=3)


@pytest.mark.parametrize("stride", [None, 2 * WIDTH_PX + 64])
def test_yuyv_is_taken_apart_whatever_its_stride(stride: int | None) -> None:
    clock, webcam = HandClock(), FakeWebcam(formats=["YUYV"], stride=stride)
    camera = open_usb(webcam, clock)
    webcam.deliver(yuyv_of(3, stride), clock.monotonic_ns())
    image = image_of(camera.read(timeout_s=0.0))
    assert webcam.asked == [(1280, 720, "YUYV")]
    assert image.size == (HEIGHT_PX, WIDTH_PX)
    assert not image.is_full_range
    np.testing.assert_allclose(colour_of(image), yuv_of(COLOUR, False, False), atol=1)
    assert image.y[20, 12] == 235
    assert image.y[20, 11] < 200


def test_the_driver_says_what_its_yuyv_means() -> None:
    webcam = FakeWebcam(formats=["YUYV"])
    webcam.quantization, webcam.ycbcr_enc = 1, 2
    clock = HandClock()
    camera = open_usb(webcam, clock)
    webcam.deliver(yuyv_of(0), clock.monotonic_ns())
    image = image_of(camera.read(timeout_s=0.0))
    assert image.is_full_range
    assert image.is_bt709


def test_a_camera_with_other_formats_only_is_named_with_them() -> None:
    with pytest.raises(TransientError, match="it gives H264; want MJPEG or JPEG or YUYV"):
        open_usb(FakeWebcam(formats=["H264"]), HandClock())


def test_the_drivers_monotonic_stamp_is_the_frames_time() -> None:
    clock, webcam = HandClock(), FakeWebcam()
    camera = open_usb(webcam, clock)
    clock.advance(1.0)
    webcam.deliver(jpeg_of(0), clock.monotonic_ns() - 30_000_000)
    frame = camera.read(timeout_s=0.0)
    assert frame is not None
    assert frame.captured_ns == clock.monotonic_ns() - 30_000_000


@pytest.mark.parametrize("flags", [FLAGS.TIMESTAMP_UNKNOWN, FLAGS.TIMESTAMP_COPY])
def test_a_stamp_of_another_clock_is_not_believed(flags: int) -> None:
    clock, webcam = HandClock(), FakeWebcam()
    camera = open_usb(webcam, clock)
    webcam.deliver(jpeg_of(0), 1_764_000_000_000_000_000, flags)
    frame = camera.read(timeout_s=0.0)
    assert frame is not None
    assert frame.captured_ns == clock.monotonic_ns()


def test_a_stamp_from_the_future_is_now() -> None:
    clock, webcam = HandClock(), FakeWebcam()
    camera = open_usb(webcam, clock)
    webcam.deliver(jpeg_of(0), clock.monotonic_ns() + 5_000_000)
    frame = camera.read(timeout_s=0.0)
    assert frame is not None
    assert frame.captured_ns == clock.monotonic_ns()


def test_of_several_that_wait_the_newest_is_given() -> None:
    clock, webcam = HandClock(), FakeWebcam()
    camera = open_usb(webcam, clock)
    for _ in range(3):
        clock.advance(0.03)
        webcam.deliver(jpeg_of(0), clock.monotonic_ns())
    frame = camera.read(timeout_s=0.0)
    assert frame is not None
    assert frame.captured_ns == clock.monotonic_ns()
    assert frame.sequence == 3
    assert camera.read(timeout_s=0.0) is None


def test_frames_that_lay_in_the_driver_are_not_taken_for_new() -> None:
    clock, webcam = HandClock(), FakeWebcam()
    camera = open_usb(webcam, clock)
    for _ in range(4):
        webcam.deliver(jpeg_of(0), clock.monotonic_ns())
    clock.advance(20.0)
    assert camera.read(timeout_s=0.0) is None
    webcam.deliver(jpeg_of(0), clock.monotonic_ns())
    assert camera.read(timeout_s=0.0) is not None


def test_a_damaged_picture_is_passed_over() -> None:
    clock, webcam = HandClock(), FakeWebcam()
    camera = open_usb(webcam, clock)
    for data, flags in [
        (b"", FLAGS.TIMESTAMP_MONOTONIC),
        (b"\xff\xd8 no more of it", FLAGS.TIMESTAMP_MONOTONIC),
        (jpeg_of(0), FLAGS.TIMESTAMP_MONOTONIC | FLAGS.ERROR),
    ]:
        webcam.deliver(data, clock.monotonic_ns(), flags)
        assert camera.read(timeout_s=0.0) is None
        clock.advance(0.03)
    webcam.deliver(jpeg_of(0), clock.monotonic_ns())
    assert camera.read(timeout_s=0.0) is not None


def test_half_a_yuyv_picture_is_passed_over() -> None:
    clock, webcam = HandClock(), FakeWebcam(formats=["YUYV"])
    camera = open_usb(webcam, clock)
    webcam.deliver(yuyv_of(0)[:1000], clock.monotonic_ns())
    assert camera.read(timeout_s=0.0) is None


def test_a_camera_is_found_by_its_name() -> None:
    webcams = [FakeWebcam("/dev/video2", "Brio 500"), FakeWebcam("/dev/video4", "C920")]
    config = CameraConfig(source="usb", device="brio")
    camera = UsbCamera(config, HandClock(), FakeV4l2(*webcams))
    assert "Brio 500 at /dev/video2" in camera.description
    assert "MJPEG" in camera.description


def test_a_name_that_nobody_or_several_answer_to_lists_who_is_there() -> None:
    twins = FakeV4l2(FakeWebcam("/dev/video2", "C920"), FakeWebcam("/dev/video4", "C920"))
    with pytest.raises(TransientError, match="several cameras are called 'C920'"):
        UsbCamera(CameraConfig(source="usb", device="C920"), HandClock(), twins)
    with pytest.raises(TransientError, match=r"no camera is called 'Brio'.*C920 at /dev/video4"):
        UsbCamera(CameraConfig(source="usb", device="Brio"), HandClock(), twins)


def test_a_device_that_is_not_there_says_so() -> None:
    with pytest.raises(TransientError, match="/dev/video7: it is not there"):
        open_usb(FakeWebcam(), HandClock(), device="/dev/video7")


def test_a_device_that_another_program_uses_says_so() -> None:
    webcam = FakeWebcam()
    webcam.is_busy = True
    with pytest.raises(TransientError, match="another program uses it"):
        open_usb(webcam, HandClock())


def test_a_file_that_is_no_camera_says_so() -> None:
    config = CameraConfig(source="usb", device="/dev/null")
    with pytest.raises(TransientError, match="/dev/null: it is no camera"):
        UsbCamera(config, HandClock())


def test_pulling_it_out_is_a_transient_error() -> None:
    webcam = FakeWebcam()
    camera = open_usb(webcam, HandClock())
    webcam.unplug()
    with pytest.raises(TransientError, match="it is not there") as raised:
        camera.read(timeout_s=1.0)
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.ENODEV
    camera.close()
    camera.close()


def parameters(function: object) -> list[str]:
    return [name for name in signature(function).parameters if name != "self"]  # type: ignore[arg-type]


def test_what_is_used_of_linuxpy_is_there() -> None:
    """The fake is only worth something as long as the real classes have the same names."""
    for method in ("open", "close", "set_format", "get_format", "set_fps"):
        real = parameters(getattr(linuxpy_video.Device, method))
        assert parameters(getattr(FakeDevice, method)) == real
    assert parameters(linuxpy_video.FrameReader.read) == parameters(FakeReader.read)
    for name in ("card", "driver", "buffer_formats", "format_frame_sizes"):
        assert hasattr(linuxpy_video.InfoEx, name)
    assert "size" in parameters(linuxpy_video.VideoCapture.__init__)
    assert parameters(linuxpy_video.get_raw_format) == ["fd", "buffer_type"]
    assert callable(linuxpy_video.iter_video_capture_devices)
    buffer = raw.v4l2_buffer()
    assert (buffer.timestamp.secs, buffer.timestamp.usecs) == (0, 0)
    pixels = raw.v4l2_format().fmt.pix
    assert (pixels.quantization, pixels.ycbcr_enc, pixels.colorspace) == (0, 0, 0)
    assert linuxpy_video.PixelFormat.MJPEG.human_str() == "MJPG"


def test_linuxpy_keeps_a_frame_reader_in_its_memory_source() -> None:
    device = linuxpy_video.Device("/dev/video0")  # nothing is opened yet
    capture = linuxpy_video.VideoCapture(device)
    source = linuxpy_video.MemoryMap(capture)
    assert isinstance(source.frame_reader, linuxpy_video.FrameReader)
    assert source.frame_reader.raw_read == source.raw_read
