"""What every small file promises."""

from collections.abc import Callable
from pathlib import Path

import pytest

from device.errors import TransientError
from device.messaging.fake_small_file import FakeSmallFile
from device.messaging.small_file import DiskFile
from device.ports import SmallFile

FILES: dict[str, Callable[[Path], SmallFile]] = {
    "fake": lambda _: FakeSmallFile(),
    "disk": lambda folder: DiskFile(folder / "small.json"),
}


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> SmallFile:
    return FILES[request.param](tmp_path)


def test_there_is_nothing_before_it_is_written(file: SmallFile) -> None:
    assert file.read() is None


def test_what_is_written_is_read_and_the_last_wins(file: SmallFile) -> None:
    file.write(b"one")
    file.write(b"two\x00\xff")
    assert file.read() == b"two\x00\xff"


def test_what_is_removed_is_gone_and_may_be_removed_again(file: SmallFile) -> None:
    file.write(b"one")
    file.remove()
    file.remove()
    assert file.read() is None


def test_it_outlives_whoever_wrote_it(tmp_path: Path) -> None:
    DiskFile(tmp_path / "a").write(b"kept")
    assert DiskFile(tmp_path / "a").read() == b"kept"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_disk_that_refuses_keeps_what_was_there(tmp_path: Path) -> None:
    fake = FakeSmallFile(b"old")
    fake.is_broken = True
    with pytest.raises(TransientError):
        fake.write(b"new")
    assert fake.read() == b"old"
    disk = DiskFile(tmp_path / "a")
    disk.write(b"old")
    (tmp_path / "a.new").mkdir()
    with pytest.raises(TransientError, match="want room"):
        disk.write(b"new")
    assert disk.read() == b"old"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        DiskFile(tmp_path / "no" / "a").write(b"x")


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert DiskFile(tmp_path / "a").read() is None


def test_on_disk_it_is_nobody_elses_to_read(tmp_path: Path) -> None:
    DiskFile(tmp_path / "small.json").write(b"one")
    assert (tmp_path / "small.json").stat().st_mode & 0o777 == 0o600
