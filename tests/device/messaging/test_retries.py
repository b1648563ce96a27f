"""How long a box waits before it tries the broker again."""

import pytest

from device.messaging.retries import STEADY_NS, Retries

SECOND_NS = 1_000_000_000
LONGEST = 1.0
"""The worst of all dice."""


def fail_for(retries: Retries, seconds: float, now_ns: int) -> int:
    """Tries that fail at once, until so much time has passed; the time then."""
    end_ns = now_ns + round(seconds * SECOND_NS)
    while now_ns < end_ns:
        retries.fail(now_ns)
        now_ns += retries.wait_ns(now_ns)
    return now_ns


def test_the_first_tries_come_quickly() -> None:
    retries = Retries(lambda: LONGEST, 0)
    assert [retries.fail(0) for _ in range(3)] == [1.0, 2.0, 2.0]
    assert Retries(lambda: 0.0, 0).fail(0) == 0.5


@pytest.mark.parametrize(("away_s", "within_s"), [(20.0, 2.5), (60.0, 7.0), (3600.0, 60.0)])
def test_a_broker_that_is_back_is_tried_soon_however_often_it_was_not_there(
    away_s: float, within_s: float
) -> None:
    retries = Retries(lambda: LONGEST, 0)
    now_ns = fail_for(retries, away_s, 0)
    assert retries.fail(now_ns) <= within_s


def test_a_steady_connection_makes_the_next_failure_the_first_again() -> None:
    retries = Retries(lambda: LONGEST, 0)
    began_ns = fail_for(retries, 600.0, 0)
    ended_ns = began_ns + STEADY_NS + 1
    assert retries.note_end(began_ns, ended_ns)
    assert retries.fail(ended_ns) == 1.0


def test_a_connection_that_ends_soon_again_and_again_is_tried_ever_later() -> None:
    """Two boxes under one name throw each other off."""
    retries = Retries(lambda: LONGEST, 0)
    waits = []
    now_ns = 0
    for _ in range(200):
        assert not retries.note_end(now_ns, now_ns + SECOND_NS)
        waits.append(retries.fail(now_ns + SECOND_NS))
        now_ns += SECOND_NS + retries.wait_ns(now_ns)
    assert waits == sorted(waits)
    assert waits[-1] == 60.0


def test_a_broker_that_goes_every_few_seconds_is_not_given_up_for_long() -> None:
    retries = Retries(lambda: LONGEST, 0)
    now_ns = 0
    for _ in range(5):
        now_ns += 6 * SECOND_NS
        retries.note_end(now_ns - 5 * SECOND_NS, now_ns)
        assert retries.fail(now_ns) <= 3.0
