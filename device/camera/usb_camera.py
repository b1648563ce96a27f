"""A USB camera through V4L2: JPEG pictures straight to YUV420, or YUYV where it gives no JPEG."""

import errno
from contextlib import suppress
from typing import Any, NamedTuple

import av
import linuxpy.video.device as linuxpy_video
import numpy as np

from device.camera.av_frames import to_yuv420
from device.camera.pace import NS_PER_S, FrameRate
from device.config import CameraConfig
from device.core.images import Frame, Yuv420
from device.errors import TransientError
from device.ports import Clock

FORMATS = ("MJPEG", "JPEG", "YUYV")
"""As V4L2 and linuxpy name them, best first. A camera on USB 2 gives 1280x720 as YUYV at only
about 10 frames a second, as JPEG at 30."""

BUFFERS = 4
OLD_NS = NS_PER_S // 2
"""A frame captured so long before it was asked for lay in the driver while nobody read."""

# Of linux/videodev2.h: v4l2_colorspace, v4l2_ycbcr_encoding, v4l2_quantization.
COLORSPACE_REC709, COLORSPACE_JPEG = 3, 7
ENCODING_709 = 2
QUANTIZATION_FULL = 1


class _Colours(NamedTuple):
    is_full_range: bool
    is_bt709: bool


class UsbCamera:
    """Frames are Yuv420 in the size that the driver chose, the nearest to the one asked for.

    The driver's buffers are few: what is not fetched in time it drops. `read` drains them
    and gives the newest.
    """

    def __init__(
        self,
        config: CameraConfig,
        clock: Clock,
        video: Any = linuxpy_video,  # noqa: ANN401 - linuxpy's module has no types
    ) -> None:
        """video: `linuxpy.video.device`, or a fake of it.

        Raises:
            TransientError: no such device, or it cannot be used; the message says why.
        """
        self._clock = clock
        self._video = video
        self._rate = FrameRate(config.frames_per_s)
        self._decoder = av.CodecContext.create("mjpeg", "r")
        self._sequence = 0
        self._is_closed = False
        self._path = find_device(config.device, video)
        self._device = video.Device(self._path)
        try:
            self._device.open()
            self._name = self._device.info.card
            self._format = self._choose_format(config)
            self._colours = self._read_colours()
            self._capture = video.VideoCapture(self._device, size=BUFFERS)
            self._capture.open()
        except (OSError, ValueError, video.V4L2Error) as exc:
            with suppress(OSError, ValueError):
                self._device.close()
            raise TransientError(_reason(self._path, exc)) from exc

    @property
    def description(self) -> str:
        chosen = self._format
        return (
            f"USB camera {self._name} at {self._path}, {chosen.width}x{chosen.height} "
            f"{chosen.pixel_format.name}"
        )

    def read(self, timeout_s: float) -> Frame | None:
        if self._is_closed:
            raise TransientError(f"{self._path} was closed; open the camera again")
        called_ns = self._clock.monotonic_ns()
        deadline_ns = called_ns + round(timeout_s * NS_PER_S)
        while True:
            left_s = max(deadline_ns - self._clock.monotonic_ns(), 0) / NS_PER_S
            try:
                newest = self._newest(left_s)
            except (OSError, ValueError) as exc:
                raise TransientError(_reason(self._path, exc)) from exc
            if newest is None:
                return None
            captured_ns = self._captured_ns(newest)
            if captured_ns < called_ns - OLD_NS or not self._rate.admits(captured_ns):
                continue
            image = self._decode(newest)
            if image is not None:
                return Frame(sequence=self._sequence, captured_ns=captured_ns, main=image)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        for close in (self._capture.close, self._device.close):
            # A camera that was pulled out refuses every request, also that to stop.
            with suppress(OSError, ValueError):
                close()

    def _choose_format(self, config: CameraConfig) -> Any:  # noqa: ANN401 - linuxpy's Format
        kind = self._video.BufferType.VIDEO_CAPTURE
        offered = [each.pixel_format.name for each in self._device.info.buffer_formats(kind)]
        chosen = next((name for name in FORMATS if name in offered), None)
        if chosen is None:
            raise ValueError(
                f"it gives {', '.join(offered) or 'no pictures'}; want {' or '.join(FORMATS)}"
            )
        code = self._video.PixelFormat[chosen]
        self._device.set_format(kind, config.width_px, config.height_px, code.human_str())
        with suppress(OSError):  # many drivers have one rate for each size
            self._device.set_fps(kind, config.frames_per_s)
        got = self._device.get_format(kind)
        if got.pixel_format.name != chosen:
            raise ValueError(f"it gives {got.pixel_format.name} although {chosen} was asked for")
        return got

    def _read_colours(self) -> _Colours:
        """What the numbers of YUYV mean; a JPEG says so itself."""
        kind = self._video.BufferType.VIDEO_CAPTURE
        pixels = self._video.get_raw_format(self._device, kind).fmt.pix
        return _Colours(
            is_full_range=pixels.quantization == QUANTIZATION_FULL
            or (pixels.quantization == 0 and pixels.colorspace == COLORSPACE_JPEG),
            is_bt709=pixels.ycbcr_enc == ENCODING_709
            or (pixels.ycbcr_enc == 0 and pixels.colorspace == COLORSPACE_REC709),
        )

    def _newest(self, timeout_s: float) -> Any:  # noqa: ANN401 - linuxpy's Frame
        """The last of those that wait in the driver; None when none came in time."""
        reader = self._capture.buffer.frame_reader
        newest = reader.read(timeout_s)
        if newest is None:
            return None
        self._sequence += 1
        for _ in range(BUFFERS):
            newer = reader.read(0)
            if newer is None:
                break
            self._sequence += 1
            newest = newer
        return newest

    def _captured_ns(self, frame: Any) -> int:  # noqa: ANN401 - linuxpy's Frame
        """By the driver's stamp where that is of the monotonic clock, as of nearly all."""
        flags = self._video.BufferFlag
        now_ns = self._clock.monotonic_ns()
        if int(frame.flags) & flags.TIMESTAMP_MASK != flags.TIMESTAMP_MONOTONIC:
            return now_ns
        stamp = frame.buff.timestamp
        return min(int(stamp.secs) * NS_PER_S + int(stamp.usecs) * 1000, now_ns)

    def _decode(self, frame: Any) -> Yuv420 | None:  # noqa: ANN401 - linuxpy's Frame
        """None of a picture that arrived damaged: on a busy USB bus that is no rarity."""
        # An empty packet would tell the decoder that the stream is over.
        if int(frame.flags) & self._video.BufferFlag.ERROR or not len(frame.data):
            return None
        if self._format.pixel_format.name == "YUYV":
            return _from_yuyv(frame.data, self._format, self._colours)
        try:
            pictures = self._decoder.decode(av.Packet(frame.data))
        except av.error.FFmpegError:
            return None
        return to_yuv420(pictures[-1], is_jpeg=True) if pictures else None


def _from_yuyv(data: bytes, layout: Any, colours: _Colours) -> Yuv420 | None:  # noqa: ANN401
    """The planes of packed 4:2:2; of each two lines the chroma is averaged."""
    stride = max(layout.bytes_per_line, 2 * layout.width)
    if len(data) < stride * layout.height:
        return None
    lines = np.frombuffer(data, np.uint8, stride * layout.height).reshape(layout.height, stride)
    packed = lines[:, : 2 * layout.width]
    chroma = packed[:, 1::2].astype(np.uint16)
    upper, lower = chroma[0::2], chroma[1::2]
    if len(lower) < len(upper):
        lower = np.concatenate([lower, upper[-1:]])
    both = ((upper + lower + 1) // 2).astype(np.uint8)
    return Yuv420(
        packed[:, 0::2].copy(),
        both[:, 0::2].copy(),
        both[:, 1::2].copy(),
        is_full_range=colours.is_full_range,
        is_bt709=colours.is_bt709,
    )


def find_device(wanted: str, video: Any) -> str:  # noqa: ANN401 - linuxpy's module
    """The device file of that name, or of the camera that calls itself so.

    Raises:
        TransientError: no camera, or several, answer to the name.
    """
    if wanted.startswith("/"):
        return wanted
    cards: dict[str, str] = {}
    try:
        for device in video.iter_video_capture_devices():
            with device:
                cards[str(device.filename)] = device.info.card
    except OSError as exc:
        raise TransientError(f"USB cameras cannot be listed ({exc.strerror})") from exc
    exact = [path for path, card in cards.items() if card.lower() == wanted.lower()]
    alike = [path for path, card in cards.items() if wanted.lower() in card.lower()]
    found = exact or alike
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{card} at {path}" for path, card in cards.items()) or "none at all"
    problem = "several cameras are" if found else "no camera is"
    raise TransientError(
        f"{problem} called {wanted!r}; want one of: {there}. Name it in [camera] device, by its "
        "name or its file"
    )


def _reason(path: str, exc: Exception) -> str:
    code = exc.errno if isinstance(exc, OSError) else None
    match code:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO | errno.EIO:
            why = "it is not there; want a USB camera plugged in (see: lookout camera list)"
        case errno.EACCES | errno.EPERM:
            why = "this user may not open it; want the user in the group `video`"
        case errno.EBUSY:
            why = "another program uses it; want it free: stop that program"
        case errno.ENOTTY | errno.EINVAL:
            why = "it is no camera; want the file of one (see: lookout camera list)"
        case None:
            why = str(exc)
        case _:
            why = f"it failed ({exc}); want a camera that works: plug it in again"
    return f"{path}: {why}"
