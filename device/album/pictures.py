"""Pictures as JPEG files, with what the box looked at drawn on them."""

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
OUTLINE = (0, 0, 0)
GREY = (110, 110, 110)


def jpeg(image: Image, quality: int = QUALITY, long_side_px: int | None = None) -> bytes:
    """A JPEG of `image`, no longer than `long_side_px`; never enlarged."""
    return _encode(_picture(image, long_side_px), quality)


def jpeg_of_region(image: Image, region: str, box: Rectangle, long_side_px: int) -> bytes:
    """`jpeg` with one thin rectangle around the region, unless that is the whole frame."""
    picture = _picture(image, long_side_px)
    if not box.is_whole:
        _draw_region(picture, region, box, "", LINES[0])
    return _encode(picture, QUALITY)


def draw_regions(
    image: Image,
    regions: Sequence[tuple[str, Rectangle, str]],
    masks: Sequence[Rectangle] = (),
) -> bytes:
    """A JPEG for aiming: regions (name, place, caption) framed and named, masks hatched grey."""
    picture = _picture(image, None)
    for mask in masks:
        _hatch(picture, mask)
    for row, (name, box, caption) in enumerate(regions):
        _draw_region(picture, name, box, caption, LINES[row % len(LINES)])
    return _encode(picture, QUALITY)


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


def _draw_region(
    picture: PilImage.Image, name: str, box: Rectangle, caption: str, line: tuple[int, int, int]
) -> None:
    draw = ImageDraw.Draw(picture)
    width_px, height_px = picture.size
    top, left, bottom, right = box.in_pixels(height_px, width_px)
    thick_px = _line_px(picture)
    place = (left, top, right - 1, bottom - 1)
    draw.rectangle(place, outline=OUTLINE, width=thick_px + 1)
    draw.rectangle(place, outline=line, width=thick_px)
    size_px = max(min(height_px // 26, 48), 10)
    font = _font(size_px)
    gap_px = thick_px + size_px // 3
    at = (left + gap_px, top + gap_px)
    for text in (name, caption):
        if not text:
            continue
        draw.text(
            at, text, fill=line, font=font, stroke_width=max(size_px // 10, 1), stroke_fill=OUTLINE
        )
        at = (at[0], at[1] + round(size_px * 1.3))


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
