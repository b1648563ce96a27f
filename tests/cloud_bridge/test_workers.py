"""A worker whose turn raises goes on; one that keeps dying, or hangs, is found out."""

from collections.abc import Callable
from threading import Event

from cloud_bridge.clocks import HandClock
from cloud_bridge.workers import DEATHS_AT_MOST, Worker, join_all, supervise
from tests.kit.waiting import wait_until


def worker(turn: Callable[[], None], stop: Event, clock: HandClock) -> Worker:
    return Worker("some", turn, stop, clock, lambda: 0.0, deadline_s=5.0)


def test_a_turn_that_raises_once_is_taken_again() -> None:
    stop, turns = Event(), []

    def turn() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise KeyError("once")
        stop.set()

    some = worker(turn, stop, HandClock())
    some.start()
    some.join(5.0)
    assert len(turns) == 2
    assert some.error is None
    assert some.deaths == 1


def test_a_turn_that_keeps_raising_ends_the_bridge() -> None:
    stop, turns = Event(), []

    def turn() -> None:
        turns.append(1)
        raise KeyError("always")

    some = worker(turn, stop, HandClock())
    was_asked = supervise([some], stop, lambda: None, lambda _: Event().wait(0.01))
    assert not was_asked
    assert isinstance(some.error, KeyError)
    assert len(turns) == DEATHS_AT_MOST


def test_a_turn_that_hangs_ends_the_bridge() -> None:
    stop, hang, begun, clock = Event(), Event(), Event(), HandClock()

    def turn() -> None:
        begun.set()
        hang.wait(10.0)

    some = worker(turn, stop, clock)

    def tick() -> None:
        if begun.is_set():
            clock.advance(6.0)

    assert not supervise([some], stop, tick, lambda _: Event().wait(0.01))
    assert join_all([some], 0.02) == ["some"]
    hang.set()
    wait_until(lambda: join_all([some], 0.1) == [], "the worker ends")


def test_the_wish_to_stop_ends_all() -> None:
    stop = Event()
    some = worker(lambda: None, stop, HandClock())
    assert supervise([some], stop, lambda: None, lambda _: True)
    assert join_all([some], 5.0) == []
