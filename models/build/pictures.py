"""The free pictures that a bundle's check and the demo look at, cut from those in packages."""

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from models.build.views import WheelPicture

LONG_SIDE_PX = 640
JPEG_QUALITY = 88
DEMO_SIZE_PX = (640, 480)  # (width, height), as Pillow has it


class FreePicture(NamedTuple):
    """A picture to be written as `name`; `box` is (left, top, right, bottom) of its original."""

    name: str
    original: WheelPicture
    box: tuple[int, int, int, int] | None = None


CHELSEA = WheelPicture("skimage", "data/chelsea.png")
COFFEE = WheelPicture("skimage", "data/coffee.png")
CAMERA = WheelPicture("skimage", "data/camera.png")
ROCKET = WheelPicture("skimage", "data/rocket.jpg")
CHINA = WheelPicture("sklearn.datasets", "images/china.jpg")
FLOWER = WheelPicture("sklearn.datasets", "images/flower.jpg")

GOLDEN = (
    FreePicture("chelsea.jpg", CHELSEA),
    FreePicture("coffee.jpg", COFFEE),
    FreePicture("rocket.jpg", ROCKET, (229, 8, 568, 297)),
    FreePicture("tripod.jpg", CAMERA),
)
DEMO = (
    FreePicture("cat.jpg", CHELSEA, (9, 0, 409, 300)),
    FreePicture("coffee.jpg", COFFEE, (58, 1, 590, 400)),
    FreePicture("rocket.jpg", ROCKET, (56, 8, 612, 425)),
    FreePicture("tripod.jpg", CAMERA, (0, 48, 512, 432)),
    FreePicture("pavilion.jpg", CHINA, (87, 30, 559, 384)),
)


def write_golden_pictures(folder: Path) -> None:
    """Write the pictures of `GOLDEN`, at most 640 px long, into `folder`."""
    for picture in GOLDEN:
        part = _part(picture)
        part.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX), Image.Resampling.BICUBIC)
        _write(part, folder / picture.name)


def write_demo_pictures(folder: Path) -> None:
    """Write the pictures of `DEMO`, each 640x480 like a camera's, into `folder`."""
    for picture in DEMO:
        frame = _part(picture).resize(DEMO_SIZE_PX, Image.Resampling.BICUBIC)
        _write(frame, folder / picture.name)


def _part(picture: FreePicture) -> Image.Image:
    original = picture.original.load()
    return original if picture.box is None else original.crop(picture.box)


def _write(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "JPEG", quality=JPEG_QUALITY)
