"""Rectangles of a frame, and cuts that copy nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.images import WHOLE, Rectangle, Rgb, Yuv420, cut

SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda pair: pair[0] != pair[1])
BOXES = st.tuples(SHARES, SHARES).map(
    lambda pairs: Rectangle(
        top=min(pairs[0]), bottom=max(pairs[0]), left=min(pairs[1]), right=max(pairs[1])
    )
)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def yuv(height_px: int, width_px: int) -> Yuv420:
    half = ((height_px + 1) // 2, (width_px + 1) // 2)
    y = np.arange(height_px * width_px).astype(np.uint8).reshape(height_px, width_px)
    u = np.arange(half[0] * half[1]).astype(np.uint8).reshape(half)
    return Yuv420(y, u, u + 1, is_full_range=True, is_bt709=True)


@pytest.mark.parametrize(
    "sides",
    [(0.5, 0, 0.5, 1), (0, 0.6, 1, 0.5), (-0.1, 0, 1, 1), (0, 0, 1.1, 1), (float("nan"), 0, 1, 1)],
)
def test_a_rectangle_outside_the_frame_or_without_a_size_is_refused(
    sides: tuple[float, float, float, float],
) -> None:
    top, left, bottom, right = sides
    with pytest.raises(ValueError, match="want 0 <= top < bottom <= 1"):
        Rectangle(top=top, left=left, bottom=bottom, right=right)


@given(box=BOXES, size=SIZES)
def test_a_rectangle_in_pixels_is_inside_the_frame_and_never_empty(
    box: Rectangle, size: tuple[int, int]
) -> None:
    top, left, bottom, right = box.in_pixels(*size)
    assert 0 <= top < bottom <= size[0]
    assert 0 <= left < right <= size[1]


@given(size=SIZES)
def test_the_whole_frame_is_all_of_its_pixels(size: tuple[int, int]) -> None:
    assert WHOLE.in_pixels(*size) == (0, 0, *size)


def test_halves_meet_without_a_gap() -> None:
    upper = Rectangle(top=0, left=0, bottom=0.5, right=1)
    lower = Rectangle(top=0.5, left=0, bottom=1, right=1)
    assert upper.in_pixels(720, 10)[2] == lower.in_pixels(720, 10)[0] == 360


def test_cutting_the_whole_frame_gives_the_frame() -> None:
    image = Rgb(np.zeros((4, 6, 3), np.uint8))
    assert cut(image, Rectangle(top=0, left=0, bottom=1, right=1)) is image


def test_a_cut_is_a_view() -> None:
    image = Rgb(np.zeros((10, 10, 3), np.uint8))
    part = cut(image, Rectangle(top=0.5, left=0.2, bottom=1, right=0.6))
    assert part.size == (5, 4)
    image.pixels[5, 2] = 9
    assert isinstance(part, Rgb)
    assert part.pixels[0, 0, 0] == 9


@given(box=BOXES, size=SIZES)
def test_luma_and_chroma_of_a_cut_stay_aligned(box: Rectangle, size: tuple[int, int]) -> None:
    image = yuv(*size)
    part = cut(image, box)
    assert isinstance(part, Yuv420)
    height_px, width_px = part.size
    assert part.u.shape == part.v.shape == ((height_px + 1) // 2, (width_px + 1) // 2)
    assert (part.is_full_range, part.is_bt709) == (True, True)
    top, left, bottom, right = box.in_pixels(*size)
    assert height_px >= bottom - top
    assert width_px >= right - left
    row, column = (top & ~1) // 2, (left & ~1) // 2
    assert part.y[0, 0] == image.y[top & ~1, left & ~1]
    assert part.u[0, 0] == image.u[row, column]
