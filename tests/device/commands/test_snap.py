"""Tests of `lookout snap` where no box runs: it opens the camera itself."""

import json
from pathlib import Path

import pytest
from PIL import Image as PilImage

from device.errors import ExitCode
from device.main import main
from tests.models_made import picture_of


def settings(folder: Path) -> Path:
    """Of a box whose camera shows one picture."""
    (folder / "pictures").mkdir()
    picture_of("red", (320, 240)).save(folder / "pictures" / "red.png")
    path = folder / "lookout.toml"
    path.write_text(
        '[device]\nstate_dir = "state"\n\n[camera]\nsource = "pictures"\npath = "pictures"\n'
        "\n[regions.left]\nbox = [0, 0, 1, 0.5]\n"
    )
    return path


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.jpeg", "JPEG"), ("a.png", "PNG"), ("a.PNG", "PNG")]
)
def test_the_file_is_what_its_ending_says(
    tmp_path: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / name
    words = ["--config", str(settings(tmp_path)), "--output", str(output), "--regions", "--json"]
    assert main(["snap", *words]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["size_bytes"] == output.stat().st_size
    with PilImage.open(output) as picture:
        assert picture.format == kind
        assert picture.size == (found["width_px"], found["height_px"])


@pytest.mark.parametrize("name", ["aim.bmp", "aim", "aim.jpg.txt", ".png"])
def test_another_ending_is_refused_before_the_camera_is_asked(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["snap", "--config", str(tmp_path / "absent"), "--output", str(tmp_path / name)])
    assert caught.value.code == ExitCode.USAGE
    assert "want a name that ends in .jpg, .jpeg, .png" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
