"""YUV to the RGB that people and JPEG files want."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from device.core.images import Image, Rgb

FRACTION_BITS = 5
"""As many as int16 leaves room for: 255 * 1.164 + 128 * 2.112, times 32, is under 32768."""

KR_KB = {False: (0.299, 0.114), True: (0.2126, 0.0722)}
"""Weights of red and blue in luma, by `is_bt709`. Sources: ITU-R BT.601-7, BT.709-6."""

Table = NDArray[np.int16]


def to_rgb(image: Image) -> Rgb:
    """The same picture as `Rgb`; an `Rgb` comes back as it is.

    Each 2 by 2 pixels share one chroma value, as decoders do it when nothing is scaled. Within one
    level of the standard's matrix.
    """
    if isinstance(image, Rgb):
        return image
    height_px, width_px = image.size
    luma, red_v, green_u, green_v, blue_u = _tables(image.is_full_range, image.is_bt709)
    bright = luma[image.y]
    pixels = np.empty((height_px, width_px, 3), np.uint8)
    for channel, chroma in enumerate(
        (red_v[image.v], green_u[image.u] + green_v[image.v], blue_u[image.u])
    ):
        full = chroma.repeat(2, axis=0)[:height_px].repeat(2, axis=1)[:, :width_px]
        full += bright
        full >>= FRACTION_BITS
        np.clip(full, 0, 255, out=full)
        pixels[:, :, channel] = full
    return Rgb(pixels)


@cache
def _tables(is_full_range: bool, is_bt709: bool) -> tuple[Table, Table, Table, Table, Table]:
    """What each byte adds: luma to all (rounding included), V to red, U and V to green, U to
    blue; fixed point."""
    kr, kb = KR_KB[is_bt709]
    kg = 1.0 - kr - kb
    level = np.arange(256, dtype=np.float64)
    luma = level if is_full_range else (level - 16.0) * (255.0 / 219.0)
    chroma = (level - 128.0) * (1.0 if is_full_range else 255.0 / 224.0)
    one = float(1 << FRACTION_BITS)
    scaled = (
        luma * one + one / 2,
        chroma * one * 2 * (1 - kr),
        chroma * one * -2 * kb * (1 - kb) / kg,
        chroma * one * -2 * kr * (1 - kr) / kg,
        chroma * one * 2 * (1 - kb),
    )
    luma_add, red_v, green_u, green_v, blue_u = (np.rint(each).astype(np.int16) for each in scaled)
    return luma_add, red_v, green_u, green_v, blue_u
