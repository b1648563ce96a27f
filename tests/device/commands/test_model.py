"""Tests of `lookout model`, its child process included."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from device.errors import ExitCode
from device.main import main
from tests.bundles_made import write_bundle, write_pictures
from tests.models_made import LABELS, Recipe, make_model


def only_object(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    [line] = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def make_words(folder: Path, recipe: Recipe, *more: str) -> list[str]:
    (folder / "model.tflite").write_bytes(make_model(recipe))
    (folder / "labels.txt").write_text("\n".join(LABELS))
    files = ["--tflite", str(folder / "model.tflite"), "--labels", str(folder / "labels.txt")]
    return ["model", "make", *files, "--output", str(folder / "colours"), *more]


def test_list_names_the_embedded_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "list", "--json"]) == ExitCode.OK
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [found] = [each for each in lines if each["name"] == "imagenet"]
    assert found["ok"]
    assert found["labels"] == 1000
    assert main(["model", "list"]) == ExitCode.OK
    assert "imagenet 1." in capsys.readouterr().out


def test_show_says_what_a_bundle_recognises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path / "colours")
    assert main(["model", "show", str(folder), "--json"]) == ExitCode.OK
    found = only_object(capsys)
    assert found["labels"] == list(LABELS)
    assert found["groups"] == {"coloured": ["red", "green", "blue"]}
    assert main(["model", "show", str(folder)]) == ExitCode.OK
    assert "Names colours." in capsys.readouterr().out


def test_check_proves_a_bundle_in_a_child(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path / "colours")
    assert main(["model", "check", str(folder), "--json"]) == ExitCode.OK
    found = only_object(capsys)
    assert found["ok"]
    assert found["bundle"] == "colours"
    assert {"sha256 model.tflite", "load", "inference", "golden golden/red.png"} <= {
        each["check"] for each in found["checks"]
    }


def test_check_refuses_with_65_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path / "colours")
    with (folder / "model.tflite").open("ab") as file:
        file.write(b"x")
    assert main(["model", "check", str(folder)]) == ExitCode.BAD_MODEL
    captured = capsys.readouterr()
    assert "FAILED  sha256 model.tflite" in captured.out
    assert captured.err == "colours is refused: sha256 model.tflite\n"
    assert main(["model", "check", str(tmp_path / "absent")]) == ExitCode.BAD_MODEL


def test_make_builds_a_bundle_that_classify_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = write_pictures(tmp_path / "a=b")
    golden = ["--golden", f"{pictures['red']}=red", "--golden", f"{pictures['dark']}=dark"]
    words = make_words(tmp_path, Recipe(number="float32", end="logits"), *golden)
    assert main(words) == ExitCode.OK
    assert "softmax is applied" in capsys.readouterr().out
    names = [str(path) for path in pictures.values()]
    assert main(["classify", "--json", "--model", str(tmp_path / "colours"), *names]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["labels"][0]["label"] for each in lines] == list(pictures)


def test_what_is_to_be_typed_next_is_quoted_for_the_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = make_words(tmp_path, Recipe())
    words[words.index("--output") + 1] = str(tmp_path / "My Model")
    assert main(words) == ExitCode.OK
    last = capsys.readouterr().out.splitlines()[-1].removeprefix("try it: ")
    assert shlex.split(last)[1:] == ["classify", "--model", str(tmp_path / "My Model"), "PICTURE"]


def test_a_bundle_without_golden_pictures_is_whole_and_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(make_words(tmp_path, Recipe())) == ExitCode.OK
    capsys.readouterr()
    assert main(["model", "check", str(tmp_path / "colours")]) == ExitCode.OK
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("colours is whole; nothing proves what it sees until")
    proven = write_bundle(tmp_path / "proven")
    assert main(["model", "check", str(proven)]) == ExitCode.OK
    assert "sees what it should" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--licence", "--source"])
def test_an_empty_text_is_refused_by_its_options_name(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("", "  ", "x" * 2001):
        with pytest.raises(SystemExit) as caught:
            main(make_words(tmp_path, Recipe(), option, text))
        assert caught.value.code == ExitCode.USAGE
        assert f"argument {option}: got {len(text)} characters" in capsys.readouterr().err


def test_make_tells_programs_what_it_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*make_words(tmp_path, Recipe()), "--json"]) == ExitCode.OK
    found = only_object(capsys)
    assert found["ok"]
    assert any(note.startswith("input range: plain") for note in found["notes"])


def test_a_golden_picture_that_shows_something_else_is_a_bad_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = write_pictures(tmp_path / "pictures")["red"]
    words = make_words(tmp_path, Recipe(), "--golden", f"{picture}=blue")
    assert main(words) == ExitCode.BAD_MODEL
    assert 'does not see "blue"' in capsys.readouterr().err
    assert not (tmp_path / "colours").exists()


def test_bad_golden_words_are_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = make_words(tmp_path, Recipe(), "--golden", "red.png")
    assert main(words) == ExitCode.USAGE
    assert "want PICTURE=LABEL" in capsys.readouterr().err


def test_an_output_that_is_there_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = make_words(tmp_path, Recipe())
    assert main(words) == ExitCode.OK
    assert main(words) == ExitCode.CANNOT_WRITE
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--force"]) == ExitCode.OK


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 0.95])
def test_a_cut_model_is_refused_and_the_parent_lives(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    words = make_words(tmp_path, Recipe(number="float32"))
    whole = (tmp_path / "model.tflite").read_bytes()
    (tmp_path / "model.tflite").write_bytes(whole[: int(len(whole) * share)])
    assert main(words) == ExitCode.BAD_MODEL
    complaint = capsys.readouterr().err
    assert "model.tflite" in complaint
    assert "want" in complaint or "take it from its source" in complaint


def test_a_real_model_cut_or_garbled_anywhere_never_ends_the_parent(
    testdata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (testdata / "models" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    words = make_words(tmp_path, Recipe())
    labels = str(testdata / "labels" / "imagenet_labels.txt")
    words[words.index("--labels") + 1] = labels
    garbled = bytearray(whole)
    garbled[480_000:504_000:7] = b"\xff" * len(garbled[480_000:504_000:7])  # past the weights
    for content in (whole[:1000], whole[: len(whole) // 2], whole[:-40_000], bytes(garbled)):
        (tmp_path / "model.tflite").write_bytes(content)
        assert main(words) == ExitCode.BAD_MODEL
        assert "model.tflite" in capsys.readouterr().err
        assert not (tmp_path / "colours").exists()
