"""The Pi's own camera through picamera2: a large stream, and a small one that the ISP scales."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.config import CameraConfig
from device.core.images import Frame, Yuv420
from device.errors import TransientError
from device.ports import Clock

NS_PER_US = 1_000
US_PER_S = 1_000_000
BUFFERS = 4
"""At 1280x720, 1.4 MB each, from a pool (CMA) that is small on a Pi with 512 MB."""
FORMAT = "YUV420"
FAILURES = (RuntimeError, LookupError, ValueError, OSError, CancelledError)
"""What picamera2 was seen to raise when a camera is absent, taken, or fails."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """Layout of one stream's buffer. size: (height, width). stride: bytes a line of luma."""

    size: tuple[int, int]
    stride: int
    is_full_range: bool
    is_bt709: bool

    def image(self, buffer: NDArray[np.uint8]) -> Yuv420:
        """The planes inside a copied buffer, as views: luma, then both chromas with half the
        stride. Source: libcamera's YUV420, which is V4L2_PIX_FMT_YUV420."""
        height_px, width_px = self.size
        luma_bytes = self.stride * height_px
        chroma_bytes = luma_bytes // 4
        ends = (luma_bytes, luma_bytes + chroma_bytes, luma_bytes + 2 * chroma_bytes)
        if buffer.size < ends[2]:
            raise ValueError(f"a buffer of {buffer.size} bytes came; want {ends[2]}")
        y = buffer[: ends[0]].reshape(height_px, self.stride)
        u = buffer[ends[0] : ends[1]].reshape(height_px // 2, self.stride // 2)
        v = buffer[ends[1] : ends[2]].reshape(height_px // 2, self.stride // 2)
        return Yuv420(
            y[:, :width_px],
            u[:, : width_px // 2],
            v[:, : width_px // 2],
            is_full_range=self.is_full_range,
            is_bt709=self.is_bt709,
        )


@dataclass(frozen=True, slots=True)
class PiLibrary:
    """What is used of the two libraries that only a Pi has; both are untyped."""

    Picamera2: Any
    """`picamera2.Picamera2`, the class."""
    Transform: Any
    """`libcamera.Transform`, the class."""


def load_library() -> PiLibrary:
    """Raises TransientError where the Pi's libraries are not installed."""
    try:
        from libcamera import Transform
        from picamera2 import Picamera2
    except (ImportError, OSError) as exc:
        raise TransientError(
            f"the Pi camera's libraries cannot be loaded ({exc}); want a Raspberry Pi with the "
            "package python3-picamera2 (sudo apt install python3-picamera2) and an environment "
            "made with --system-site-packages"
        ) from exc
    return PiLibrary(Picamera2, Transform)


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class PiCamera:
    """`main` and `small` are Yuv420 of one exposure, as the ISP wrote them.

    Planes are views whose lines keep the ISP's padding between them, cut off by the stride
    that picamera2 reports (224 pixels lie 256 apart on a Pi 4).
    """

    def __init__(
        self,
        config: CameraConfig,
        clock: Clock,
        model_size: tuple[int, int] | None,
        library: PiLibrary | None = None,
        boottime_ns: Callable[[], int] = _boottime_ns,
    ) -> None:
        """model_size: (height, width) of the second stream; None: there is none.

        Raises:
            TransientError: no such camera, or it cannot be used; the message says why.
        """
        self._library = library if library is not None else load_library()
        self._config = config
        self._clock = clock
        self._boottime_ns = boottime_ns
        self._model_size = model_size
        self._job: Any = None
        self._sequence = 0
        self._camera: Any = None
        self._is_closed = False
        self._model = ""
        self._small: _Stream | None = None
        try:
            self._camera = self._library.Picamera2(config.number)
            self._main = self._configure()
            self._camera.start()
        except FAILURES as exc:
            self.close()
            raise TransientError(
                f"Pi camera {config.number} cannot be opened ({exc}); want a camera on the ribbon "
                "cable that `rpicam-hello --list-cameras` shows and no other program uses"
            ) from exc

    @property
    def description(self) -> str:
        height_px, width_px = self._main.size
        small = "" if self._small is None else f" and {self._small.size[1]}x{self._small.size[0]}"
        return (
            f"Pi camera {self._config.number} {self._model}, {width_px}x{height_px}{small}, "
            f"{self._config.frames_per_s:g} frames/s"
        )

    def read(self, timeout_s: float) -> Frame | None:
        if self._is_closed:
            raise TransientError("the Pi camera was closed; open it again")
        try:
            # A job that found no frame in time stays for the next read: picamera2 cannot take
            # it back, and its request would never be released.
            if self._job is None:
                self._job = self._camera.capture_request(wait=False)
            try:
                request = self._job.get_result(timeout=timeout_s)
            except TimeoutError:
                return None
            self._job = None
            try:
                return self._frame(request)
            finally:
                request.release()
        except FAILURES as exc:
            raise TransientError(f"the Pi camera failed ({exc}); it is opened again") from exc

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._camera is None:
            return
        with suppress(*FAILURES):
            self._camera.stop()
        with suppress(*FAILURES):  # also the TimeoutError of a job that nothing ended
            if self._job is not None:
                self._job.get_result(timeout=0).release()
        with suppress(*FAILURES):
            self._camera.close()

    def _configure(self) -> _Stream:
        """Set both streams up; returns the large one as the ISP gives it."""
        config = self._config
        is_turned = config.rotation == 180
        duration_us = round(US_PER_S / config.frames_per_s)
        small_size = _stream_size(self._model_size, config)
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"format": FORMAT, "size": (config.width_px, config.height_px)},
                lores=None if small_size is None else {"format": FORMAT, "size": small_size},
                raw=None,  # by default a stream of the sensor's own numbers takes memory too
                transform=self._library.Transform(hflip=is_turned, vflip=is_turned),
                buffer_count=BUFFERS,
                controls={"FrameDurationLimits": (duration_us, duration_us)},
                display=None,
                encode=None,
            )
        )
        self._model = str(self._camera.camera_properties.get("Model", ""))
        chosen = self._camera.camera_configuration()
        if small_size is not None:
            self._small = _stream(chosen, "lores")
        return _stream(chosen, "main")

    def _frame(self, request: Any) -> Frame:  # noqa: ANN401 - picamera2's CompletedRequest
        self._sequence += 1
        captured_ns = self._captured_ns(request.get_metadata())
        main = self._main.image(request.make_buffer("main"))
        small = None if self._small is None else self._small.image(request.make_buffer("lores"))
        return Frame(sequence=self._sequence, captured_ns=captured_ns, main=main, small=small)

    def _captured_ns(self, metadata: Mapping[str, Any]) -> int:
        """SensorTimestamp is of the boot-time clock and of the first line's start of exposure
        (libcamera, control_ids_core.yaml); ExposureTime is in microseconds."""
        now_ns = self._clock.monotonic_ns()
        began_ns = metadata.get("SensorTimestamp")
        if began_ns is None:
            return now_ns
        ended_ns = int(began_ns) + int(metadata.get("ExposureTime", 0)) * NS_PER_US
        return min(ended_ns - (self._boottime_ns() - now_ns), now_ns)


def _stream(configuration: Mapping[str, Any], name: str) -> _Stream:
    stream = configuration[name]
    if stream["format"] != FORMAT:
        raise ValueError(f"stream {name} came as {stream['format']}; want {FORMAT}")
    width_px, height_px = stream["size"]
    # Its members are enums of a C++ library; a camera without an ISP may have none.
    colours = configuration["colour_space"]
    return _Stream(
        size=(height_px, width_px),
        stride=stream["stride"],
        is_full_range=colours is not None and colours.range.name == "Full",
        is_bt709=colours is not None and colours.ycbcrEncoding.name == "Rec709",
    )


def _stream_size(
    model_size: tuple[int, int] | None, config: CameraConfig
) -> tuple[int, int] | None:
    """(width, height) of the second stream: even, and never over the large one's, or the ISP
    refuses it."""
    if model_size is None:
        return None
    height_px, width_px = (side + side % 2 for side in model_size)
    if height_px > config.height_px or width_px > config.width_px:
        return None
    return width_px, height_px
