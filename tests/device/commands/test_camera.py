import argparse
import json

import pytest

from device import assembly
from device.camera.listing import FoundCamera, FoundFormat
from device.commands import camera
from device.errors import ExitCode


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    camera.add_to(parser.add_subparsers())
    return parser.parse_args(["camera", *words])


def test_what_is_listed_is_what_the_machine_has(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = parse("list", "--json")
    assert arguments.run(arguments) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    there = assembly.list_cameras().cameras
    assert [json.loads(line)["where"] for line in lines] == [each.where for each in there]


def test_without_any_it_says_so_and_what_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    if assembly.list_cameras().cameras:
        arguments = parse("list")
        assert arguments.run(arguments) == ExitCode.OK
        assert 'source = "' in capsys.readouterr().out
        return
    arguments = parse("list")
    assert arguments.run(arguments) == ExitCode.OK
    said = capsys.readouterr().out
    assert "No camera was found." in said
    assert "ribbon cable" in said


def test_a_camera_is_shown_with_what_to_paste() -> None:
    sizes = tuple((height_px, height_px * 2) for height_px in range(100, 1000, 100))
    found = FoundCamera(
        source="usb", name="C920", where="/dev/video2", formats=(FoundFormat("MJPEG", sizes),)
    )
    assert camera.describe(found) == [
        "C920 (usb, /dev/video2)",
        "    MJPEG 200x100 400x200 600x300 800x400 1000x500 1200x600 and 3 more",
        "  to use it, put into the settings file:",
        "    [camera]",
        '    source = "usb"',
        '    device = "/dev/video2"',
    ]


def test_a_verb_is_wanted() -> None:
    with pytest.raises(SystemExit) as raised:
        parse()
    assert raised.value.code == ExitCode.USAGE
