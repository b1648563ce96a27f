"""Tests of fit, scaling, colour order and numbers."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from device.core.bundle import InputSpec
from device.core.images import Pixels, Rectangle, Rgb, Yuv420, cut
from device.errors import ModelError
from device.inference.preprocessing import Preprocessor, centre_crop, tensor_table
from device.ports import TensorInfo

SPEC = InputSpec(
    height_px=224,
    width_px=224,
    fit="squash",
    colours="rgb",
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
)
SMALL = replace(SPEC, height_px=2, width_px=2)


def tensor(
    dtype: type, scale: float = 0.0, zero_point: int = 0, size: tuple[int, int] = (224, 224)
) -> TensorInfo:
    return TensorInfo("image", (1, *size, 3), np.dtype(dtype), scale, zero_point)


INT8 = tensor(np.int8, 1 / 128, -1)


def scene(height: int, width: int) -> Pixels:
    """Soft shapes and hard edges, in colour."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 127 + 100 * np.sin(x / 37) * np.cos(y / 23)
    green = np.where((x // 90 + y // 70) % 2, 200.0, 60.0)
    blue = 255 * x / width
    return to_levels(np.stack([red, green, blue], axis=2))


def to_levels(real: NDArray[np.float64]) -> Pixels:
    levels: Pixels = np.clip(np.rint(real), 0, 255).astype(np.uint8)
    return levels


def to_yuv(pixels: Pixels, is_full_range: bool, is_bt709: bool) -> Yuv420:
    """By the definition of the matrices (ITU-R BT.601, BT.709), chroma averaged."""
    kr, kb = (0.2126, 0.0722) if is_bt709 else (0.299, 0.114)
    red, green, blue = (pixels[..., each].astype(np.float64) for each in range(3))
    y = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    if not is_full_range:
        y, u, v = y * 219 / 255 + 16, u * 224 / 255, v * 224 / 255

    def halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        even = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="edge")
        height, width = even.shape
        mean: NDArray[np.float64] = even.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        return mean + 128

    luma, blue_part, red_part = (to_levels(each) for each in (y, halved(u), halved(v)))
    return Yuv420(luma, blue_part, red_part, is_full_range=is_full_range, is_bt709=is_bt709)


def by_pillow(pixels: Pixels) -> Pixels:
    scaled = PIL.Image.fromarray(pixels).resize((224, 224), PIL.Image.Resampling.BILINEAR)
    return np.asarray(scaled)


def psnr_db(one: Pixels, other: Pixels) -> float:
    error = ((one.astype(np.float64) - other.astype(np.float64)) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("is_bt709", [False, True])
def test_yuv_scales_to_what_pillow_makes_of_the_same_colours(
    is_full_range: bool, is_bt709: bool
) -> None:
    pixels = scene(720, 1280)
    found = Preprocessor(SPEC, INT8).pixels(to_yuv(pixels, is_full_range, is_bt709))
    assert psnr_db(found, by_pillow(pixels)) >= 38
    assert np.abs(found.mean((0, 1)) - by_pillow(pixels).mean((0, 1))).max() < 1.5


def test_taking_limited_range_for_full_would_be_seen() -> None:
    pixels = scene(720, 1280)
    limited = to_yuv(pixels, is_full_range=False, is_bt709=False)
    wrong = Yuv420(limited.y, limited.u, limited.v, is_full_range=True)
    found = Preprocessor(SPEC, INT8).pixels(wrong)
    assert psnr_db(found, by_pillow(pixels)) < 38


def test_rgb_scales_to_what_pillow_makes_of_it() -> None:
    pixels = scene(720, 1280)
    assert psnr_db(Preprocessor(SPEC, INT8).pixels(Rgb(pixels)), by_pillow(pixels)) >= 38


@pytest.mark.parametrize("period_px", [2, 4])
@pytest.mark.parametrize("is_yuv", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_fine_stripes_become_grey(period_px: int, is_yuv: bool, axis: int) -> None:
    line = np.where(np.arange(1280 if axis else 720) % period_px < period_px // 2, 255, 0)
    grey = np.broadcast_to(line if axis else line[:, np.newaxis], (720, 1280))
    pixels = np.repeat(grey.astype(np.uint8)[..., np.newaxis], 3, axis=2)
    image = to_yuv(pixels, is_full_range=True, is_bt709=False) if is_yuv else Rgb(pixels)
    assert Preprocessor(SPEC, INT8).pixels(image).std() <= 10


@pytest.mark.parametrize("size", [(721, 1281), (225, 223), (100, 60), (3, 5), (1, 1)])
def test_odd_and_small_yuv_images_scale(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), (200, 100, 50), np.uint8)
    found = Preprocessor(SPEC, INT8).pixels(to_yuv(pixels, is_full_range=True, is_bt709=False))
    assert found.shape == (224, 224, 3)
    assert np.abs(found.astype(int) - (200, 100, 50)).max() <= 3


def test_one_preprocessor_takes_images_of_changing_size_and_layout() -> None:
    preprocessor = Preprocessor(SPEC, INT8)
    for size in ((720, 1280), (480, 640), (720, 1280)):
        pixels = scene(*size)
        for image in (to_yuv(pixels, True, False), to_yuv(pixels, False, True), Rgb(pixels)):
            assert psnr_db(preprocessor.pixels(image), by_pillow(pixels)) >= 36


def test_a_region_is_a_view_with_a_stride_and_scales_as_its_copy_does() -> None:
    box = Rectangle(top=0.25, left=0.5, bottom=0.75, right=1.0)
    pixels = scene(720, 1280)
    preprocessor = Preprocessor(SPEC, INT8)
    for image in (Rgb(pixels), to_yuv(pixels, True, False)):
        part = cut(image, box)
        found = preprocessor.pixels(part)
        assert psnr_db(found, by_pillow(pixels[180:540, 640:1280])) >= 36


def test_an_image_of_the_models_size_is_left_as_it_is() -> None:
    pixels = scene(224, 224)
    assert np.array_equal(Preprocessor(SPEC, INT8).pixels(Rgb(pixels)), pixels)


def test_crop_takes_the_largest_centre_of_the_models_aspect() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, 100:200] = 255
    found = centre_crop(Rgb(pixels), 224, 224)
    assert found.size == (100, 100)
    assert isinstance(found, Rgb)
    assert found.pixels.min() == 255
    assert centre_crop(Rgb(pixels), 50, 150).size == (100, 300)


def test_crop_of_yuv_keeps_luma_and_chroma_together() -> None:
    spec = replace(SPEC, fit="crop")
    pixels = scene(720, 1280)
    found = Preprocessor(spec, INT8).pixels(to_yuv(pixels, True, False))
    assert psnr_db(found, by_pillow(pixels[:, 280:1000])) >= 38


def test_bgr_turns_the_colours_round() -> None:
    pixels = np.broadcast_to(np.array([10, 20, 30], np.uint8), (2, 2, 3)).copy()
    spec = replace(SMALL, colours="bgr", mean=(0.0,) * 3, std=(1.0,) * 3)
    found = Preprocessor(spec, tensor(np.uint8, 1.0, 0, (2, 2))).tensor(Rgb(pixels))
    assert found.shape == (1, 2, 2, 3)
    assert found[0, 0, 0].tolist() == [30, 20, 10]


def test_int8_of_the_embedded_kind_is_each_level_less_128() -> None:
    table = tensor_table(SPEC, INT8)
    assert (table == np.arange(256) - 128).all()


def test_uint8_with_a_half_for_a_mean_still_gives_each_level_a_number_of_its_own() -> None:
    spec = replace(SPEC, mean=(127.5,) * 3, std=(127.5,) * 3)
    table = tensor_table(spec, tensor(np.uint8, 2 / 255, 127))
    assert (np.diff(table[0].astype(int)) == 1).sum() >= 254


def test_plain_pixels_go_in_by_the_short_way_with_the_numbers_of_the_long_one() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
    found = Preprocessor(SPEC, INT8).tensor(Rgb(pixels))
    assert found.dtype == np.int8
    assert np.array_equal(found[0], tensor_table(SPEC, INT8)[0][pixels])


def test_colours_may_have_means_of_their_own() -> None:
    spec = replace(SMALL, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    pixels = np.full((2, 2, 3), 50, np.uint8)
    floats = Preprocessor(spec, tensor(np.float32, size=(2, 2))).tensor(Rgb(pixels))
    assert floats.dtype == np.float32
    assert floats[0, 0, 0].tolist() == [20.0, 7.5, 2.5]
    whole = Preprocessor(spec, tensor(np.int8, 0.5, 3, (2, 2))).tensor(Rgb(pixels))
    assert whole[0, 0, 0].tolist() == [43, 18, 8]


def test_numbers_beyond_the_dtype_stop_at_its_ends() -> None:
    spec = replace(SPEC, mean=(0.0,) * 3, std=(1.0,) * 3)
    table = tensor_table(spec, tensor(np.int8, 1.0, 0))
    assert (table.min(), table.max()) == (0, 127)


def test_an_integer_input_without_quantization_takes_the_levels() -> None:
    spec = replace(SPEC, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert (tensor_table(spec, tensor(np.uint8))[0] == np.arange(256)).all()


@pytest.mark.parametrize(
    "info",
    [
        tensor(np.uint8, 1.0, 0, (192, 224)),
        TensorInfo("image", (1, 3, 224, 224), np.dtype(np.uint8), 1.0, 0),
        TensorInfo("image", (4, 224, 224, 3), np.dtype(np.uint8), 1.0, 0),
        TensorInfo("image", (1, 1000), np.dtype(np.uint8), 1.0, 0),
        tensor(np.int32),
    ],
)
def test_a_tensor_that_does_not_take_the_image_is_refused(info: TensorInfo) -> None:
    with pytest.raises(ModelError, match="want"):
        Preprocessor(SPEC, info)
