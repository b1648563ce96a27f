import sqlite3
from pathlib import Path

import pytest
from grpc import StatusCode

from cloud_bridge.errors import OutputError, TransientError
from cloud_bridge.local_pubsub.refusals import RefusedError
from cloud_bridge.local_pubsub.store import Batch, Store


class SmallDisk(Store):
    """A disk that holds so many pages: SQLite's own way to be full."""

    def fill_up(self) -> None:
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        self._db.execute(f"PRAGMA max_page_count = {pages + 2}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pubsub.db"


def batch(*ids: int, subscriptions: tuple[int, ...], size_bytes: int = 100) -> Batch:
    bodies = [(identity, f"{identity}".encode().ljust(size_bytes)) for identity in ids]
    return Batch(0.0, bodies, [(number, list(ids)) for number in subscriptions])


def add(store: Store, *names: str) -> tuple[int, ...]:
    with store.transaction():
        return tuple(store.add_subscription(name, b"") for name in names)


def waiting(store: Store, subscription: int, after: int = 0) -> list[int]:
    with store.transaction():
        found, _ = store.after(subscription, after, 100_000, 1 << 30)
    return [stored.id for stored in found]


def test_messages_wait_until_every_subscription_has_done_with_them(path: Path) -> None:
    store = Store(path, 1 << 30)
    first, second = add(store, "first", "second")
    with store.transaction():
        store.append(batch(1, 2, subscriptions=(first, second)))
        store.append(batch(3, subscriptions=(second,)))
    with store.transaction():
        store.remove(first, [1, 2, 77])
    assert waiting(store, first) == []
    assert waiting(store, second) == [1, 2, 3]
    with store.transaction():
        store.remove(second, [1, 3])
    assert waiting(store, second) == [2]
    assert sqlite3.connect(path).execute("SELECT id FROM messages").fetchall() == [(2,)]
    store.close()


def test_what_is_stored_comes_back_as_it_was(path: Path) -> None:
    store = Store(path, 1 << 30)
    [number] = add(store, "one")
    bodies = [(1, b"\x00\xff"), (2, b""), (3, bytes(range(256)) * 300)]
    with store.transaction():
        store.append(Batch(5.0, bodies, [(number, [1, 2, 3])]))
        store.note_attempts(number, [(3, 4)])
    store.close()
    store = Store(path, 1 << 30)
    with store.transaction():
        found, are_all = store.after(number, 0, 10, 1 << 30)
    assert are_all
    assert [(each.id, each.body) for each in found] == bodies
    assert [each.attempts for each in found] == [0, 0, 4]
    store.close()


def test_reading_stops_at_a_number_and_at_a_size(path: Path) -> None:
    store = Store(path, 1 << 30)
    [number] = add(store, "one")
    with store.transaction():
        store.append(batch(*range(1, 11), subscriptions=(number,)))
        by_number, are_all = store.after(number, 3, 4, 1 << 30)
        assert [each.id for each in by_number] == [4, 5, 6, 7]
        assert not are_all
        by_size, are_all = store.after(number, 0, 100, 250)
        assert [each.id for each in by_size] == [1, 2, 3]
        assert not are_all
    store.close()


def test_every_run_has_a_number_of_its_own(path: Path) -> None:
    numbers = []
    for _ in range(3):
        store = Store(path, 1 << 30)
        numbers.append(store.run)
        store.close()
    assert numbers == [1, 2, 3]


def test_a_transaction_that_raises_leaves_nothing(path: Path) -> None:
    store = Store(path, 1 << 30)
    [number] = add(store, "one")

    def half() -> None:
        with store.transaction():
            store.append(batch(1, subscriptions=(number,)))
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert waiting(store, number) == []
    store.close()


def test_no_more_is_stored_than_the_share_of_the_disk(path: Path) -> None:
    store = Store(path, 1_000_000)
    [number] = add(store, "one")
    stored = 0

    def fill() -> None:
        nonlocal stored
        for start in range(1, 10_000, 10):
            some = batch(*range(start, start + 10), subscriptions=(number,), size_bytes=1000)
            with store.transaction():
                store.append(some)
            stored += 10

    with pytest.raises(RefusedError) as caught:
        fill()
    assert caught.value.code == StatusCode.RESOURCE_EXHAUSTED
    assert "--max-bytes" in caught.value.words
    assert 700 < stored < 1000
    assert waiting(store, number) == list(range(1, stored + 1))
    with store.transaction():
        store.remove(number, range(1, stored // 2))
        store.append(batch(20_000, subscriptions=(number,)))
    assert path.stat().st_size < 1_100_000
    store.close()


def test_on_a_full_disk_nothing_is_stored_and_removing_goes_on(path: Path) -> None:
    store = SmallDisk(path, 1 << 30)
    [number] = add(store, "one")
    with store.transaction():
        store.append(batch(*range(1, 101), subscriptions=(number,)))
    store.fill_up()
    with pytest.raises(RefusedError) as caught, store.transaction():
        store.append(batch(*range(200, 300), subscriptions=(number,), size_bytes=1000))
    assert caught.value.code == StatusCode.UNAVAILABLE
    assert waiting(store, number) == list(range(1, 101))
    with store.transaction():
        store.remove(number, range(1, 100))
    assert waiting(store, number) == [100]
    store.close()


def test_the_oldest_messages_are_removed_by_age(path: Path) -> None:
    store = Store(path, 1 << 30)
    [number] = add(store, "one")
    with store.transaction():
        for identity, born_s in enumerate([0.0, 10.0, 20.0], start=1):
            store.append(Batch(born_s, [(identity, b"x")], [(number, [identity])]))
        assert store.remove_older(number, 10.0, limit=10) == [1]
        assert store.remove_older(number, 100.0, limit=1) == [2]
        assert store.remove_older(number, 100.0, limit=10) == [3]
        assert store.remove_older(number, 100.0, limit=10) == []
    store.close()


def test_what_a_deleted_subscription_leaves_is_removed_bit_by_bit(path: Path) -> None:
    store = Store(path, 1 << 30)
    first, second = add(store, "first", "second")
    with store.transaction():
        store.append(batch(*range(1, 6), subscriptions=(first, second)))
        store.append(batch(6, 7, subscriptions=(first,)))
        store.delete_subscription(first)
    counts = []
    while True:
        with store.transaction():
            counts.append(store.remove_orphans(4))
        if not counts[-1]:
            break
    assert counts == [4, 3, 0]
    assert waiting(store, second) == [1, 2, 3, 4, 5]
    assert sqlite3.connect(path).execute("SELECT count(*) FROM messages").fetchone() == (5,)
    store.close()


def test_a_damaged_file_is_said_to_be_damaged(path: Path) -> None:
    path.write_bytes(b"this is no database at all, not even a small one" * 100)
    with pytest.raises(OutputError, match="damaged"):
        Store(path, 1 << 30)


def test_a_file_of_a_later_format_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutputError, match="format 99"):
        Store(path, 1 << 30)


def test_a_folder_that_is_absent_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="absent"):
        Store(tmp_path / "absent" / "pubsub.db", 1 << 30)
