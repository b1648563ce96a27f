"""Tests of `model.toml` as the only truth about a model."""

import hashlib
from pathlib import Path, PurePosixPath

import pytest

from device.bundles.manifest import read_bundle
from device.errors import ModelError
from tests.bundles_made import MANIFEST, write_bundle


def mistakes(folder: Path, changes: dict[str, str]) -> str:
    with pytest.raises(ModelError) as caught:
        read_bundle(write_bundle(folder / "colours", changes))
    return str(caught.value)


def line_of(text: str) -> int:
    """In the manifest as the tests write it."""
    return MANIFEST.splitlines().index(text) + 1


def test_a_manifest_becomes_a_bundle(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "colours")
    bundle = read_bundle(folder)
    assert (bundle.name, bundle.version, bundle.scores) == ("colours", "1.2.3", "exclusive")
    assert bundle.labels == ("red", "green", "blue", "dark", "bright")
    assert bundle.input.mean == (127.0, 127.0, 127.0)
    assert bundle.groups["coloured"].labels == ("red", "green", "blue")
    assert bundle.thresholds_of("coloured").high == 0.6
    assert bundle.thresholds_of("red").high == 0.3
    assert bundle.thresholds_of("dark").high == 0.4
    assert bundle.goldens[0].picture == "golden/red.png"
    assert bundle.variants == {"cpu": "model.tflite"}
    assert bundle.folder == PurePosixPath(folder)
    assert bundle.sha256 == hashlib.sha256((folder / "model.toml").read_bytes()).hexdigest()


def test_all_mistakes_are_named_at_once_with_line_and_key(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        {
            'scores = "exclusive"': 'scores = "exclusiv"',
            'fit = "squash"': 'fitt = "squash"',
            "low = 0.2\n": "low = 2.0\n",
            'version = "1.2.3"\n': "",
        },
    )
    assert "scores: got 'exclusiv'; want 'exclusive' or 'independent'" in found
    assert 'input.fitt: unknown key; did you mean "fit"?' in found
    assert "input.fit: missing" in found
    assert "thresholds.low" in found
    assert "version: missing" in found
    line = line_of('scores = "exclusive"') - 1  # the line of `version` is gone
    assert f"colours/model.toml:{line}: scores" in found


def test_types_are_strict(tmp_path: Path) -> None:
    assert "input.height_px" in mistakes(tmp_path / "a", {"height_px = 8": 'height_px = "8"'})
    assert "background" in mistakes(tmp_path / "b", {"background = false": "background = 0"})
    assert "mean" in mistakes(tmp_path / "c", {"mean = [127.0,": "mean = [inf,"})


def test_provenance_is_free(tmp_path: Path) -> None:
    changes = {"[provenance]\n": '[provenance]\nnested = { deep = ["x"] }\n'}
    assert read_bundle(write_bundle(tmp_path / "colours", changes)).name == "colours"


def test_an_unknown_key_anywhere_else_is_heard(tmp_path: Path) -> None:
    assert "unknown key" in mistakes(tmp_path, {"schema = 1": "schema = 1\ncolour = 1"})


@pytest.mark.parametrize("path", ["../labels.txt", "/etc/passwd", "a/../../labels.txt", ""])
def test_no_file_leads_out_of_the_bundle(tmp_path: Path, path: str) -> None:
    found = mistakes(tmp_path, {'file = "labels.txt"': f'file = "{path}"'})
    assert "leads out of the bundle" in found or "labels.file" in found


def test_a_link_out_of_the_bundle_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "colours")
    (folder / "labels.txt").rename(tmp_path / "elsewhere.txt")
    (folder / "labels.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(ModelError, match="leads out of the bundle"):
        read_bundle(folder)


def test_a_file_without_a_hash_is_named(tmp_path: Path) -> None:
    found = mistakes(tmp_path, {'picture = "golden/red.png"': 'picture = "golden/blue.png"'})
    assert "[files] has no sha256 of golden/blue.png" in found


def test_names_must_be_those_of_labels_and_groups(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        {
            'labels = ["red", "green", "blue"]': 'labels = ["red", "grene"]',
            '"red" = { low': '"rad" = { low',
            'group = "coloured"': 'group = "colored"',
        },
    )
    assert 'groups.coloured.labels: no label "grene"; did you mean "green"?' in found
    assert 'thresholds_by_label.rad: no label "rad"; did you mean "red"?' in found
    assert 'no group "colored"; did you mean "coloured"?' in found


def test_the_hidden_background_is_no_label_to_watch_for(tmp_path: Path) -> None:
    found = mistakes(tmp_path, {"background = false": "background = true"})
    assert 'no label "red"' in found


def test_the_label_count_must_be_that_of_the_file(tmp_path: Path) -> None:
    assert "says 6, but labels.txt has 5 lines" in mistakes(tmp_path, {"count = 5": "count = 6"})


def test_a_label_that_is_there_twice_or_empty_is_named(tmp_path: Path) -> None:
    for number, labels in enumerate(
        (["red", "green", "red", "x", "y"], ["red", "", "b", "c", "d"])
    ):
        changes = {'labels = ["red", "green", "blue"]': 'labels = ["red"]'}
        folder = write_bundle(tmp_path / str(number), changes, labels=labels)
        with pytest.raises(ModelError, match=r"labels\.txt:[23]"):
            read_bundle(folder)


def test_low_may_not_be_above_high(tmp_path: Path) -> None:
    assert "want low <= high" in mistakes(
        tmp_path, {"low = 0.3\nhigh = 0.6": "low = 0.7\nhigh = 0.6"}
    )


def test_a_golden_picture_must_say_what_it_shows(tmp_path: Path) -> None:
    found = mistakes(tmp_path, {'label = "red"\ngroup = "coloured"\n': ""})
    assert "neither label nor group" in found


def test_text_that_is_no_toml_or_no_text_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "colours")
    (folder / "model.toml").write_text("schema = = 1")
    with pytest.raises(ModelError, match="not TOML"):
        read_bundle(folder)
    (folder / "model.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ModelError, match="not UTF-8 at byte 8"):
        read_bundle(folder)


def test_a_folder_without_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lookout model make"):
        read_bundle(tmp_path)
    with pytest.raises(ModelError, match="no such folder"):
        read_bundle(tmp_path / "absent")
