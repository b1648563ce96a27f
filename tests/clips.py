"""Small real clips for tests: a plain colour with a white square that moves to the right."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from device.core.images import Yuv420

HEIGHT_PX, WIDTH_PX = 120, 160
COLOUR = (180, 60, 40)
"""Red, green, blue of the plain part."""
FULL, LIMITED = 2, 1
BT709, BT601 = 1, 5


def scene(step: int) -> NDArray[np.uint8]:
    """uint8, (120, 160, 3): the square has its left edge at 4 * `step` pixels, from row 10."""
    pixels = np.full((HEIGHT_PX, WIDTH_PX, 3), COLOUR, np.uint8)
    left = 4 * step % (WIDTH_PX - 20)
    pixels[10:30, left : left + 20] = 255
    return pixels


def yuv_of(colour: tuple[int, int, int], is_full: bool, is_bt709: bool) -> NDArray[np.float64]:
    """(y, u, v), 0 to 255, of a colour. Source: ITU-R BT.601 and BT.709, with the ranges of
    H.273: full is 0 to 255, limited 16 to 235 and 16 to 240."""
    red_share, blue_share = (0.2126, 0.0722) if is_bt709 else (0.299, 0.114)
    red, green, blue = (part / 255 for part in colour)
    luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    chroma = np.array(
        [(blue - luma) / (2 * (1 - blue_share)), (red - luma) / (2 * (1 - red_share))]
    )
    if is_full:
        return np.array([255 * luma, *(128 + 255 * chroma)])
    return np.array([16 + 219 * luma, *(128 + 224 * chroma)])


def yuv_frame(step: int, *, is_full: bool = False, is_bt709: bool = False) -> VideoFrame:
    """`scene` as yuv420p, made without swscale, so that nobody's guess hides another's."""
    frame = VideoFrame(WIDTH_PX, HEIGHT_PX, "yuvj420p" if is_full else "yuv420p")
    square = yuv_of((255, 255, 255), is_full, is_bt709)
    ground = yuv_of(COLOUR, is_full, is_bt709)
    is_square = (scene(step) == 255).all(axis=2)
    for index, plane in enumerate(frame.planes):
        mask = is_square if index == 0 else is_square[::2, ::2]
        lines = np.zeros((plane.height, plane.line_size), np.uint8)
        lines[:, : plane.width] = np.where(mask, round(square[index]), round(ground[index]))
        padding = plane.buffer_size - lines.size
        plane.update(lines.tobytes() + bytes(padding))
    frame.color_range = FULL if is_full else LIMITED
    frame.colorspace = BT709 if is_bt709 else BT601
    return frame


def write_clip(
    path: Path,
    frames: int = 20,
    rate: int = 20,
    *,
    codec: str = "libx264",
    is_full: bool = False,
    is_bt709: bool = False,
    options: dict[str, str] | None = None,
    title: str = "",
) -> Path:
    """A clip of `frames` frames at `rate` a second; the container by the file's suffix."""
    with av.open(str(path), "w") as output:
        output.metadata["title"] = title
        stream = output.add_stream(codec, rate=Fraction(rate), options=options or {})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = WIDTH_PX, HEIGHT_PX
        stream.pix_fmt = "yuvj420p" if is_full else "yuv420p"
        stream.codec_context.color_range = FULL if is_full else LIMITED
        stream.codec_context.colorspace = BT709 if is_bt709 else BT601
        for step in range(frames):
            frame = yuv_frame(step, is_full=is_full, is_bt709=is_bt709)
            frame.pts = None
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def jpeg_of(step: int) -> bytes:
    """`scene` as a webcam gives it: baseline JPEG, 4:2:2, full range, BT.601."""
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height = WIDTH_PX, HEIGHT_PX
    context.pix_fmt = "yuvj422p"
    context.time_base = Fraction(1, 30)
    context.options = {"qscale": "2"}
    frame = VideoFrame.from_ndarray(scene(step), format="rgb24").reformat(
        format="yuvj422p", dst_colorspace="ITU601", dst_color_range="JPEG"
    )
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def yuyv_of(step: int, stride: int | None = None) -> bytes:
    """`scene` as packed 4:2:2, limited range, BT.601; lines `stride` bytes apart."""
    y, u, v = (np.rint(part) for part in np.moveaxis(_planes(step), -1, 0))
    packed = np.zeros((HEIGHT_PX, 2 * WIDTH_PX), np.uint8)
    packed[:, 0::2] = y
    packed[:, 1::4] = u[:, ::2]
    packed[:, 3::4] = v[:, ::2]
    lines = np.full((HEIGHT_PX, stride or 2 * WIDTH_PX), 0xA5, np.uint8)
    lines[:, : packed.shape[1]] = packed
    return lines.tobytes()


def _planes(step: int) -> NDArray[np.float64]:
    is_square = (scene(step) == 255).all(axis=2)
    square, ground = yuv_of((255, 255, 255), False, False), yuv_of(COLOUR, False, False)
    return np.where(is_square[..., np.newaxis], square, ground)


def yuv_image(step: int, size: tuple[int, int], *, is_full: bool, is_bt709: bool) -> Yuv420:
    """A plain picture of COLOUR with a brighter line, row `step`, of (height, width) `size`."""
    height_px, width_px = size
    y, u, v = (round(part) for part in yuv_of(COLOUR, is_full, is_bt709))
    luma = np.full(size, y, np.uint8)
    luma[step % height_px] = 200
    chroma = (height_px // 2, width_px // 2)
    return Yuv420(
        luma,
        np.full(chroma, u, np.uint8),
        np.full(chroma, v, np.uint8),
        is_full_range=is_full,
        is_bt709=is_bt709,
    )
