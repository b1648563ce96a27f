"""JPEG files that people look at."""

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage

from device.album.pictures import draw_regions, jpeg, jpeg_of_region, png_of
from device.core.images import WHOLE, Image, Rectangle, Rgb, Yuv420

HALF = Rectangle(top=0.25, left=0.25, bottom=0.75, right=0.75)


def flat(height_px: int, width_px: int, colour: tuple[int, int, int] = (40, 90, 60)) -> Rgb:
    return Rgb(np.full((height_px, width_px, 3), colour, np.uint8))


def read(content: bytes) -> NDArray[np.int64]:
    with PilImage.open(BytesIO(content)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture).astype(int)


def changed(content: bytes, image: Rgb) -> NDArray[np.bool_]:
    """Where something was drawn."""
    apart: NDArray[np.int64] = np.abs(read(content) - image.pixels).max(axis=2)
    return apart > 40


def test_a_jpeg_keeps_the_colours() -> None:
    image = flat(60, 80)
    assert np.abs(read(jpeg(image)) - image.pixels).max() <= 3


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("is_bt709", [False, True])
def test_a_jpeg_of_yuv_has_its_grey_where_the_range_says(
    is_full_range: bool, is_bt709: bool
) -> None:
    level, chroma = np.full((60, 80), 235, np.uint8), np.full((30, 40), 128, np.uint8)
    image: Image = Yuv420(level, chroma, chroma, is_full_range, is_bt709)
    assert abs(read(jpeg(image)).mean() - (235 if is_full_range else 255)) < 1


@pytest.mark.parametrize(
    ("size", "long_side_px", "wanted"),
    [
        ((720, 1280), 640, (360, 640)),
        ((1280, 720), 640, (640, 360)),
        ((60, 80), 640, (60, 80)),
        ((2, 1000), 100, (1, 100)),
    ],
)
def test_a_picture_is_scaled_down_to_its_long_side_and_never_up(
    size: tuple[int, int], long_side_px: int, wanted: tuple[int, int]
) -> None:
    assert read(jpeg(flat(*size), long_side_px=long_side_px)).shape[:2] == wanted


def test_better_quality_is_a_larger_file() -> None:
    noise = Rgb(np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8))
    assert len(jpeg(noise, quality=95)) > len(jpeg(noise, quality=50))


def test_a_region_is_framed_thinly_and_the_picture_inside_is_left_alone() -> None:
    image = flat(240, 320)
    where = changed(jpeg_of_region(image, "", HALF, 1280), image)
    assert where[60, 100:220].all()
    assert where[100:150, 80].all()
    assert not where[80:160, 100:220].any()
    assert not where[:50].any()


def test_the_whole_frame_needs_no_frame() -> None:
    image = flat(240, 320)
    assert not changed(jpeg_of_region(image, "whole", WHOLE, 1280), image).any()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_caption_can_be_read_on_dark_and_on_bright(level: int) -> None:
    image = flat(480, 640, (level, level, level))
    where = changed(draw_regions(image, [("feeder", HALF, "cat 0.83")]), image)
    inside = where[130:180, 170:400]
    assert 0.02 < inside.mean() < 0.6
    assert not where[250:350, 180:470].any()


def test_more_is_drawn_for_a_caption_than_without() -> None:
    image = flat(480, 640)
    named = changed(draw_regions(image, [("feeder", HALF, "")]), image).sum()
    captioned = changed(draw_regions(image, [("feeder", HALF, "cat 0.83, dog 0.11")]), image).sum()
    assert captioned > named + 300


def test_texts_of_regions_in_the_same_corner_stand_clear_of_each_other() -> None:
    image = flat(480, 640)
    boxes = [Rectangle(top=0.1, left=0.1, bottom=share, right=share) for share in (0.9, 0.8, 0.7)]
    regions = [(f"region{row}", box, "cat 0.83") for row, box in enumerate(boxes)]
    together = lit(draw_regions(image, regions), image)
    alone = [lit(draw_regions(image, [each]), image) for each in regions]
    assert together > 0.9 * sum(alone)


def lit(content: bytes, image: Rgb) -> int:
    """How much is written in the upper left corner, beside the frames."""
    return int(changed(content, image)[56:280, 72:300].sum())


def test_a_text_in_the_lowest_corner_moves_up_and_one_at_the_right_moves_in() -> None:
    image = flat(480, 640)
    corner = Rectangle(top=0.9, left=0.95, bottom=1.0, right=1.0)
    once = changed(draw_regions(image, [("gate", corner, "cat 0.83")]), image)
    twice = changed(draw_regions(image, [("gate", corner, "cat 0.83")] * 2), image)
    assert once[432:, 500:600].any()
    assert not once[:420].any()
    assert twice[380:425, 500:].any()


def test_no_text_is_lost_where_there_is_no_room_left() -> None:
    crowd = [(f"region{row}", HALF, "cat 0.83") for row in range(60)]
    assert changed(draw_regions(flat(120, 160), crowd), flat(120, 160)).any()


def test_a_png_holds_the_jpegs_pixels() -> None:
    content = jpeg(flat(60, 80))
    with PilImage.open(BytesIO(png_of(content))) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture).astype(int), read(content))


def test_regions_have_colours_of_their_own() -> None:
    image = flat(480, 640)
    left = Rectangle(top=0.1, left=0.1, bottom=0.9, right=0.4)
    right = Rectangle(top=0.1, left=0.6, bottom=0.9, right=0.9)
    drawn = read(draw_regions(image, [("", left, ""), ("", right, "")]))
    edges = drawn[240, 64:68].max(axis=0), drawn[240, 384:388].max(axis=0)
    assert np.abs(edges[0] - edges[1]).max() > 80


def test_a_mask_is_greyed_and_hatched_and_still_shows_a_little() -> None:
    image = flat(240, 320, (200, 30, 30))
    drawn = read(draw_regions(image, [], [HALF]))
    masked, seen = drawn[70:170, 90:230], drawn[:50]
    assert np.ptp(masked.mean(axis=(0, 1))) < 60
    assert masked.std() > 5
    assert np.abs(seen - np.array([200, 30, 30])).max() < 10


def test_names_in_any_script_do_not_stop_it() -> None:
    assert draw_regions(flat(100, 100), [("füchse-狐", WHOLE, "🦊 0.5")])


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (9, 300)])
def test_tiny_pictures_can_be_drawn_on(size: tuple[int, int]) -> None:
    drawn = read(draw_regions(flat(*size), [("a", HALF, "b")], [HALF]))
    assert drawn.shape[:2] == size
