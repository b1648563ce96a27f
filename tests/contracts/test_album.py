"""What every album keeps: newest first, the oldest go, questions from any thread."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from device.album.fake_album import FakeAlbum
from device.album.sqlite_album import SqliteAlbum
from device.core.images import WHOLE, Rectangle, Rgb
from device.errors import TransientError
from device.ports import Album, Keepsake, Page
from device.wire.control import Record

MAX_BYTES = 1_000_000

ALBUMS: dict[str, Callable[[Path, bool], Album]] = {
    "fake": lambda _, keeps_pictures: FakeAlbum(MAX_BYTES, 320, keeps_pictures),
    "sqlite": lambda folder, keeps_pictures: SqliteAlbum(folder, MAX_BYTES, 320, keeps_pictures),
}


@pytest.fixture(params=ALBUMS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bool], Album]:
    return lambda keeps_pictures: ALBUMS[request.param](tmp_path / "album", keeps_pictures)


@pytest.fixture
def album(make: Callable[[bool], Album]) -> Iterator[Album]:
    album = make(True)
    yield album
    album.close()


def record(number: int, kind: str = "detection", size: int = 10) -> Record:
    return Record(
        id=f"garden:1-0123abcd:{number}",
        time="2026-11-24T12:00:00.000000Z",
        kind=kind,
        region="feeder",
        label="cat",
        headline=f"cat {number}",
        detail={"filler": "x" * size},
    )


def keepsake(box: Rectangle = WHOLE) -> Keepsake:
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    return Keepsake(picture=Rgb(noise), region="feeder", box=box)


def test_what_is_kept_is_found_by_its_id(album: Album) -> None:
    album.keep([Page(record(1)), Page(record(2))])
    assert album.find(record(2).id) == record(2)
    assert album.find("garden:1-0123abcd:3") is None


def test_the_newest_come_first_of_one_kind_or_of_all(album: Album) -> None:
    album.keep([Page(record(1)), Page(record(2, kind="near_miss"))])
    album.keep([Page(record(3))])
    assert [each.id[-1] for each in album.recent(10)] == ["3", "2", "1"]
    assert [each.id[-1] for each in album.recent(2)] == ["3", "2"]
    assert [each.id[-1] for each in album.recent(10, "near_miss")] == ["2"]
    assert album.recent(10, "telemetry") == []


def test_a_picture_is_named_in_its_record(album: Album) -> None:
    album.keep([Page(record(1), keepsake()), Page(record(2))])
    with_picture, without = album.find(record(1).id), album.find(record(2).id)
    assert with_picture is not None
    assert with_picture.picture is not None
    assert with_picture.picture.endswith(".jpg")
    assert without is not None
    assert without.picture is None


def test_pictures_can_be_left_out(make: Callable[[bool], Album]) -> None:
    album = make(False)
    album.keep([Page(record(1), keepsake())])
    kept = album.find(record(1).id)
    assert kept is not None
    assert kept.picture is None
    album.close()


def test_a_record_is_kept_once_and_stays_as_it_is(album: Album) -> None:
    album.keep([Page(record(1))])
    album.keep([Page(record(1, kind="near_miss")), Page(record(2))])
    assert [each.kind for each in album.recent(10)] == ["detection", "detection"]


def test_the_oldest_go_when_records_and_pictures_fill_it(album: Album) -> None:
    for number in range(1, 61):
        album.keep([Page(record(number, size=2000), keepsake())])
    numbers = [int(each.id.rsplit(":", 1)[1]) for each in album.recent(1000)]
    assert 5 < len(numbers) < 40
    assert numbers == list(range(60, 60 - len(numbers), -1))
    assert album.find(record(1).id) is None


def test_records_alone_are_bounded_too(album: Album) -> None:
    for start in range(0, 1000, 50):
        album.keep([Page(record(number, size=4000)) for number in range(start, start + 50)])
    assert 50 < len(album.recent(1000)) < 260
    assert album.find(record(999).id) is not None


def test_any_thread_may_ask_while_the_album_s_own_keeps(album: Album) -> None:
    wrong: list[object] = []

    def ask() -> None:
        for number in range(50):
            found = album.find(record(number).id)
            newest = album.recent(5)
            if (found not in (None, record(number))) or len(newest) > 5:
                wrong.append((found, newest))

    askers = [Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for number in range(50):
        album.keep([Page(record(number))])
    for asker in askers:
        asker.join()
    assert wrong == []
    assert len(album.recent(100)) == 50


def test_nothing_is_kept_after_close_which_may_come_twice(album: Album) -> None:
    album.close()
    album.close()
    with pytest.raises(TransientError, match="not kept"):
        album.keep([Page(record(1))])


def test_near_misses_make_room_before_what_happened(album: Album) -> None:
    events = [record(number, "detection", 2000) for number in range(80)]
    album.keep([Page(each) for each in events])
    for start in range(1000, 3000, 50):
        near = [record(number, "near_miss", 2000) for number in range(start, start + 50)]
        album.keep([Page(each) for each in near])
    assert all(album.find(each.id) is not None for each in events)
    kept = album.recent(5000, "near_miss")
    assert 10 < len(kept) < 600
    assert kept[0].id == record(2999, "near_miss").id
