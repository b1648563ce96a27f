"""What every memory of versions promises."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud_bridge.downlink.fake_versions import FakeVersions
from cloud_bridge.downlink.sqlite_versions import SqliteVersions
from cloud_bridge.ports import Versions

STORES: dict[str, Callable[[Path], Versions]] = {
    "fake": lambda _folder: FakeVersions(),
    "sqlite": lambda folder: SqliteVersions(folder / "versions.db"),
}


@pytest.fixture(params=STORES)
def versions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Versions]:
    store = STORES[request.param](tmp_path)
    yield store
    store.close()


def test_larger_versions_are_admitted_and_smaller_ones_not(versions: Versions) -> None:
    assert versions.admit("home", "garden", 5, "a") is None
    assert versions.admit("home", "garden", 4, "b") == 5
    assert versions.admit("home", "garden", 6, "c") is None
    assert versions.admit("home", "garden", 5, "a") == 6


def test_the_same_version_is_admitted_again_with_the_same_settings_alone(
    versions: Versions,
) -> None:
    assert versions.admit("home", "garden", 5, "a") is None
    assert versions.admit("home", "garden", 5, "a") is None
    assert versions.admit("home", "garden", 5, "b") == 5


def test_devices_and_registries_are_apart(versions: Versions) -> None:
    assert versions.admit("home", "garden", 5, "a") is None
    assert versions.admit("home", "door", 1, "a") is None
    assert versions.admit("farm", "garden", 1, "a") is None


def test_versions_survive_the_process(tmp_path: Path) -> None:
    first = SqliteVersions(tmp_path / "versions.db")
    first.admit("home", "garden", 5, "a")
    first.close()
    second = SqliteVersions(tmp_path / "versions.db")
    assert second.admit("home", "garden", 4, "a") == 5
    second.close()
