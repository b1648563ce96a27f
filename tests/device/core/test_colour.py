"""YUV to RGB, against what a decoder's own converter makes of it."""

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from device.core.colour import to_rgb
from device.core.images import Pixels, Rectangle, Rgb, Yuv420, cut


def smooth_picture(height_px: int, width_px: int, is_full_range: bool, is_bt709: bool) -> Yuv420:
    """Every luma beside many chromas, within the range that real pictures keep to."""
    rows, columns = np.mgrid[0:height_px, 0:width_px]
    low, high = (0, 255) if is_full_range else (16, 235)
    y = low + (rows * 7 + columns * 3) % (high - low + 1)
    half_rows, half_columns = np.mgrid[0 : (height_px + 1) // 2, 0 : (width_px + 1) // 2]
    u = 16 + (half_rows * 5 + half_columns * 11) % 225
    v = 16 + (half_rows * 13 + half_columns * 3) % 225
    return Yuv420(
        y.astype(np.uint8), u.astype(np.uint8), v.astype(np.uint8), is_full_range, is_bt709
    )


def by_swscale(image: Yuv420) -> Pixels:
    height_px, width_px = image.size
    frame = av.VideoFrame(width_px, height_px, "yuv420p")
    for plane, values in zip(frame.planes, (image.y, image.u, image.v), strict=True):
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : plane.width] = values
        plane.update(padded.tobytes())
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU709 if image.is_bt709 else Colorspace.ITU601,
        dst_colorspace=Colorspace.ITU709 if image.is_bt709 else Colorspace.ITU601,
        src_color_range=ColorRange.JPEG if image.is_full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    )
    return converted.to_ndarray().astype(np.uint8)


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("is_bt709", [False, True])
def test_colours_are_swscale_s(is_full_range: bool, is_bt709: bool) -> None:
    """Within three levels: where we round, its fast path cuts off."""
    image = smooth_picture(96, 128, is_full_range, is_bt709)
    apart = np.abs(to_rgb(image).pixels.astype(int) - by_swscale(image))
    assert apart.max() <= 3
    assert apart.mean() < 1


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("is_bt709", [False, True])
def test_colours_are_the_standard_s_within_one_level(is_full_range: bool, is_bt709: bool) -> None:
    """Against the matrix of ITU-R BT.601-7 or BT.709-6, solved in floating point."""
    image = smooth_picture(96, 128, is_full_range, is_bt709)
    kr, kb = (0.2126, 0.0722) if is_bt709 else (0.299, 0.114)
    weights = np.array([kr, 1 - kr - kb, kb])
    matrix = np.array(
        [weights, ([0, 0, 1] - weights) / (2 * (1 - kb)), ([1, 0, 0] - weights) / (2 * (1 - kr))]
    )
    chroma = np.stack([image.u, image.v], axis=-1).repeat(2, axis=0).repeat(2, axis=1) - 128.0
    luma = image.y.astype(float)
    if not is_full_range:
        luma, chroma = (luma - 16) * 255 / 219, chroma * 255 / 224
    wanted = np.dstack([luma, chroma]) @ np.linalg.inv(matrix).T
    assert np.abs(to_rgb(image).pixels - np.clip(wanted, 0, 255)).max() <= 1


@pytest.mark.parametrize(
    ("yuv", "rgb"),
    [
        ((16, 128, 128), (0, 0, 0)),
        ((235, 128, 128), (255, 255, 255)),
        ((81, 90, 240), (255, 0, 0)),
        ((145, 54, 34), (0, 255, 0)),
        ((41, 240, 110), (0, 0, 255)),
    ],
)
def test_the_colour_bars_of_bt601_come_out_pure(
    yuv: tuple[int, int, int], rgb: tuple[int, int, int]
) -> None:
    y, u, v = (np.full((2, 2), value, np.uint8) for value in yuv)
    pixel = to_rgb(Yuv420(y, u[:1, :1], v[:1, :1])).pixels[0, 0].astype(int)
    assert np.abs(pixel - rgb).max() <= 2


@pytest.mark.parametrize("is_full_range", [False, True])
def test_no_byte_overflows(is_full_range: bool) -> None:
    ends = np.array([0, 255], np.uint8)
    for y, u, v in np.array(np.meshgrid(ends, ends, ends)).T.reshape(-1, 3):
        one = np.ones((1, 1), np.uint8)
        image = Yuv420(one * y, one * u, one * v, is_full_range)
        luma = to_rgb(image).pixels[0, 0].astype(float) @ (0.299, 0.587, 0.114)
        assert (luma > 127) == (y == 255)


def test_odd_sizes_and_padded_views_are_read_right() -> None:
    image = smooth_picture(97, 131, True, False)
    whole = to_rgb(image).pixels
    assert whole.shape == (97, 131, 3)
    part = cut(image, Rectangle(top=0.5, left=0.5, bottom=1, right=1))
    assert np.array_equal(to_rgb(part).pixels, whole[48:, 64:])


def test_rgb_comes_back_as_it_is() -> None:
    image = Rgb(np.zeros((2, 2, 3), np.uint8))
    assert to_rgb(image) is image
