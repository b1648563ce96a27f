"""Tests of finding bundles and proving that they are whole."""

from pathlib import Path

import pytest

from device.bundles.store import FolderStore
from device.errors import ModelError
from tests.bundles_made import write_bundle


def test_a_bundle_is_found_by_name_and_by_folder(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "box" / "colours")
    store = FolderStore(tmp_path / "box", embedded=[])
    assert store.names() == ["colours"]
    assert store.find("colours").folder == folder
    assert store.find(str(folder)).folder == folder
    assert store.find(str(folder / "model.toml")).folder == folder


def test_the_boxs_own_bundle_comes_before_the_embedded_one(tmp_path: Path) -> None:
    write_bundle(tmp_path / "embedded" / "colours")
    own = write_bundle(tmp_path / "box" / "colours")
    store = FolderStore(tmp_path / "box", embedded=[tmp_path / "embedded", tmp_path / "absent"])
    assert store.find("colours").folder == own
    assert store.names() == ["colours"]


def test_the_embedded_bundle_is_there_and_whole() -> None:
    bundle = FolderStore(None).find("imagenet")
    assert len(bundle.labels) == 1000
    assert "cat" in bundle.groups


def test_an_unknown_name_is_answered_with_a_near_one(tmp_path: Path) -> None:
    write_bundle(tmp_path / "colours")
    with pytest.raises(ModelError, match='did you mean "colours"') as caught:
        FolderStore(tmp_path, embedded=[]).find("colour")
    assert "bundles here: colours" in str(caught.value)


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"....TFL3")
    with pytest.raises(ModelError, match="lookout model make"):
        FolderStore(None, embedded=[]).find(str(path))


@pytest.mark.parametrize("name", ["model.tflite", "golden/red.png"])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = write_bundle(tmp_path / "colours")
    with (folder / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match=f"{name}: has sha256"):
        FolderStore(tmp_path, embedded=[]).find("colours")


def test_an_absent_file_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "colours")
    (folder / "model.tflite").unlink()
    with pytest.raises(ModelError, match=r"model\.tflite: no such file"):
        FolderStore(tmp_path, embedded=[]).find("colours")


def test_a_variant_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_bundle(tmp_path / "colours")
    store = FolderStore(tmp_path, embedded=[])
    bundle = store.find("colours")
    assert store.variant_path(bundle, "cpu").name == "model.tflite"
    with pytest.raises(ModelError, match='no variant "edgetpu"; it has: cpu'):
        store.variant_path(bundle, "edgetpu")
