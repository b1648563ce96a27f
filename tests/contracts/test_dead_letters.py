"""What every store of dead letters promises."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud_bridge.clocks import HandClock
from cloud_bridge.errors import FullError
from cloud_bridge.forward.fake_dead_letters import FakeDeadLetters
from cloud_bridge.forward.sqlite_dead_letters import SqliteDeadLetters
from cloud_bridge.ports import DeadLetters, Letter

MAX_BYTES = 100_000

STORES: dict[str, Callable[[Path, HandClock], DeadLetters]] = {
    "fake": lambda _folder, clock: FakeDeadLetters(MAX_BYTES, clock),
    "sqlite": lambda folder, clock: SqliteDeadLetters(folder / "letters.db", MAX_BYTES, clock),
}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock
) -> Iterator[DeadLetters]:
    store = STORES[request.param](tmp_path, clock)
    yield store
    store.close()


def letter(number: int, size_bytes: int = 10) -> Letter:
    return Letter(
        topic="home/devices/garden/events/detection",
        payload=f"{number}".encode().ljust(size_bytes, b"\xff"),
        reason="not JSON",
        registry="home",
        device="garden",
        run="1-9f2c1a7b",
        seq=number,
    )


def test_letters_are_kept_as_they_are_oldest_first(store: DeadLetters) -> None:
    letters = [letter(number) for number in (3, 1, 2)]
    store.add_all(letters[:2])
    store.add_all(letters[2:])
    assert [each.letter for each in store.letters()] == letters
    assert [each.letter for each in store.letters(limit=2)] == letters[:2]


def test_a_letter_from_nobody_is_kept_too(store: DeadLetters) -> None:
    lost = Letter(topic="what/\\xff", payload=b"", reason="topic: not UTF-8")
    store.add_all([lost])
    assert [each.letter for each in store.letters()] == [lost]


def test_numbers_are_never_given_twice(store: DeadLetters) -> None:
    store.add_all([letter(1), letter(2)])
    numbers = [each.number for each in store.letters()]
    assert store.remove(numbers) == 2
    store.add_all([letter(3)])
    [kept] = store.letters()
    assert kept.number > max(numbers)


def test_the_same_letter_again_is_counted(store: DeadLetters, clock: HandClock) -> None:
    store.add_all([letter(1)])
    clock.advance(60.0)
    store.add_all([letter(1), letter(1)])
    [kept] = store.letters()
    assert kept.times == 3
    assert kept.last_ns - kept.first_ns == 60_000_000_000


def test_named_letters_are_found_and_removed(store: DeadLetters) -> None:
    store.add_all([letter(number) for number in range(5)])
    numbers = [each.number for each in store.letters()]
    chosen = [numbers[3], numbers[1]]
    found = store.letters([*chosen, 999])
    assert [each.letter.seq for each in found] == [1, 3]
    assert store.remove([*chosen, 999]) == 2
    assert [each.number for each in store.letters()] == [numbers[0], numbers[2], numbers[4]]


def test_what_is_too_much_is_refused_as_a_whole(store: DeadLetters) -> None:
    store.add_all([letter(1, 50_000)])
    before = store.count()
    with pytest.raises(FullError):
        store.add_all([letter(2), letter(3, 60_000)])
    assert store.count() == before
    store.add_all([letter(2)])
    assert store.count()[0] == 2


def test_removing_makes_room(store: DeadLetters) -> None:
    store.add_all([letter(1, 90_000)])
    store.remove([store.letters()[0].number])
    assert store.count() == (0, 0)
    store.add_all([letter(2, 90_000)])
    assert store.count()[0] == 1
