"""Tests of the steps of `lookout model check`."""

import hashlib
from pathlib import Path

import pytest

from device.bundles.check import Report, check_bundle
from tests.bundles_made import try_here, write_bundle
from tests.models_made import Recipe, make_model


def check(folder: Path) -> Report:
    return check_bundle(folder, try_here, "auto", 1)


def failed(report: Report) -> dict[str, str]:
    return {each.name: each.detail for each in report.checks if not each.is_ok}


def test_a_whole_bundle_passes_every_step(tmp_path: Path) -> None:
    report = check(write_bundle(tmp_path / "colours"))
    assert report.is_ok, failed(report)
    names = [each.name for each in report.checks]
    assert names[0] == "model.toml"
    for name in ("sha256 model.tflite", "load", "input", "output", "labels", "inference"):
        assert name in names
    assert names[-1] == "golden golden/red.png"


def test_the_embedded_bundle_passes(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "models" / "imagenet"
    report = check(folder)
    assert report.is_ok, failed(report)
    assert sum(each.name.startswith("golden") for each in report.checks) >= 3


def test_a_wrong_hash_is_found_and_the_file_is_not_opened(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "colours")
    (folder / "model.tflite").write_bytes(make_model(Recipe(end="logits")))
    report = check(folder)
    assert list(failed(report)) == ["sha256 model.tflite"]
    assert "load" not in [each.name for each in report.checks]


def test_a_model_that_gives_another_number_of_scores_is_found(tmp_path: Path) -> None:
    report = check(write_bundle(tmp_path / "colours", recipe=Recipe(background="first")))
    assert failed(report) == {
        "labels": "the model gives 6 scores, but there are 5 labels; want one label a score"
    }


def test_an_input_of_another_size_is_found(tmp_path: Path) -> None:
    report = check(write_bundle(tmp_path / "colours", recipe=Recipe(size_px=(9, 8))))
    assert "shape [1, 9, 8, 3]" in failed(report)["input"]


def test_a_model_that_is_no_classifier_is_found(tmp_path: Path) -> None:
    report = check(write_bundle(tmp_path / "colours", recipe=Recipe(extra_output=True)))
    assert "2 outputs" in failed(report)["output"]


def test_a_model_that_cannot_be_loaded_is_found(tmp_path: Path) -> None:
    report = check(write_bundle(tmp_path / "colours", recipe=Recipe(custom_operator="fake-op")))
    assert "unresolved custom op: fake-op" in failed(report)["load"]


@pytest.mark.parametrize("least_score", ["0.9", "1.0"])
def test_a_golden_picture_that_it_does_not_recognise_is_found(
    tmp_path: Path, least_score: str
) -> None:
    changes = {
        'label = "red"\n': 'label = "blue"\n',
        "least_score = 0.5": f"least_score = {least_score}",
    }
    report = check(write_bundle(tmp_path / "colours", changes))
    [detail] = failed(report).values()
    assert detail.startswith("blue 0.0")
    assert "seen: red 1.00" in detail


def test_a_golden_picture_may_ask_for_a_group_alone(tmp_path: Path) -> None:
    report = check(write_bundle(tmp_path / "colours", {'label = "red"\n': ""}))
    assert report.is_ok, failed(report)
    assert report.checks[-1].detail.startswith("coloured 1.00")


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (Recipe(), "not compiled for an Edge TPU"),
        (Recipe(custom_operator="edgetpu-custom-op", size_px=(9, 8)), "takes [1, 9, 8, 3] uint8"),
        (Recipe(custom_operator="edgetpu-custom-op", number="int8"), "takes [1, 8, 8, 3] int8"),
        (Recipe(custom_operator="edgetpu-custom-op", background="last"), "gives 6 scores"),
    ],
)
def test_an_edge_tpu_file_that_is_not_the_cpus_model_compiled_is_found(
    tmp_path: Path, recipe: Recipe, told: str
) -> None:
    report = check(with_edgetpu(write_bundle(tmp_path / "colours"), recipe))
    assert list(failed(report)) == ["edgetpu file"]
    assert told in failed(report)["edgetpu file"]


def test_the_cpus_model_compiled_for_an_edge_tpu_passes(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "colours")
    report = check(with_edgetpu(folder, Recipe(custom_operator="edgetpu-custom-op")))
    assert report.is_ok, failed(report)


def with_edgetpu(folder: Path, recipe: Recipe) -> Path:
    content = make_model(recipe)
    (folder / "tpu.tflite").write_bytes(content)
    toml = folder / "model.toml"
    text = toml.read_text().replace(
        "[files]\n", f'[files]\n"tpu.tflite" = "{hashlib.sha256(content).hexdigest()}"\n'
    )
    toml.write_text(f'{text}\n[variants.edgetpu]\nfile = "tpu.tflite"\n')
    return folder


def test_a_bad_manifest_ends_the_check(tmp_path: Path) -> None:
    report = check(write_bundle(tmp_path / "colours", {"schema = 1": "schema = 2"}))
    assert report.bundle is None
    assert list(failed(report)) == ["model.toml"]
