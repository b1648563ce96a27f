"""Files that are whole or absent."""

import os
from pathlib import Path

import pytest

from cloud_bridge.errors import OutputError
from cloud_bridge.trust.files import PRIVATE, PUBLIC, write_file, write_files


def test_the_mode_is_as_wanted_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_file(tmp_path / "key", b"x", PRIVATE)
        os.umask(0o777)
        write_file(tmp_path / "certificate", b"x", PUBLIC)
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == PRIVATE
    assert (tmp_path / "certificate").stat().st_mode & 0o777 == PUBLIC


def test_nothing_is_left_beside_what_was_written(tmp_path: Path) -> None:
    (tmp_path / ".a.new").write_bytes(b"from a run that was cut off")
    write_files(tmp_path, {"a": (b"1", PUBLIC), "b": (b"2", PUBLIC)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    write_file(tmp_path / "key", b"mine", PRIVATE)
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert not (tmp_path / "key").is_symlink()


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="want a place that this user can write"):
        write_file(tmp_path / "none" / "x", b"", PUBLIC)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        write_file(tmp_path / "folder", b"", PUBLIC)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"")
    os.chown(tmp_path / "list", 1234, 1235)
    write_file(tmp_path / "list", b"new", PUBLIC)
    found = (tmp_path / "list").stat()
    assert (found.st_uid, found.st_gid) == (1234, 1235)
