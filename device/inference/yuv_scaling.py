"""Antialiased scaling of planar YUV straight to RGB, by the swscale that PyAV brings."""

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from device.core.images import Pixels, Yuv420


class YuvScaler:
    """Owned by one thread; keeps the frame that it copies planes into."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._frame: av.VideoFrame | None = None
        self._interpolation = Interpolation.BILINEAR
        if hasattr(Interpolation, "ACCURATE_RND"):
            # Without these swscale rounds down: limited range comes out two levels too dark
            # (39 dB against 54 dB), for a fifth of the time. PyAV before 15 cannot ask for them.
            self._interpolation |= Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

    def scale(self, image: Yuv420, height_px: int, width_px: int) -> Pixels:
        """uint8, (height_px, width_px, 3), red first, contiguous."""
        # The "j" format is how every version of PyAV is told of the full range.
        layout = "yuvj420p" if image.is_full_range else "yuv420p"
        source = self._frame_of(image.size, layout)
        for plane, pixels in zip(source.planes, (image.y, image.u, image.v), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            rows[: pixels.shape[0], : pixels.shape[1]] = pixels
        scaled = self._reformatter.reformat(
            source,
            width=width_px,
            height=height_px,
            format="rgb24",
            src_colorspace=Colorspace.ITU709 if image.is_bt709 else Colorspace.ITU601,
            interpolation=self._interpolation,
        )
        [plane] = scaled.planes
        rows = np.frombuffer(memoryview(plane), np.uint8)[: height_px * plane.line_size]
        padded = rows.reshape(height_px, plane.line_size)[:, : width_px * 3]
        return np.ascontiguousarray(padded).reshape(height_px, width_px, 3)

    def _frame_of(self, size: tuple[int, int], layout: str) -> av.VideoFrame:
        height_px, width_px = size
        frame = self._frame
        if frame is None or (frame.height, frame.width) != size or frame.format.name != layout:
            frame = self._frame = av.VideoFrame(width_px, height_px, layout)
        return frame
