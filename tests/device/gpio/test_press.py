"""Levels over time to presses."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from device.gpio.press import Phase, first_look, hold, look, push, release
from device.ports import Press

HOLD, BOUNCE = 300, 50


def presses(levels: Sequence[tuple[int, bool]]) -> list[tuple[int, Press]]:
    """(time, is closed) pairs, one a look, to the presses and when they were told."""
    (start, is_closed), *rest = levels
    contact, told = first_look(is_closed, start), list[tuple[int, Press]]()
    for now, closed in rest:
        contact, press = look(contact, closed, now, HOLD, BOUNCE)
        if press is not None:
            told.append((now, press))
    return told


def looks(*spans: tuple[int, bool], step: int = 10) -> list[tuple[int, bool]]:
    """Looks every `step`: each span is how long, and whether the contact is closed."""
    found, now = [], 0
    for length, closed in spans:
        found += [(at, closed) for at in range(now, now + length, step)]
        now += length
    return found


def test_a_press_that_ends_early_is_short() -> None:
    assert presses(looks((100, False), (200, True), (200, False))) == [(350, "short")]


def test_a_press_that_lasts_is_held_once_and_has_no_short_end() -> None:
    assert presses(looks((100, False), (900, True), (200, False))) == [(400, "held")]


def test_bouncing_at_both_ends_makes_one_press_of_it() -> None:
    bounce = [(10, True), (10, False)] * 5
    levels = looks((100, False), *bounce, (150, True), *bounce, (200, False))
    assert [press for _, press in presses(levels)] == ["short"]


def test_a_glitch_is_no_press() -> None:
    assert presses(looks((100, False), (30, True), (200, False))) == []


def test_a_glitch_does_not_end_a_hold() -> None:
    levels = looks((100, False), (150, True), (30, False), (150, True), (200, False))
    assert presses(levels) == [(400, "held")]


def test_a_button_that_is_down_from_the_start_is_no_press_until_it_was_let_go() -> None:
    levels = looks((900, True), (200, False), (100, True), (200, False))
    assert [press for _, press in presses(levels)] == ["short"]


def test_steps_by_hand_agree_with_themselves() -> None:
    assert push(Phase.UP) is Phase.DOWN
    assert push(Phase.TOLD) is Phase.TOLD
    assert hold(Phase.DOWN) == (Phase.TOLD, "held")
    assert hold(Phase.TOLD) == (Phase.TOLD, None)
    assert hold(Phase.UP) == (Phase.UP, None)
    assert release(Phase.DOWN) == (Phase.UP, "short")
    assert release(Phase.TOLD) == (Phase.UP, None)


@given(
    spans=st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=30),
    step=st.sampled_from([5, 10, 20]),
)
def test_there_are_never_more_presses_than_steady_closings(
    spans: list[tuple[int, bool]], step: int
) -> None:
    levels = looks((100, False), *((length * 10, closed) for length, closed in spans), step=step)
    merged = 0
    run_start, was = 0, False
    for at, closed in [*levels, (levels[-1][0] + 1000, False)]:
        if closed != was:
            merged += was and at - run_start >= BOUNCE
            run_start, was = at, closed
    assert len(presses(levels)) <= merged
