"""Threads that prove progress, die, are started again, hang, and end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from threading import Event

import pytest

from device.clocks import HandClock, SystemClock
from device.workers import (
    DEATHS_AT_MOST,
    TRY_ON_AT_MOST_S,
    StopSignals,
    Worker,
    join_all,
    run_within,
    supervise,
)


def make(turn: Callable[[], None], stop: Event, deadline_s: float | None = 1.0) -> Worker:
    return Worker("w", turn, stop, SystemClock(), deadline_s, lambda: 0.0)


def test_a_worker_turns_until_it_is_told_to_stop() -> None:
    stop, turned = Event(), Event()

    def turn() -> None:
        turned.set()
        stop.wait(0.001)

    worker = make(turn, stop)
    worker.start()
    assert turned.wait(5)
    stop.set()
    assert join_all([worker], 5.0) == []


def test_a_worker_that_raises_once_goes_on() -> None:
    stop, went_on = Event(), Event()
    raised: list[int] = []

    def turn() -> None:
        if not raised:
            raised.append(1)
            raise RuntimeError("once")
        went_on.set()
        stop.wait(0.01)

    worker = make(turn, stop)
    worker.start()
    assert went_on.wait(5)
    assert (worker.deaths, worker.error) == (1, None)
    stop.set()
    assert join_all([worker], 5.0) == []


def test_a_worker_that_keeps_dying_gives_up_and_says_why() -> None:
    clock, stop = HandClock(), Event()

    def turn() -> None:
        raise RuntimeError("always")

    worker = Worker("w", turn, stop, clock, 1.0, lambda: 0.0)
    worker.run()
    assert worker.deaths == DEATHS_AT_MOST
    assert str(worker.error) == "always"


def test_a_turn_past_its_deadline_is_late() -> None:
    clock = HandClock()
    worker = Worker("w", lambda: None, Event(), clock, 2.0, lambda: 0.0)
    clock.advance(1.5)
    assert worker.late_s() == 0.0
    clock.advance(1.5)
    assert worker.late_s() == 1.0


def test_a_worker_without_deadline_is_never_late() -> None:
    clock = HandClock()
    worker = Worker("w", lambda: None, Event(), clock, None, lambda: 0.0)
    clock.advance(1e6)
    assert worker.late_s() == 0.0


def test_supervise_ends_when_asked_and_ticks_until_then() -> None:
    stop, ticks = Event(), [0]
    worker = make(lambda: (stop.wait(0.01), None)[1], stop)

    def tick() -> None:
        ticks[0] += 1

    def wait(_: float) -> int | None:
        return signal.SIGTERM if ticks[0] == 3 else None

    assert supervise([worker], stop, tick, wait)
    assert ticks == [3]
    assert join_all([worker], 5.0) == []


def test_supervise_ends_when_a_worker_hangs() -> None:
    clock, stop, release = HandClock(), Event(), Event()
    worker = Worker("w", lambda: (release.wait(30), None)[1], stop, clock, 2.0, lambda: 0.0)

    rounds: list[int] = []

    def wait(_: float) -> int | None:
        clock.advance(1.0)
        rounds.append(1)
        return signal.SIGTERM if len(rounds) > 20 else None  # not for ever, whatever breaks

    assert not supervise([worker], stop, lambda: None, wait)
    assert join_all([worker], 0.0) == ["w"]
    release.set()
    assert join_all([worker], 5.0) == []


def test_supervise_ends_when_a_worker_gives_up() -> None:
    clock, stop, died = HandClock(), Event(), Event()

    def turn() -> None:
        died.set()
        raise RuntimeError("always")

    worker = Worker("w", turn, stop, clock, 1.0, lambda: 0.0)
    rounds: list[int] = []

    def wait(_: float) -> int | None:
        worker.join(0.05)
        rounds.append(1)
        return signal.SIGTERM if len(rounds) > 200 else None

    assert not supervise([worker], stop, lambda: None, wait)
    assert died.is_set()


def test_a_stop_signal_is_heard_whichever_thread_the_kernel_gives_it_to() -> None:
    program = """
import os, signal, threading
from device.clocks import SystemClock
from device.workers import StopSignals, StopSignals, Worker, join_all, supervise

import numpy
numpy.ones((300, 300)) @ numpy.ones((300, 300))  # its threads are there before ours
signals = StopSignals()
stop = threading.Event()
worker = Worker("w", lambda: stop.wait(0.01), stop, SystemClock(), 5.0, lambda: 0.0)
said = []
def tick():
    if not said:
        said.append(1)
        os.write(1, b"up\\n")
asked = supervise([worker], stop, tick, signals.wait)
os.write(1, b"asked\\n" if asked else b"not\\n")
os._exit(0 if join_all([worker], 5.0) == [] else 1)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.kill(process.pid, signal.SIGTERM)
    told, _ = process.communicate(timeout=20)
    assert (told, process.returncode) == (b"asked\n", 0)


def test_a_worker_without_deadline_is_tried_on_for_ever_and_says_why() -> None:
    clock, stop = HandClock(), Event()
    turns: list[int] = []
    problems: list[str | None] = []

    def turn() -> None:
        turns.append(1)
        problems.append(worker.problem)
        clock.advance(20.0)
        if len(turns) == 50:
            stop.set()
        if len(turns) < 40:
            raise ZeroDivisionError("an album of a strange shape")

    worker = Worker("album", turn, stop, clock, None, lambda: 0.0)
    worker.run()
    assert (worker.error, worker.deaths) == (None, 39)
    assert problems[: DEATHS_AT_MOST - 1] == [None] * (DEATHS_AT_MOST - 1)
    assert "an album of a strange shape" in (problems[20] or "")
    assert problems[41] is not None, "one good turn proves little"
    assert problems[-1] is None


def test_a_worker_without_deadline_is_tried_less_and_less_often() -> None:
    stop = Event()
    waits: list[float] = []

    class Stop(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            if len(waits) == 20:
                stop.set()
            return False

        def is_set(self) -> bool:
            return stop.is_set()

    def turn() -> None:
        raise RuntimeError("always")

    Worker("uplink", turn, Stop(), HandClock(), None, lambda: 1.0).run()
    assert waits == sorted(waits)
    assert waits[-1] == TRY_ON_AT_MOST_S


def test_supervise_ends_when_mains_own_work_fails(caplog: pytest.LogCaptureFixture) -> None:
    stop = Event()
    worker = make(lambda: (stop.wait(0.01), None)[1], stop)

    def tick() -> None:
        raise UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")

    assert not supervise([worker], stop, tick, lambda _: None)
    assert stop.is_set()
    assert join_all([worker], 5.0) == []
    assert any(each.exc_info for each in caplog.records)


def test_a_step_that_hangs_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    release, done = Event(), Event()

    def slow() -> None:
        release.wait(30)
        done.set()

    def broken() -> None:
        raise ZeroDivisionError

    assert not run_within("slow", slow, 0.05)
    release.set()
    assert done.wait(5)
    assert run_within("broken", broken, 5.0)
    assert "not ended cleanly name=broken" in caplog.text


def test_a_hangup_asks_for_a_reload_once_and_does_not_stop() -> None:
    signals = StopSignals()
    try:
        assert not signals.take_reload()
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.wait(0.0) is None
        assert signals.take_reload()
        assert not signals.take_reload()
    finally:
        signals.close()
