"""Tests of `lookout classify`, as other programs call it."""

import json
from pathlib import Path
from typing import Any

import pytest

from device.errors import ExitCode
from device.main import main
from tests.bundles_made import write_bundle, write_pictures
from tests.models_made import Recipe

GOLDEN = Path(__file__).parents[3] / "models" / "imagenet" / "golden"


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_picture_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [str(GOLDEN / name) for name in ("chelsea.jpg", "coffee.jpg", "tripod.jpg")]
    assert main(["classify", "--json", *pictures]) == ExitCode.OK
    found = objects(capsys)
    assert [each["picture"] for each in found] == pictures
    assert [each["labels"][0]["label"] for each in found] == ["Egyptian cat", "espresso", "tripod"]
    assert [each["groups"][0]["group"] for each in found[:2]] == ["cat", "cup"]
    for each in found:
        assert set(each) == {"picture", "labels", "groups", "inference_ms"}
        for kind in ("labels", "groups"):
            scores = [ranked["score"] for ranked in each[kind]]
            assert scores == sorted(scores, reverse=True)
            assert all(score >= 0.01 for score in scores[1:])
        assert each["inference_ms"] > 0


def test_people_read_names_and_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--top", "2", str(GOLDEN / "chelsea.jpg")]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(str(GOLDEN / "chelsea.jpg"))
    assert lines[1].startswith("  groups: cat 0.")
    assert lines[2].endswith("  Egyptian cat")


def test_another_bundle_is_named_by_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path / "colours", recipe=Recipe(number="uint8"))
    pictures = write_pictures(tmp_path / "pictures")
    names = [str(path) for path in pictures.values()]
    assert main(["classify", "--json", "--model", str(folder), *names]) == ExitCode.OK
    assert [each["labels"][0]["label"] for each in objects(capsys)] == list(pictures)


def test_top_bounds_the_labels(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--json", "--top", "1", str(GOLDEN / "chelsea.jpg")]) == ExitCode.OK
    [found] = objects(capsys)
    assert len(found["labels"]) == 1


def test_bad_pictures_are_named_and_the_others_still_classified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = GOLDEN / "chelsea.jpg"
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("hello")
    bad = [tmp_path / name for name in ("absent.jpg", "empty.jpg", "cut.jpg", "text.jpg", ".")]
    words = ["classify", "--json", *map(str, bad[:2]), str(whole), *map(str, bad[2:]), str(whole)]
    assert main(words) == ExitCode.BAD_PICTURE
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    complaints = captured.err.splitlines()
    assert len(complaints) == len(bad)
    for path, complaint in zip(bad, complaints, strict=True):
        assert complaint.startswith(f"{path}: ")
    assert "Traceback" not in captured.err


def test_an_unknown_bundle_is_a_bad_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--model", "imagnet", str(GOLDEN / "chelsea.jpg")]) == 65
    assert 'did you mean "imagenet"' in capsys.readouterr().err


def test_a_changed_bundle_is_a_bad_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path / "colours")
    (folder / "labels.txt").write_text("green\nred\nblue\ndark\nbright\n")
    assert main(["classify", "--model", str(folder), str(GOLDEN / "chelsea.jpg")]) == 65
    assert "labels.txt: has sha256" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--top", "0"], ["--threads", "none"], ["--runtime", "torch"]])
def test_bad_options_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["classify", *words, str(GOLDEN / "chelsea.jpg")])
    assert caught.value.code == ExitCode.USAGE
    assert words[0] in capsys.readouterr().err
