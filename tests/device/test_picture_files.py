"""Tests of reading picture files as a person sees them."""

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from device.errors import PictureError
from device.picture_files import PIXELS_MAX, read_picture
from tests.models_made import picture_of


def half_and_half() -> PIL.Image.Image:
    """8 by 4: red on the left, blue on the right."""
    picture = PIL.Image.new("RGB", (8, 4), (255, 0, 0))
    picture.paste((0, 0, 255), (4, 0, 8, 4))
    return picture


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it upright
    path = tmp_path / "turned.png"
    half_and_half().save(path, exif=exif)
    pixels = read_picture(path).pixels
    assert pixels.shape == (8, 4, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[7, 0].tolist() == [0, 0, 255]


def test_broken_exif_does_not_hide_a_whole_picture(tmp_path: Path) -> None:
    path = tmp_path / "exif.jpg"
    half_and_half().save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage")
    assert read_picture(path).size == (4, 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb_and_grey_stays_grey(tmp_path: Path, mode: str) -> None:
    suffix = {"CMYK": "tiff", "YCbCr": "jpg"}.get(mode, "png")
    path = tmp_path / f"grey.{suffix}"
    if mode == "I;16":
        PIL.Image.fromarray(np.full((6, 6), 255 * 257, np.uint16)).save(path)
    else:
        PIL.Image.new("RGB", (6, 6), (255, 255, 255)).convert(mode).save(path)
    pixels = read_picture(path).pixels
    assert pixels.shape == (6, 6, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() >= 250


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    PIL.Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)).save(path)
    assert read_picture(path).pixels[0, 0].tolist() == [128, 128, 128]


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    PIL.Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(path)
    assert read_picture(path).pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_is_its_first_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving.{suffix}"
    first, second = picture_of("red"), picture_of("blue")
    first.save(path, save_all=True, append_images=[second], duration=100)
    red, _, blue = read_picture(path).pixels[10, 10].tolist()
    assert red > 200
    assert blue < 60


def test_each_bad_file_gets_a_message_of_its_own(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    picture_of("red", (400, 300)).save(jpeg, "JPEG")
    whole = jpeg.getvalue()
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("a shopping list, and nothing else")
    png = io.BytesIO()
    picture_of("red", (400, 300)).save(png, "PNG")
    (tmp_path / "cut.png").write_bytes(png.getvalue()[:100])
    wanted = {
        "empty.jpg": "empty file",
        "cut.jpg": "cut or damaged",
        "cut.png": "cut or damaged",
        "text.jpg": "not a picture",
        "absent.jpg": "no such file",
        ".": "a folder",
    }
    for name, message in wanted.items():
        with pytest.raises(PictureError, match=message) as caught:
            read_picture(tmp_path / name)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("cut_at", range(0, 700, 23))
def test_a_picture_cut_anywhere_is_an_error_or_a_picture(tmp_path: Path, cut_at: int) -> None:
    for suffix in ("jpg", "png", "gif", "bmp", "webp", "tiff"):
        path = tmp_path / f"cut.{suffix}"
        half_and_half().save(path)
        path.write_bytes(path.read_bytes()[:cut_at])
        with contextlib.suppress(PictureError):
            assert read_picture(path).size == (4, 8)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = int(PIXELS_MAX**0.5) + 100
    path = tmp_path / "bomb.png"
    PIL.Image.new("1", (side, side)).save(path)
    with pytest.raises(PictureError, match="want at most 100 million"):
        read_picture(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PictureError, match="not a regular file"):
        read_picture(tmp_path / "pipe.jpg")


def test_a_picture_can_be_made_to_fit(tmp_path: Path) -> None:
    picture_of("red", (400, 100)).save(tmp_path / "wide.jpg")
    assert read_picture(tmp_path / "wide.jpg", (200, 200)).size == (50, 200)
    assert read_picture(tmp_path / "wide.jpg", (900, 900)).size == (100, 400)
