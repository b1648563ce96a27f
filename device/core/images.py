"""Pixels as values: a rectangle of a frame, and the two layouts in which sources give them."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """A part of the frame as shares of its height and width, 0.0 at the top left."""

    top: float
    left: float
    bottom: float
    right: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.top < self.bottom <= 1.0 and 0.0 <= self.left < self.right <= 1.0):
            raise ValueError(
                "want 0 <= top < bottom <= 1 and 0 <= left < right <= 1, got "
                f"[{self.top}, {self.left}, {self.bottom}, {self.right}]"
            )

    @property
    def is_whole(self) -> bool:
        return self == WHOLE

    def in_pixels(self, height_px: int, width_px: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) in whole pixels, at least one pixel each way."""
        top = min(int(self.top * height_px), height_px - 1)
        left = min(int(self.left * width_px), width_px - 1)
        bottom = max(round(self.bottom * height_px), top + 1)
        right = max(round(self.right * width_px), left + 1)
        return top, left, min(bottom, height_px), min(right, width_px)


WHOLE = Rectangle(top=0.0, left=0.0, bottom=1.0, right=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Rgb:
    """Interleaved colour.

    pixels: uint8, (height, width, 3), red first. May be a view with a padded stride.
    """

    pixels: Pixels

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Yuv420:
    """Planar YUV with chroma at half size each way, as decoders and the Pi's ISP give it.

    y: uint8, (height, width). u, v: uint8, ((height + 1) // 2, (width + 1) // 2).
    Planes may be views with a padded stride: the adapter has cut the padding off by the
    reported stride. `is_full_range`: luma spans 0 to 255 (JPEG), else 16 to 235.
    `is_bt709`: the BT.709 matrix, else BT.601.
    """

    y: Pixels
    u: Pixels
    v: Pixels
    is_full_range: bool = False
    is_bt709: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.y.shape[0], self.y.shape[1]


Image: TypeAlias = Rgb | Yuv420


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """What a camera saw at one moment; its arrays belong to the frame and never change.

    captured_ns: monotonic clock, when the exposure ended as well as the source can tell.
    sequence: grows by one with each frame that the source gave since it was opened.
    main: the large stream. small: the whole frame in the model's size where the source makes
    it free of charge (the Pi's ISP), else None.
    """

    sequence: int
    captured_ns: int
    main: Image
    small: Image | None = None


def cut(image: Image, box: Rectangle) -> Image:
    """The part of `image` inside `box`, as views: nothing is copied.

    In a Yuv420 the edges move outwards to even pixels, so that luma and chroma stay aligned.
    """
    if box.is_whole:
        return image
    height_px, width_px = image.size
    top, left, bottom, right = box.in_pixels(height_px, width_px)
    if isinstance(image, Rgb):
        return Rgb(image.pixels[top:bottom, left:right])
    top, left = top & ~1, left & ~1
    bottom, right = min((bottom + 1) & ~1, height_px), min((right + 1) & ~1, width_px)
    rows, columns = slice(top // 2, (bottom + 1) // 2), slice(left // 2, (right + 1) // 2)
    return Yuv420(
        image.y[top:bottom, left:right],
        image.u[rows, columns],
        image.v[rows, columns],
        is_full_range=image.is_full_range,
        is_bt709=image.is_bt709,
    )
