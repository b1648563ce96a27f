"""What every camera keeps to, whoever made it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from PIL import Image as Picture

from device.camera.fake_camera import FakeCamera
from device.camera.fake_picamera2 import FakeSensor
from device.camera.fake_v4l2 import FakeV4l2, FakeWebcam
from device.camera.pi_camera import PiCamera
from device.camera.picture_folder import PictureFolder
from device.camera.rtsp import RtspCamera
from device.camera.usb_camera import UsbCamera
from device.camera.video_file import VideoFile
from device.clocks import SystemClock
from device.config import CameraConfig
from device.core.images import Frame, Image, Rgb
from device.errors import SourceEndedError, TransientError
from device.ports import Camera
from tests.clips import HEIGHT_PX, WIDTH_PX, jpeg_of, scene, write_clip, yuv_image, yuyv_of
from tests.rtsp_server import RtspServer

CLOCK = SystemClock()
FRAMES_PER_S = 50.0
PATIENCE_S = 5.0
"""A frame that takes longer does not come at all."""


@dataclass
class Rig:
    """A camera with hands on what is behind it."""

    camera: Camera
    go_silent: Callable[[], None] | None
    """The source stays there and gives nothing more; None: this source always gives."""
    vanish: Callable[[], None]
    """The source is gone, as pulled out or deleted."""


@dataclass
class Deliveries:
    """A thread that plays the hardware: a frame every 10 ms until told to be silent."""

    deliver: Callable[[int], None]
    quiet: Event = field(default_factory=Event)
    thread: Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for step in count():
            if self.quiet.wait(0.01):
                return
            self.deliver(step)

    def stop(self) -> None:
        self.quiet.set()
        self.thread.join(PATIENCE_S)


def _pictures(folder: Path, _: ExitStack) -> Rig:
    shown = folder / "pictures"
    shown.mkdir()
    for step in range(3):
        Picture.fromarray(scene(step)).save(shown / f"{step}.png")

    def vanish() -> None:
        for path in shown.iterdir():
            path.unlink()
        shown.rmdir()

    config = CameraConfig(source="pictures", path=shown, picture_s=0.05, frames_per_s=FRAMES_PER_S)
    return Rig(PictureFolder(config, CLOCK), None, vanish)


def _video(folder: Path, _: ExitStack) -> Rig:
    path = write_clip(folder / "clip.mp4", frames=6, rate=25)
    config = CameraConfig(source="video", path=path, frames_per_s=FRAMES_PER_S)
    return Rig(VideoFile(config, CLOCK), None, path.unlink)


def _rtsp(_: Path, stack: ExitStack) -> Rig:
    server = stack.enter_context(RtspServer())
    config = CameraConfig(source="rtsp", url=server.url, frames_per_s=FRAMES_PER_S)
    return Rig(RtspCamera(config, CLOCK), server.fall_silent, server.close)


def _usb(format_name: str, data: Callable[[int], bytes]) -> Callable[[Path, ExitStack], Rig]:
    def make(_: Path, stack: ExitStack) -> Rig:
        webcam = FakeWebcam(formats=[format_name])
        config = CameraConfig(source="usb", frames_per_s=FRAMES_PER_S)
        camera = UsbCamera(config, CLOCK, FakeV4l2(webcam))
        driver = Deliveries(lambda step: webcam.deliver(data(step), CLOCK.monotonic_ns()))
        stack.callback(driver.stop)
        return Rig(camera, driver.stop, webcam.unplug)

    return make


def _picamera2(_: Path, stack: ExitStack) -> Rig:
    sensor = FakeSensor()
    config = CameraConfig(height_px=120, width_px=160, frames_per_s=FRAMES_PER_S)
    camera = PiCamera(config, CLOCK, (96, 96), sensor.library)

    def expose(step: int) -> None:
        main = yuv_image(step, (120, 160), is_full=False, is_bt709=True)
        small = yuv_image(step, (96, 96), is_full=False, is_bt709=True)
        sensor.expose(boottime_ns(), main, small)

    driver = Deliveries(expose)
    stack.callback(driver.stop)
    return Rig(camera, driver.stop, sensor.fail)


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _fake(_: Path, stack: ExitStack) -> Rig:
    camera = FakeCamera(CLOCK)
    driver = Deliveries(lambda step: camera.give(Rgb(scene(step))))
    stack.callback(driver.stop)

    def go_silent() -> None:
        driver.stop()
        camera.drop_rest()

    def vanish() -> None:
        go_silent()
        camera.give(*[TransientError("the source is gone")] * 1000)

    return Rig(camera, go_silent, vanish)


RIGS: dict[str, Callable[[Path, ExitStack], Rig]] = {
    "pictures": _pictures,
    "video": _video,
    "rtsp": _rtsp,
    "usb-mjpeg": _usb("MJPEG", jpeg_of),
    "usb-yuyv": _usb("YUYV", yuyv_of),
    "picamera2": _picamera2,
    "fake": _fake,
}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        made = RIGS[request.param](tmp_path, stack)
        stack.callback(made.camera.close)
        yield made


def next_frame(camera: Camera) -> Frame:
    frame = None
    end_ns = CLOCK.monotonic_ns() + round(PATIENCE_S * 1e9)
    while frame is None:
        assert CLOCK.monotonic_ns() < end_ns, "no frame came"
        frame = camera.read(timeout_s=0.5)
    return frame


def arrays_of(image: Image) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [image.pixels] if isinstance(image, Rgb) else [image.y, image.u, image.v]


def test_a_frame_has_whole_planes_of_bytes(rig: Rig) -> None:
    frame = next_frame(rig.camera)
    images = [frame.main] if frame.small is None else [frame.main, frame.small]
    for image in images:
        assert all(array.dtype == np.uint8 for array in arrays_of(image))
        height_px, width_px = image.size
        if isinstance(image, Rgb):
            assert image.pixels.shape == (height_px, width_px, 3)
        else:
            chroma = ((height_px + 1) // 2, (width_px + 1) // 2)
            assert image.y.shape == (height_px, width_px)
            assert image.u.shape == image.v.shape == chroma
    assert frame.main.size == (HEIGHT_PX, WIDTH_PX)


def test_a_frame_given_never_changes_again(rig: Rig) -> None:
    first = next_frame(rig.camera)
    before = [array.copy() for array in arrays_of(first.main)]
    later = [next_frame(rig.camera) for _ in range(8)]
    for array, copy in zip(arrays_of(first.main), before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert not any(
            np.shares_memory(array, other)
            for frame in later
            for other in arrays_of(frame.main)
            if frame.main is not first.main
        )


def test_sequences_grow(rig: Rig) -> None:
    sequences = [next_frame(rig.camera).sequence for _ in range(5)]
    assert sequences == sorted(set(sequences))


def test_times_are_of_the_past_and_never_go_back(rig: Rig) -> None:
    asked_ns = CLOCK.monotonic_ns()
    frames = [next_frame(rig.camera) for _ in range(5)]
    times = [frame.captured_ns for frame in frames]
    assert times == sorted(times)
    assert times[-1] <= CLOCK.monotonic_ns()
    assert times[-1] >= asked_ns - 1_000_000_000


def test_a_silent_source_gives_none_in_time(rig: Rig) -> None:
    next_frame(rig.camera)
    if rig.go_silent is None:
        # Files are never silent; between two frames there is nothing either.
        assert None in [rig.camera.read(timeout_s=0.0) for _ in range(50)]
        return
    rig.go_silent()
    end_ns = CLOCK.monotonic_ns() + round(PATIENCE_S * 1e9)
    while rig.camera.read(timeout_s=0.2) is not None:
        assert CLOCK.monotonic_ns() < end_ns, "the source is not silent"
    began_ns = CLOCK.monotonic_ns()
    assert rig.camera.read(timeout_s=0.2) is None
    assert 0.15e9 <= CLOCK.monotonic_ns() - began_ns <= 2e9


def test_a_source_that_vanished_is_a_transient_error(rig: Rig) -> None:
    next_frame(rig.camera)
    rig.vanish()
    end_ns = CLOCK.monotonic_ns() + round(PATIENCE_S * 1e9)
    raised = None
    while raised is None and CLOCK.monotonic_ns() < end_ns:
        try:
            rig.camera.read(timeout_s=0.2)
        except TransientError as exc:
            raised = exc
    assert raised is not None, "nothing was raised"
    assert str(raised)


def test_closing_twice_is_no_error_and_reading_after_it_is_one(rig: Rig) -> None:
    next_frame(rig.camera)
    rig.camera.close()
    rig.camera.close()
    with pytest.raises((TransientError, SourceEndedError)):
        rig.camera.read(timeout_s=0.1)


def test_it_describes_itself(rig: Rig) -> None:
    assert len(rig.camera.description) > 10
    assert "\n" not in rig.camera.description
