"""An album whose disk refuses at start."""

import pytest

from device.album.fake_album import FakeAlbum
from device.album.late_album import LateAlbum
from device.clocks import HandClock
from device.errors import OutputError, TransientError
from device.ports import Album, Page
from device.wire.control import Record

PAGE = Page(Record(id="near-1", time="", kind="near_miss", headline="", detail={}))


class Disk:
    """Refuses until it is mended."""

    def __init__(self) -> None:
        self.is_broken = True
        self.tries = 0

    def open(self) -> Album:
        self.tries += 1
        if self.is_broken:
            raise OutputError("no space")
        return FakeAlbum()


def test_a_refusing_disk_costs_records_and_says_why() -> None:
    album = LateAlbum(Disk().open, HandClock())
    with pytest.raises(TransientError, match="no space"):
        album.keep([PAGE])
    assert album.recent(10) == []
    assert album.find("near-1") is None
    album.close()


def test_the_album_opens_when_the_disk_lets_it_and_not_with_every_page() -> None:
    disk, clock = Disk(), HandClock()
    album = LateAlbum(disk.open, clock)
    for _ in range(5):
        with pytest.raises(TransientError):
            album.keep([PAGE])
    assert disk.tries == 1
    disk.is_broken = False
    clock.advance(11.0)
    album.keep([PAGE])
    assert album.find("near-1") is not None
    assert disk.tries == 2
