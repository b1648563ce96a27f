"""The album on a real disk: full, damaged, cut short."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from device.album.sqlite_album import SqliteAlbum, picture_name
from device.core.images import Rectangle, Rgb
from device.errors import OutputError, TransientError
from device.ports import Keepsake, Page
from device.wire.control import Record
from tests.tools import REPOSITORY

BOX = Rectangle(top=0.25, left=0.25, bottom=0.75, right=0.75)
MAX_BYTES = 2_000_000


def record(number: int, size: int = 10, day: str = "2026-11-24") -> Record:
    return Record(
        id=f"garden:1-0123abcd:{number}",
        time=f"{day}T12:00:00.000000Z",
        kind="detection",
        headline=f"cat {number}",
        detail={"filler": "x" * size},
    )


def page(number: int, side_px: int = 200) -> Page:
    noise = np.random.default_rng(number).integers(0, 256, (side_px, side_px, 3), np.uint8)
    return Page(record(number), Keepsake(picture=Rgb(noise), region="feeder", box=BOX))


Open = Callable[[], SqliteAlbum]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "album"


@pytest.fixture
def open_album(folder: Path) -> Iterator[Open]:
    opened: list[SqliteAlbum] = []

    def make() -> SqliteAlbum:
        opened.append(SqliteAlbum(folder, MAX_BYTES, 160, keeps_pictures=True))
        return opened[-1]

    yield make
    for album in opened:
        album.close()


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "pictures").rglob("*") if path.is_file())


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_a_picture_is_a_jpeg_of_the_wanted_size_in_a_folder_for_its_day(
    folder: Path, open_album: Open
) -> None:
    album = open_album()
    album.keep([page(1)])
    path = album.picture_path(record(1).id)
    assert path == folder / "pictures" / "2026-11-24" / "garden+1-0123abcd+1.jpg"
    with PilImage.open(path) as picture:
        assert (picture.format, picture.size) == ("JPEG", (160, 160))
    kept = album.find(record(1).id)
    assert kept is not None
    assert kept.picture == str(path)


def test_what_was_kept_is_there_after_a_restart(folder: Path, open_album: Open) -> None:
    first = open_album()
    first.keep([page(1), page(2)])
    size_bytes = first.size_bytes
    first.close()
    second = open_album()
    assert [each.headline for each in second.recent(5)] == ["cat 2", "cat 1"]
    assert second.picture_path(record(2).id) in pictures(folder)
    assert second.size_bytes <= size_bytes


def test_the_disk_holds_no_more_than_the_bound(folder: Path, open_album: Open) -> None:
    album = open_album()
    for number in range(200):
        album.keep([page(number)])
        assert album.size_bytes <= MAX_BYTES
    # The index of the write-ahead log is shared memory: a file of 32 KiB that is not counted.
    assert used_bytes(folder) <= MAX_BYTES + 64 * 1024
    assert used_bytes(folder) > MAX_BYTES * 0.8
    assert len(pictures(folder)) == len(album.recent(1000)) > 50


def test_pictures_make_room_for_records_and_records_for_pictures(
    folder: Path, open_album: Open
) -> None:
    album = open_album()
    for start in range(0, 2000, 100):
        album.keep([Page(record(number, size=2000)) for number in range(start, start + 100)])
    for number in range(2000, 2200):
        album.keep([page(number)])
    assert used_bytes(folder) <= MAX_BYTES + 64 * 1024
    assert album.picture_path(record(2199).id) is not None


def test_days_that_are_gone_leave_no_folder(folder: Path, open_album: Open) -> None:
    album = open_album()
    old = page(1)
    album.keep([Page(record(1, day="2020-01-01"), old.keepsake)])
    assert (folder / "pictures" / "2020-01-01").is_dir()
    for number in range(2, 200):
        album.keep([page(number)])
    assert not (folder / "pictures" / "2020-01-01").exists()


def test_a_picture_larger_than_the_album_goes_again(tmp_path: Path) -> None:
    album = SqliteAlbum(tmp_path / "small", 1_000_000, 8000, keeps_pictures=True)
    album.keep([page(1, side_px=1200)])
    album.keep([Page(record(2))])
    assert [each.headline for each in album.recent(5)] == ["cat 2"]
    assert pictures(tmp_path / "small") == []
    album.close()


def test_files_that_a_crash_left_go_at_the_next_start(folder: Path, open_album: Open) -> None:
    first = open_album()
    first.keep([page(1)])
    first.close()
    (folder / "pictures" / "2026-11-25").mkdir()
    (folder / "pictures" / "2026-11-25" / "orphan.jpg").write_bytes(b"half a pict")
    second = open_album()
    assert pictures(folder) == [second.picture_path(record(1).id)]
    assert not (folder / "pictures" / "2026-11-25").exists()


def test_a_picture_that_a_power_cut_emptied_is_none(folder: Path, open_album: Open) -> None:
    first = open_album()
    first.keep([page(1), page(2)])
    path = first.picture_path(record(1).id)
    assert path is not None
    first.close()
    path.write_bytes(b"")
    second = open_album()
    kept = second.find(record(1).id)
    assert kept is not None
    assert kept.picture is None
    assert len(pictures(folder)) == 1


def test_a_picture_that_somebody_took_away_is_none(open_album: Open) -> None:
    album = open_album()
    album.keep([page(1)])
    path = album.picture_path(record(1).id)
    assert path is not None
    path.unlink()
    assert album.picture_path(record(1).id) is None


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_database_that_is_none_is_moved_aside_and_a_new_one_begins(
    folder: Path, open_album: Open, size: int
) -> None:
    first = open_album()
    first.keep([page(1)])
    first.close()
    (folder / "album.db").write_bytes(b"garbage "[:7] * (size // 7))
    second = open_album()
    second.keep([page(2)])
    assert second.find(record(2).id) == second.recent(1)[0]
    if size:
        assert (folder / "album.db.damaged").read_bytes().startswith(b"garbage")


def test_pictures_outlive_the_damage_of_their_records(folder: Path, open_album: Open) -> None:
    first = open_album()
    first.keep([page(1), page(2)])
    first.close()
    (folder / "album.db").write_bytes(b"garbage" * 1000)
    second = open_album()
    found = second.find(record(1).id)
    assert found is not None
    assert (found.kind, found.headline) == ("picture", "a picture whose record was damaged")
    assert second.picture_path(record(1).id) in pictures(folder)
    assert len(pictures(folder)) == 2


def test_damage_inside_the_database_is_found_at_the_start(folder: Path, open_album: Open) -> None:
    first = open_album()
    first.keep([Page(record(number, size=500)) for number in range(200)])
    first.close()
    path = folder / "album.db"
    content = bytearray(path.read_bytes())
    content[8192:20000] = os.urandom(20000 - 8192)
    path.write_bytes(content)
    second = open_album()
    assert second.recent(5) == []
    assert (folder / "album.db.damaged").exists()


def test_damage_while_it_runs_costs_some_records_and_then_a_new_album_begins(
    folder: Path, open_album: Open
) -> None:
    album = open_album()
    for start in range(0, 500, 50):
        album.keep([Page(record(number, size=2000)) for number in range(start, start + 50)])
    path = folder / "album.db"
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    pages = [Page(record(number, size=2000)) for number in range(500, 1000)]
    with pytest.raises(TransientError, match="not kept"):
        album.keep(pages)
    album.keep([page(1000)])
    assert [each.headline for each in album.recent(5)] == ["cat 1000"]
    # So large that it would have left no room.
    assert not (folder / "album.db.damaged").exists()


def test_a_full_disk_refuses_the_pages_and_loses_nothing_else(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
from tests.device.album.test_sqlite_album import page, record
from device.album.sqlite_album import SqliteAlbum
from device.errors import TransientError

folder = Path(sys.argv[1])
album = SqliteAlbum(folder, 50_000_000, 1000, keeps_pictures=True)
album.keep([page(1)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
try:
    album.keep([page(2, side_px=600)])
except TransientError as exc:
    assert "free some space" in str(exc), exc
else:
    raise SystemExit("a full disk was not noticed")
assert album.find(record(2).id) is None
assert len([p for p in (folder / "pictures").rglob("*") if p.is_file()]) == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
album.keep([page(3)])
assert [each.headline for each in album.recent(5)] == ["cat 3", "cat 1"]
album.close()
"""
    command = [sys.executable, "-c", program, str(tmp_path / "album")]
    subprocess.run(command, check=True, cwd=REPOSITORY)


def test_an_album_that_was_killed_opens_again(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from tests.device.album.test_sqlite_album import page
from device.album.sqlite_album import SqliteAlbum

album = SqliteAlbum(Path(sys.argv[1]), 2_000_000, 160, keeps_pictures=True)
for number in range(20):
    album.keep([page(number)])
os.kill(os.getpid(), 9)
"""
    folder = tmp_path / "album"
    killed = subprocess.run(
        [sys.executable, "-c", program, str(folder)], check=False, cwd=REPOSITORY
    )
    assert killed.returncode == -9
    album = SqliteAlbum(folder, MAX_BYTES, 160, keeps_pictures=True)
    assert len(album.recent(100)) == len(pictures(folder)) == 20
    album.close()


def test_a_folder_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "album").touch()
    with pytest.raises(OutputError, match="state_dir"):
        SqliteAlbum(tmp_path / "album", MAX_BYTES, 160, keeps_pictures=True)


def test_a_question_to_a_closed_album_is_refused(open_album: Open) -> None:
    album = open_album()
    album.close()
    with pytest.raises(TransientError, match="cannot be read"):
        album.recent(1)


def test_the_database_can_be_read_while_the_album_is_open(folder: Path, open_album: Open) -> None:
    open_album().keep([Page(record(1))])
    reader = sqlite3.connect(f"file:{folder / 'album.db'}?mode=ro", uri=True)
    assert reader.execute("SELECT count(*) FROM records").fetchone() == (1,)
    reader.close()


@pytest.mark.parametrize(
    "record_id", ["../../etc/passwd", "..", "a/b", "near-1:2", "ü" * 300, "a\x00b", "a+b", "a:b"]
)
def test_no_id_leaves_its_day_s_folder(record_id: str) -> None:
    name = picture_name(record(1).model_copy(update={"id": record_id}))
    day, _, rest = name.partition("/")
    assert day == "2026-11-24"
    assert "/" not in rest
    assert "\x00" not in rest
    assert len(rest) < 255
    assert rest.endswith(".jpg")


def test_ids_that_differ_have_names_that_differ() -> None:
    ids = ["a:b", "a+b", "a%3Ab", "a b", "ü" * 300, "ü" * 301]
    names = {picture_name(record(1).model_copy(update={"id": each})) for each in ids}
    assert len(names) == len(ids)


def test_a_time_that_is_none_makes_no_strange_folder() -> None:
    strange = record(1).model_copy(update={"time": "../../x"})
    assert picture_name(strange).startswith("undated/")
