"""Pictures inside installed packages, and the views of them that calibrate and evaluate a network.

No picture is fetched: those of scikit-image's and scikit-learn's wheels must do. A view is uint8
[224, 224, 3], RGB.
"""

from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

View = npt.NDArray[np.uint8]

MEAN = 127.0
STD = 128.0


class WheelPicture(NamedTuple):
    """A picture that a Python package brings along."""

    package: str
    path: str

    def load(self) -> Image.Image:
        """Return the picture as RGB."""
        content = files(self.package).joinpath(self.path).read_bytes()
        with Image.open(BytesIO(content)) as picture:
            return picture.convert("RGB")


SCIKIT_IMAGE_NAMES = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "color.png",
    "grass.png",
    "gravel.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
)
WHEEL_PICTURES = (
    *(WheelPicture("skimage", f"data/{name}") for name in SCIKIT_IMAGE_NAMES),
    WheelPicture("sklearn.datasets", "images/china.jpg"),
    WheelPicture("sklearn.datasets", "images/flower.jpg"),
)


def normalize(view: View) -> npt.NDArray[np.float32]:
    """Return float32 [1, height, width, 3], about -1 to 1, as the network wants its input."""
    return ((view.astype(np.float32) - MEAN) / STD)[None]


def squash(picture: Image.Image, size_px: int) -> View:
    """The whole picture, its aspect given up: what a region is on the box."""
    return np.asarray(picture.resize((size_px, size_px), Image.Resampling.BILINEAR))


def crop_centre(picture: Image.Image, size_px: int) -> View:
    """The largest square in the middle of the picture."""
    side_px = min(picture.size)
    left_px, top_px = ((length_px - side_px) // 2 for length_px in picture.size)
    box = (left_px, top_px, left_px + side_px, top_px + side_px)
    return squash(picture.crop(box), size_px)


def calibration_views(
    pictures: Sequence[Image.Image], views_per_picture: int, size_px: int, seed: int
) -> list[View]:
    """Whole pictures, random parts of them in changed light, and one ramp of every value.

    The ramp makes the input range exactly -127/128 to 1, whatever the pictures hold: so the scale
    is 1/128 and the zero point -1, and a pixel becomes its int8 by flipping one bit.
    """
    random = np.random.default_rng(seed)
    views = [_ramp(size_px)]
    for picture in pictures:
        views.append(squash(picture, size_px))
        for _ in range(views_per_picture - 1):
            views.append(squash(_relight(_random_part(picture, 0.15, random), random), size_px))
    return views


def evaluation_views(
    pictures: Sequence[Image.Image], views_per_picture: int, size_px: int, seed: int
) -> Iterator[View]:
    """Random parts of the pictures, in their own light; with another seed than the calibration's,
    none of its views is among them."""
    random = np.random.default_rng(seed)
    for picture in pictures:
        for _ in range(views_per_picture):
            yield squash(_random_part(picture, 0.25, random), size_px)


def _ramp(size_px: int) -> View:
    ramp = np.zeros((size_px, size_px, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, size_px)[None, :]
    ramp[..., 1] = np.linspace(0, 255, size_px)[:, None]
    ramp[..., 2] = 255 - ramp[..., 0]
    return ramp


def _random_part(
    picture: Image.Image, smallest_share: float, random: np.random.Generator
) -> Image.Image:
    """A rectangle of `smallest_share` to all of the area, 3:4 to 4:3, half of the time mirrored."""
    width_px, height_px = picture.size
    part = picture
    for _ in range(10):
        area_px = width_px * height_px * random.uniform(smallest_share, 1.0)
        aspect = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
        part_width_px, part_height_px = (
            round((area_px * aspect) ** 0.5),
            round((area_px / aspect) ** 0.5),
        )
        if part_width_px <= width_px and part_height_px <= height_px:
            left_px = int(random.integers(0, width_px - part_width_px + 1))
            top_px = int(random.integers(0, height_px - part_height_px + 1))
            part = picture.crop((left_px, top_px, left_px + part_width_px, top_px + part_height_px))
            break
    if random.random() < 0.5:
        return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return part


def _relight(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    changes: tuple[tuple[Callable[[Image.Image], Any], float, float], ...] = (
        (ImageEnhance.Brightness, 0.6, 1.5),
        (ImageEnhance.Contrast, 0.6, 1.5),
        (ImageEnhance.Color, 0.4, 1.6),
    )
    for change, least, most in changes:
        if random.random() < 0.5:
            picture = change(picture).enhance(random.uniform(least, most))
    return picture
