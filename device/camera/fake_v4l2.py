"""V4L2 cameras that are not there: `linuxpy.video.device` with webcams made of Python behind it.

As the real driver does, a webcam has few buffers and drops what nobody fetches; pulled out, it
answers every request with ENODEV.
"""

import errno
from collections import deque
from collections.abc import Iterator, Sequence
from threading import Condition
from types import SimpleNamespace
from typing import Any, Self

from linuxpy.video import raw
from linuxpy.video.device import (
    BufferFlag,
    BufferType,
    Format,
    Frame,
    FrameSize,
    ImageFormat,
    ImageFormatFlag,
    PixelFormat,
    V4L2Error,
)

NS_PER_US = 1_000
US_PER_S = 1_000_000


class FakeWebcam:
    """The thing on the cable."""

    def __init__(
        self,
        path: str = "/dev/video0",
        card: str = "A webcam",
        formats: Sequence[str] = ("YUYV", "MJPEG"),
        size: tuple[int, int] = (120, 160),
        stride: int | None = None,
        driver: str = "uvcvideo",
    ) -> None:
        """size: (height, width), the only one it can. stride: bytes a line of YUYV."""
        self.path = path
        self.card = card
        self.driver = driver
        self.formats = tuple(formats)
        self.height_px, self.width_px = size
        self.stride = stride or 2 * self.width_px
        self.colorspace, self.ycbcr_enc, self.quantization = 8, 0, 0  # sRGB and defaults: as UVC
        self.is_busy = False
        self.asked: list[tuple[int, int, str]] = []
        """(width, height, four letters) of each format that was set."""
        self.buffers = 0
        self.is_streaming = False
        self._is_there = True
        self._changed = Condition()
        self._filled: deque[tuple[bytes, raw.v4l2_buffer]] = deque()
        self._sequence = 0

    def deliver(
        self, data: bytes, captured_ns: int, flags: int = BufferFlag.TIMESTAMP_MONOTONIC
    ) -> None:
        """One picture into a buffer, if one is free."""
        buffer = raw.v4l2_buffer()
        buffer.bytesused, buffer.flags, buffer.sequence = len(data), int(flags), self._sequence
        buffer.timestamp.secs, microseconds = divmod(captured_ns // NS_PER_US, US_PER_S)
        buffer.timestamp.usecs = microseconds
        with self._changed:
            self._sequence += 1
            if self.is_streaming and len(self._filled) < self.buffers:
                self._filled.append((data, buffer))
                self._changed.notify_all()

    def unplug(self) -> None:
        with self._changed:
            self._is_there = False
            self._changed.notify_all()

    def check(self) -> None:
        if not self._is_there:
            raise OSError(errno.ENODEV, "No such device")

    def fetch(self, timeout_s: float | None) -> tuple[bytes, raw.v4l2_buffer] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._filled or not self._is_there, timeout_s)
            self.check()
            return self._filled.popleft() if self._filled else None


class FakeDevice:
    """`linuxpy.video.device.Device` of a webcam, closed until `open`."""

    def __init__(self, filename: str, webcam: FakeWebcam | None) -> None:
        self.filename = filename
        self.info: FakeInfo | None = None
        self.closed = True
        self.webcam = webcam
        self.code = PixelFormat.YUYV

    def open(self) -> None:
        if self.webcam is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", self.filename)
        self.webcam.check()
        self.info = FakeInfo(self.webcam)
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def opened(self) -> FakeWebcam:
        if self.webcam is None or self.closed:
            raise ValueError("I/O operation on closed file")
        self.webcam.check()
        return self.webcam

    def set_format(
        self, buffer_type: BufferType, width: int, height: int, pixel_format: str = "MJPG"
    ) -> None:
        webcam = self.opened
        if webcam.is_busy:
            raise OSError(errno.EBUSY, "Device or resource busy")
        webcam.asked.append((width, height, pixel_format))
        self.code = PixelFormat(raw.v4l2_fourcc(*pixel_format))

    def get_format(self, buffer_type: BufferType) -> Format:
        webcam = self.opened
        is_packed = self.code is PixelFormat.YUYV
        return Format(
            width=webcam.width_px,
            height=webcam.height_px,
            pixel_format=self.code,
            size=webcam.stride * webcam.height_px,
            bytes_per_line=webcam.stride if is_packed else 0,
        )

    def set_fps(self, buffer_type: BufferType, fps: float) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")  # it has one rate only


class FakeInfo:
    """`linuxpy.video.device.InfoEx`."""

    def __init__(self, webcam: FakeWebcam) -> None:
        self._webcam = webcam
        self.card = webcam.card
        self.driver = webcam.driver

    def buffer_formats(self, buffer_type: BufferType) -> list[ImageFormat]:
        return [
            ImageFormat(
                type=buffer_type,
                description=name,
                flags=ImageFormatFlag(0),
                pixel_format=PixelFormat[name],
            )
            for name in self._webcam.formats
        ]

    def format_frame_sizes(self, pixel_format: PixelFormat) -> list[FrameSize]:
        size = SimpleNamespace(width=self._webcam.width_px, height=self._webcam.height_px)
        return [FrameSize(0, pixel_format, raw.Frmsizetypes.DISCRETE, size)]


class FakeReader:
    """`linuxpy.video.device.FrameReader`."""

    def __init__(self, device: FakeDevice) -> None:
        self._device = device

    def read(self, timeout: float | None = None) -> Frame | None:
        fetched = self._device.opened.fetch(timeout)
        if fetched is None:
            return None
        return Frame(*fetched, self._device.get_format(BufferType.VIDEO_CAPTURE))


class FakeCapture:
    """`linuxpy.video.device.VideoCapture`."""

    def __init__(self, device: FakeDevice, size: int = 2) -> None:
        self._device = device
        self._size = size
        self.buffer: Any = None

    def open(self) -> None:
        webcam = self._device.opened
        self.buffer = SimpleNamespace(frame_reader=FakeReader(self._device))
        webcam.buffers, webcam.is_streaming = self._size, True

    def close(self) -> None:
        if not self._device.closed and self.buffer is not None:
            self._device.opened.is_streaming = False
            self.buffer = None


class FakeV4l2:
    """Stands for the module; numbers and names are the real ones."""

    BufferFlag = BufferFlag
    BufferType = BufferType
    PixelFormat = PixelFormat
    V4L2Error = V4L2Error
    VideoCapture = FakeCapture

    def __init__(self, *webcams: FakeWebcam) -> None:
        self._webcams = {webcam.path: webcam for webcam in webcams}

    def Device(self, name_or_file: str) -> FakeDevice:  # noqa: N802 - linuxpy's class
        return FakeDevice(str(name_or_file), self._webcams.get(str(name_or_file)))

    def iter_video_capture_devices(self) -> Iterator[FakeDevice]:
        return (FakeDevice(path, webcam) for path, webcam in self._webcams.items())

    def get_raw_format(self, device: FakeDevice, buffer_type: int) -> SimpleNamespace:
        webcam = device.opened
        pixels = SimpleNamespace(
            colorspace=webcam.colorspace,
            ycbcr_enc=webcam.ycbcr_enc,
            quantization=webcam.quantization,
        )
        return SimpleNamespace(fmt=SimpleNamespace(pix=pixels))
