"""A folder of pictures as a camera."""

import io
import logging
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from device.camera.picture_folder import PictureFolder
from device.clocks import HandClock
from device.config import CameraConfig
from device.core.images import Frame, Rgb
from device.errors import SourceEndedError, TransientError

COLOURS = {"a.png": (200, 10, 10), "b.png": (10, 200, 10), "c.png": (10, 10, 200)}


def fill(folder: Path) -> None:
    for name, colour in COLOURS.items():
        Picture.new("RGB", (64, 48), colour).save(folder / name)


def open_folder(folder: Path, clock: HandClock, **settings: object) -> PictureFolder:
    values = {"picture_s": 1.0, "frames_per_s": 2.0, **settings}
    config = CameraConfig.model_validate({"source": "pictures", "path": folder, **values})
    return PictureFolder(config, clock, wait=clock.advance)


def colour_of(frame: Frame | None) -> tuple[int, ...]:
    assert frame is not None
    assert isinstance(frame.main, Rgb)
    return tuple(int(part) for part in frame.main.pixels[0, 0])


def names_shown(camera: PictureFolder, frames: int) -> list[str]:
    by_colour = {colour: name for name, colour in COLOURS.items()}
    return [by_colour[colour_of(camera.read(timeout_s=5.0))] for _ in range(frames)]  # type: ignore[index]


def test_pictures_come_by_name_each_for_its_time_and_then_again(tmp_path: Path) -> None:
    fill(tmp_path)
    camera = open_folder(tmp_path, HandClock())
    assert "".join(name[0] for name in names_shown(camera, 8)) == "aabbccaa"


def test_frames_come_at_the_asked_rate(tmp_path: Path) -> None:
    fill(tmp_path)
    clock = HandClock()
    camera = open_folder(tmp_path, clock, frames_per_s=4.0)
    began_ns = clock.monotonic_ns()
    frames = [camera.read(timeout_s=5.0) for _ in range(4)]
    times = [frame.captured_ns - began_ns for frame in frames if frame is not None]
    assert times == [0, 250_000_000, 500_000_000, 750_000_000]


def test_a_read_waits_no_longer_than_its_timeout(tmp_path: Path) -> None:
    fill(tmp_path)
    clock = HandClock()
    camera = open_folder(tmp_path, clock)
    camera.read(timeout_s=1.0)
    began_ns = clock.monotonic_ns()
    assert camera.read(timeout_s=0.2) is None
    assert clock.monotonic_ns() - began_ns == 200_000_000


def test_a_late_caller_misses_frames_and_no_picture(tmp_path: Path) -> None:
    fill(tmp_path)
    clock = HandClock()
    camera = open_folder(tmp_path, clock)
    first = camera.read(timeout_s=1.0)
    clock.advance(60.0)
    second = camera.read(timeout_s=1.0)
    assert first is not None
    assert second is not None
    assert second.sequence == first.sequence + 120
    assert colour_of(second) == COLOURS["b.png"]
    assert [name[0] for name in names_shown(camera, 2)] == ["b", "c"]


def test_at_the_end_it_stops_if_told_to(tmp_path: Path) -> None:
    fill(tmp_path)
    camera = open_folder(tmp_path, HandClock(), at_end="stop")
    assert "".join(name[0] for name in names_shown(camera, 6)) == "aabbcc"
    with pytest.raises(SourceEndedError, match="at_end is stop"):
        camera.read(timeout_s=1.0)


def test_what_cannot_be_read_is_passed_over_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path)
    (tmp_path / "aa.jpg").write_bytes(b"no picture")
    (tmp_path / "bb.png").write_bytes((tmp_path / "b.png").read_bytes()[:60])
    (tmp_path / "bc.png").mkdir()
    (tmp_path / "SOURCES.md").write_text("where they come from")
    camera = open_folder(tmp_path, HandClock())
    with caplog.at_level(logging.WARNING):
        shown = names_shown(camera, 14)
    assert "".join(name[0] for name in shown) == "aabbccaabbccaa"
    named = sorted(record.getMessage().split("path=")[1].split()[0] for record in caplog.records)
    assert [Path(name).name for name in named] == ["aa.jpg", "bb.png", "bc.png"]


def _absent(folder: Path) -> Path:
    return folder / "absent"


def _empty(folder: Path) -> Path:
    return folder


def _only_bad(folder: Path) -> Path:
    (folder / "x.jpg").write_bytes(b"")
    return folder


def _a_file(folder: Path) -> Path:
    (folder / "x.txt").write_text("x")
    return folder / "x.txt"


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (_absent, "No such file"),
        (_empty, "no pictures"),
        (_only_bad, "1 files that cannot be read"),
        (_a_file, "Not a directory"),
    ],
)
def test_a_folder_without_pictures_says_what_is_wanted(
    tmp_path: Path, make: Callable[[Path], Path], found: str
) -> None:
    with pytest.raises(TransientError, match=found) as raised:
        open_folder(make(tmp_path), HandClock())
    assert "want" in str(raised.value)


def test_pictures_put_in_meanwhile_are_shown_in_the_next_round(tmp_path: Path) -> None:
    fill(tmp_path)
    camera = open_folder(tmp_path, HandClock())
    names_shown(camera, 2)
    (tmp_path / "b.png").unlink()
    assert "".join(name[0] for name in names_shown(camera, 6)) == "ccaacc"


def test_each_picture_keeps_its_own_shape_within_the_asked_size(tmp_path: Path) -> None:
    Picture.new("RGB", (3000, 1000)).save(tmp_path / "wide.jpg")
    Picture.new("L", (500, 2000), 77).save(tmp_path / "tall_grey.png")
    Picture.new("RGBA", (40, 30), (1, 2, 3, 255)).save(tmp_path / "small.png")
    clock = HandClock()
    camera = open_folder(tmp_path, clock, frames_per_s=1.0, height_px=720, width_px=1280)
    frames = [camera.read(timeout_s=5.0) for _ in range(3)]
    sizes = [frame.main.size for frame in frames if frame is not None]
    assert sizes == [(30, 40), (720, 180), (427, 1280)]
    assert colour_of(frames[1]) == (77, 77, 77)


def test_a_picture_taken_with_the_phone_upright_stands_upright(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = 255  # the left half as stored is the top half as meant
    picture = Picture.fromarray(pixels)
    exif = Picture.Exif()
    exif[0x0112] = 6  # Orientation: turn clockwise by 90 degrees
    picture.save(tmp_path / "a.png", exif=exif)
    frame = open_folder(tmp_path, HandClock()).read(timeout_s=1.0)
    assert frame is not None
    assert isinstance(frame.main, Rgb)
    assert frame.main.size == (60, 40)
    assert frame.main.pixels[:30].min() == 255
    assert frame.main.pixels[30:].max() == 0


def test_a_pipe_and_formats_that_nobody_asked_for_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path)
    os.mkfifo(tmp_path / "aa.jpg")
    Picture.new("RGB", (8, 8)).save(tmp_path / "ab.png", "DDS")
    camera = open_folder(tmp_path, HandClock())
    assert "".join(name[0] for name in names_shown(camera, 6)) == "aabbcc"


@pytest.mark.parametrize("seed", range(3))
def test_no_odd_file_ends_the_camera(tmp_path: Path, seed: int) -> None:
    Picture.new("RGB", (60, 40), (1, 2, 3)).save(tmp_path / "z.png")
    numbers = random.Random(seed)
    for name, kind in (("jpg", "JPEG"), ("tif", "TIFF"), ("gif", "GIF"), ("bmp", "BMP")):
        whole = io.BytesIO()
        Picture.effect_noise((60, 40), 50).convert("RGB").save(whole, kind)
        for number in range(25):
            content = bytearray(whole.getvalue())
            for _ in range(4):
                content[numbers.randrange(min(len(content), 200))] = numbers.randrange(256)
            (tmp_path / f"{number}.{name}").write_bytes(content)
    camera = open_folder(tmp_path, HandClock(), picture_s=0.5, at_end="stop")
    with suppress(SourceEndedError):
        for _ in range(1000):
            assert camera.read(timeout_s=5.0) is not None
        raise AssertionError("it never came to its end")
