"""Waiting for a fact with a deadline: nothing in the tests sleeps for a fixed time."""

from collections.abc import Callable
from threading import Event
from time import monotonic

_NEVER = Event()


def pause(seconds: float) -> None:
    """Let so much time pass, where time itself is what a test is about."""
    _NEVER.wait(seconds)


def wait_until(
    fact: Callable[[], object], what: str, timeout_s: float = 10.0, every_s: float = 0.02
) -> None:
    """Ask until `fact()` is true. Raises AssertionError that names `what` was waited for."""
    deadline_s = monotonic() + timeout_s
    while not fact():
        if monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        _NEVER.wait(every_s)
