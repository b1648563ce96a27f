"""Decoded frames of PyAV as values: planes without padding, and what their numbers mean."""

from typing import Any

import numpy as np
from av.video.frame import VideoFrame

from device.core.images import Pixels, Yuv420

# AVColorRange and AVColorSpace of FFmpeg's pixfmt.h.
RANGE_FULL = 2
SPACE_UNSPECIFIED = 2
SPACES_LIKE_709 = frozenset({1, 9, 10})
"""BT.709, and BT.2020, whose weights are nearer to it than to BT.601."""
HIGH_DEFINITION_PX = 720
"""From this height up, a stream that does not say is taken for BT.709, as players do."""

PLANAR_420 = frozenset({"yuv420p", "yuvj420p"})


def to_yuv420(frame: VideoFrame, is_jpeg: bool = False) -> Yuv420:
    """A copy of the frame's planes that nothing writes to again.

    is_jpeg: of a JPEG picture, which is BT.601 at every size (JFIF 1.02, section 7).
    A frame of another layout is converted first; its range and matrix stay what they were.
    """
    name = frame.format.name
    # PyAV 10, that of Debian 12, does not tell colour; the old formats' names do.
    is_full = name.startswith("yuvj") or _number(frame, "color_range", 0) == RANGE_FULL
    space = _number(frame, "colorspace", SPACE_UNSPECIFIED)
    if is_jpeg:
        is_bt709 = False
    elif space == SPACE_UNSPECIFIED:
        is_bt709 = min(frame.height, frame.width) >= HIGH_DEFINITION_PX
    else:
        is_bt709 = space in SPACES_LIKE_709
    if frame.format.is_rgb:
        is_full, is_bt709 = False, False
    if name not in PLANAR_420:
        frame = _as_420(frame, is_full)
    turns = round(_number(frame, "rotation", 0) / 90) % 4
    y, u, v = (_plane(frame, index, turns) for index in range(3))
    return Yuv420(y, u, v, is_full_range=is_full, is_bt709=is_bt709)


def _as_420(frame: VideoFrame, is_full: bool) -> VideoFrame:
    """Chroma at half size; numbers keep their range. Of RGB: limited BT.601."""
    if frame.format.name.startswith("yuvj"):  # these names carry the range themselves
        return frame.reformat(format="yuvj420p")
    if not hasattr(frame, "color_range"):  # PyAV 10 knows no range but that of the names
        return frame.reformat(format="yuv420p")
    # Named on both sides: what swscale assumes where nothing is said differs between versions
    # (PyAV 12 and 14 stretched full range once more).
    after = "JPEG" if is_full else "MPEG"
    before = "JPEG" if frame.format.is_rgb else after
    return frame.reformat(format="yuv420p", src_color_range=before, dst_color_range=after)


def _number(frame: VideoFrame, name: str, default: int) -> int:
    value: Any = getattr(frame, name, None)
    return default if value is None else int(value)


def _plane(frame: VideoFrame, index: int, turns: int) -> Pixels:
    plane = frame.planes[index]
    lines = np.frombuffer(memoryview(plane), np.uint8)[: plane.height * plane.line_size]
    view = lines.reshape(plane.height, plane.line_size)[:, : plane.width]
    return np.array(np.rot90(view, turns), dtype=np.uint8, order="C")
