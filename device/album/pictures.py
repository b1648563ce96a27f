"""Pictures as JPEG and PNG files, with what the box looked at drawn on them."""

from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO

from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from device.core.colour import to_rgb
from device.core.images import Image, Rectangle

QUALITY = 85
LINES = ((255, 210, 0), (0, 200, 255), (255, 90, 160), (130, 255, 90), (255, 140, 0))
"""Colours that show on grass, brick and night pictures alike; a region has one of them."""
Colour = tuple[int, int, int]
Block = tuple[int, int, int, int]
"""left, top, right, bottom in pixels, the last two outside."""
OUTLINE = (0, 0, 0)
GREY = (110, 110, 110)


def jpeg(image: Image, quality: int = QUALITY, long_side_px: int | None = None) -> bytes:
    """A JPEG of `image`, no longer than `long_side_px`; never enlarged."""
    return _encode(_picture(image, long_side_px), quality)


def jpeg_of_region(image: Image, region: str, box: Rectangle, long_side_px: int) -> bytes:
    """`jpeg` with one thin rectangle around the region, unless that is the whole frame."""
    picture = _picture(image, long_side_px)
    if not box.is_whole:
        _frame(picture, box, LINES[0])
        _write(picture, box, [region], LINES[0], [])
    return _encode(picture, QUALITY)


def draw_regions(
    image: Image,
    regions: Sequence[tuple[str, Rectangle, str]],
    masks: Sequence[Rectangle] = (),
) -> bytes:
    """A JPEG for aiming: regions (name, place, caption) framed and named, masks hatched grey.
    Texts stand clear of each other, and of later frames."""
    picture = _picture(image, None)
    for mask in masks:
        _hatch(picture, mask)
    lines = [LINES[row % len(LINES)] for row in range(len(regions))]
    for (_, box, _), line in zip(regions, lines, strict=True):
        _frame(picture, box, line)
    taken: list[Block] = []
    for (name, box, caption), line in zip(regions, lines, strict=True):
        taken.append(_write(picture, box, [name, caption], line, taken))
    return _encode(picture, QUALITY)


def png_of(content: bytes) -> bytes:
    """A PNG of the same pixels. content: a JPEG that the box has made."""
    buffer = BytesIO()
    with PilImage.open(BytesIO(content), formats=["JPEG"]) as picture:
        picture.save(buffer, "PNG")
    return buffer.getvalue()


def _picture(image: Image, long_side_px: int | None) -> PilImage.Image:
    picture = PilImage.fromarray(to_rgb(image).pixels)
    if long_side_px is not None and max(picture.size) > long_side_px:
        share = long_side_px / max(picture.size)
        width_px, height_px = (max(round(side * share), 1) for side in picture.size)
        picture = picture.resize(
            (width_px, height_px), PilImage.Resampling.BILINEAR, reducing_gap=2.0
        )
    return picture


def _encode(picture: PilImage.Image, quality: int) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _line_px(picture: PilImage.Image) -> int:
    return max(round(min(picture.size) / 240), 1)


def _frame(picture: PilImage.Image, box: Rectangle, line: Colour) -> None:
    width_px, height_px = picture.size
    top, left, bottom, right = box.in_pixels(height_px, width_px)
    thick_px = _line_px(picture)
    place = (left, top, right - 1, bottom - 1)
    draw = ImageDraw.Draw(picture)
    draw.rectangle(place, outline=OUTLINE, width=thick_px + 1)
    draw.rectangle(place, outline=line, width=thick_px)


def _write(
    picture: PilImage.Image,
    box: Rectangle,
    texts: Sequence[str],
    line: Colour,
    taken: Sequence[Block],
) -> Block:
    """Write `texts` below each other, in the region's upper left corner or as near below it as
    nothing of `taken` stands; where they stand now."""
    width_px, height_px = picture.size
    top, left, _, _ = box.in_pixels(height_px, width_px)
    size_px = max(min(height_px // 26, 48), 10)
    font = _font(size_px)
    gap_px = _line_px(picture) + size_px // 3
    stroke_px, step_px = max(size_px // 10, 1), round(size_px * 1.3)
    shown = [text for text in texts if text]
    wide_px = max((round(font.getbbox(text)[2]) for text in shown), default=0) + 2 * stroke_px
    left = max(min(left + gap_px, width_px - wide_px - gap_px), 0)
    block = (left, top + gap_px, left + wide_px, top + gap_px + step_px * len(shown))
    block = _free(block, taken, height_px)
    draw = ImageDraw.Draw(picture)
    for row, text in enumerate(shown):
        at = (block[0], block[1] + row * step_px)
        draw.text(at, text, fill=line, font=font, stroke_width=stroke_px, stroke_fill=OUTLINE)
    return block


def _free(wanted: Block, taken: Sequence[Block], height_px: int) -> Block:
    """`wanted`, moved down as far as it must, or else up from the picture's lower edge; where it
    is too full for both, `wanted` as it is."""
    left, top, right, bottom = wanted
    tall_px = bottom - top
    beside = [each for each in taken if each[0] < right and left < each[2]]
    below = [top, *sorted(each[3] for each in beside if each[3] > top)]
    above = sorted((each[1] - tall_px for each in beside if each[1] <= top + tall_px), reverse=True)
    for place in (*below, *above):
        is_free = all(each[3] <= place or place + tall_px <= each[1] for each in beside)
        if is_free and 0 <= place <= height_px - tall_px:
            return left, place, right, place + tall_px
    return wanted


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font; before 10.1 (Debian 12 has 9.4) that one comes in one small size."""
    try:
        return ImageFont.load_default(size_px)
    except TypeError:
        with suppress(OSError):
            return ImageFont.truetype("DejaVuSans.ttf", size_px)
        return ImageFont.load_default()


def _hatch(picture: PilImage.Image, mask: Rectangle) -> None:
    width_px, height_px = picture.size
    top, left, bottom, right = mask.in_pixels(height_px, width_px)
    veil = PilImage.new("RGB", (right - left, bottom - top), GREY)
    draw = ImageDraw.Draw(veil)
    step_px = max(min(picture.size) // 40, 4)
    for start in range(-veil.height, veil.width, step_px):
        draw.line((start, veil.height, start + veil.height, 0), fill=(60, 60, 60))
    there = picture.crop((left, top, right, bottom))
    picture.paste(PilImage.blend(there, veil, 0.75), (left, top))
