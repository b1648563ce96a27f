"""The box's own record, and the feed of those who watch."""

import pytest

from device.album.fake_album import FakeAlbum
from device.errors import TransientError
from device.pipeline.journal import (
    PAGES_AT_MOST,
    RECORDS_A_WATCHER,
    WATCHERS_AT_MOST,
    Feed,
    Journal,
)
from device.ports import Page
from device.wire.control import Record
from device.wire.events import Event


def record(number: int) -> Record:
    return Record(id=f"near-{number}", time="", kind="near_miss", headline="", detail={})


def no_event(event: Event) -> Record:
    raise AssertionError(f"no event was committed, and {event.id} came")


def test_pages_are_written_by_the_journals_own_turn() -> None:
    album = FakeAlbum()
    journal = Journal(album, Feed(), no_event)
    journal.keep(Page(record(1)))
    assert album.find("near-1") is None
    journal.turn()
    assert album.find("near-1") is not None


def test_keeping_never_blocks_and_what_is_dropped_is_counted() -> None:
    journal = Journal(FakeAlbum(), Feed(), no_event)
    for number in range(PAGES_AT_MOST + 3):
        journal.keep(Page(record(number)))
    assert journal.dropped == 3
    journal.flush()
    journal.keep(Page(record(99)))
    assert journal.dropped == 3


def test_a_refusing_disk_is_a_problem_until_it_takes_pages_again() -> None:
    album = FakeAlbum()
    journal = Journal(album, Feed(), no_event)
    album.is_full = True
    journal.keep(Page(record(1)))
    journal.turn()
    assert journal.problem is not None
    assert journal.dropped == 1
    album.is_full = False
    journal.keep(Page(record(2)))
    journal.turn()
    assert journal.problem is None


def test_each_watcher_gets_each_record() -> None:
    feed = Feed()
    one, two = feed.subscribe(), feed.subscribe()
    feed.give(record(1))
    assert one.get_nowait().id == two.get_nowait().id == "near-1"
    feed.unsubscribe(one)
    feed.give(record(2))
    assert one.empty()
    assert two.get_nowait().id == "near-2"


def test_a_slow_watcher_sees_the_newest() -> None:
    feed = Feed()
    slow = feed.subscribe()
    for number in range(RECORDS_A_WATCHER + 5):
        feed.give(record(number))
    assert slow.get_nowait().id == "near-5"


def test_too_many_watchers_are_told_so() -> None:
    feed = Feed()
    for _ in range(WATCHERS_AT_MOST):
        feed.subscribe()
    with pytest.raises(TransientError, match="watch already"):
        feed.subscribe()
