"""Scores over time to *began*, *ended* and *near miss*."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.detection import (
    HISTORY_LENGTH,
    Change,
    Patience,
    Phase,
    TargetState,
    Thresholds,
    Transition,
    advance,
    go_blind,
    is_detected,
    present_of,
    smooth,
)

LIMITS = Thresholds(low=0.3, high=0.5)
MS = 1_000_000


def run(
    scores: Sequence[float],
    patience: Patience,
    limits: Thresholds = LIMITS,
    step_ms: int = 100,
) -> tuple[TargetState, list[tuple[int, Transition]]]:
    """Looks every `step_ms`, from 0 on; the last state, and what came of which look."""
    state, found = TargetState(), []
    for number, score in enumerate(scores):
        state, transition = advance(state, score, number * step_ms * MS, limits, patience)
        if transition is not None:
            found.append((number, transition))
    return state, found


def told(found: list[tuple[int, Transition]]) -> list[tuple[int, str, str]]:
    return [(number, each.change.value, each.reason) for number, each in found]


@pytest.mark.parametrize(
    ("was", "score", "now"),
    [
        (False, 0.49, False),
        (False, 0.5, True),
        (True, 0.3, True),
        (True, 0.29, False),
        (False, 0.29, False),
        (True, 0.9, True),
    ],
)
def test_hysteresis_goes_on_from_high_and_off_below_low(was: bool, score: float, now: bool) -> None:
    assert is_detected(was, score, LIMITS) is now


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.5), (-0.1, 0.5), (0.1, 1.1), (float("nan"), 1)])
def test_thresholds_that_make_no_sense_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="want 0 <= low <= high <= 1"):
        Thresholds(low=low, high=high)


def test_without_patience_every_look_counts() -> None:
    _, found = run([0.1, 0.6, 0.4, 0.2, 0.7], Patience())
    assert told(found) == [(1, "began", "seen"), (3, "ended", "gone"), (4, "began", "seen")]


def test_it_must_be_there_for_the_shortest_time() -> None:
    patience = Patience(shortest_ns=250 * MS)
    _, found = run([0.6, 0.6, 0.6, 0.6], patience)
    assert told(found) == [(3, "began", "seen")]


def test_too_short_a_visit_is_a_near_miss_for_want_of_time() -> None:
    patience = Patience(shortest_ns=250 * MS)
    _, found = run([0.6, 0.6, 0.1, 0.1], patience)
    assert told(found) == [(2, "near_miss", "time")]
    assert found[0][1].peak == 0.6


def test_a_gap_shorter_than_the_absence_is_bridged() -> None:
    patience = Patience(absence_ns=250 * MS)
    _, found = run([0.6, 0.1, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1], patience)
    assert told(found) == [(0, "began", "seen"), (7, "ended", "gone")]


def test_a_presence_that_lasts_too_long_ends_and_begins_anew_only_once_it_was_gone() -> None:
    patience = Patience(longest_ns=250 * MS)
    state, found = run([0.6] * 8, patience)
    assert told(found) == [(0, "began", "seen"), (3, "ended", "too_long")]
    assert state.phase is Phase.SPENT
    assert not state.is_present
    _, found = run([0.6] * 8 + [0.1, 0.6], patience)
    assert told(found)[2:] == [(9, "began", "seen")]


def test_after_an_end_nothing_begins_while_it_cools_down() -> None:
    patience = Patience(cooldown_ns=300 * MS)
    _, found = run([0.6, 0.1, 0.6, 0.6, 0.6, 0.6], patience)
    assert told(found) == [(0, "began", "seen"), (1, "ended", "gone"), (4, "began", "seen")]


def test_a_visit_that_fell_into_the_cooldown_is_a_near_miss_that_says_so() -> None:
    patience = Patience(cooldown_ns=1000 * MS)
    _, found = run([0.6, 0.1, 0.6, 0.1], patience)
    assert told(found)[2:] == [(3, "near_miss", "cooldown")]


def test_a_score_that_came_near_is_told_once_when_it_has_turned_away() -> None:
    _, found = run([0.1, 0.4, 0.45, 0.4, 0.35, 0.2, 0.1], Patience())
    assert told(found) == [(5, "near_miss", "score")]
    assert found[0][1].peak == 0.45


def test_a_score_that_was_never_near_is_not_told() -> None:
    _, found = run([0.1, 0.37, 0.1], Patience())
    assert told(found) == []


def test_a_score_that_rests_under_low_but_near_is_not_told_with_every_look() -> None:
    """`low` above what makes a near miss: 0.75 * 0.5 = 0.375."""
    limits = Thresholds(low=0.45, high=0.5)
    _, found = run([0.1] + [0.4] * 20 + [0.39, 0.36, 0.4] * 5 + [0.1, 0.1], Patience(), limits)
    assert told(found) == [(36, "near_miss", "score")]


def test_smoothing_means_the_same_at_every_frame_rate() -> None:
    patience = Patience(smoothing_ns=300 * MS)
    slow, _ = run([0.0] + [1.0] * 3, patience, step_ms=200)
    fast, _ = run([0.0] + [1.0] * 12, patience, step_ms=50)
    assert slow.smoothed == pytest.approx(fast.smoothed)
    assert 0.8 < slow.smoothed < 0.9


def test_the_first_score_is_taken_as_it_comes() -> None:
    assert smooth(TargetState(), 0.8, 5, 300 * MS) == 0.8


def test_a_clock_that_stands_still_changes_nothing() -> None:
    state = TargetState(smoothed=0.2, last_ns=100)
    assert smooth(state, 0.9, 100, 300 * MS) == 0.2
    assert smooth(state, 0.9, 50, 300 * MS) == 0.2


def test_the_why_holds_the_last_looks_oldest_first() -> None:
    scores = [number / 100 for number in range(20)] + [0.9]
    _, found = run(scores, Patience())
    history = found[0][1].history
    assert len(history) == HISTORY_LENGTH
    assert [each.score for each in history] == scores[-HISTORY_LENGTH:]
    assert history[-1].at_ns == found[0][1].at_ns


def test_an_end_knows_its_beginning_and_its_best_score() -> None:
    _, found = run([0.6, 0.9, 0.7, 0.1], Patience())
    ended = found[1][1]
    assert (ended.change, ended.began_ns, ended.at_ns) == (Change.ENDED, 0, 300 * MS)
    assert (ended.peak, ended.score) == (0.9, 0.1)


def test_the_gate_stays_open_while_time_decides_or_the_smoothing_has_not_caught_up() -> None:
    coming, _ = run([0.6], Patience(shortest_ns=250 * MS))
    leaving, _ = run([0.6, 0.1], Patience(absence_ns=250 * MS))
    lagging, _ = run([0.0, 0.4], Patience(smoothing_ns=500 * MS))
    settled, _ = run([0.6, 0.6], Patience())
    assert (coming.phase, leaving.phase) == (Phase.COMING, Phase.LEAVING)
    assert [each.is_busy for each in (coming, leaving, lagging, settled)] == [
        True,
        True,
        True,
        False,
    ]


def test_a_blind_box_ends_what_was_present_and_forgets_the_rest() -> None:
    present, _ = run([0.6], Patience())
    state, transition = go_blind(present, 500 * MS)
    assert transition is not None
    assert (transition.change, transition.reason) == (Change.ENDED, "blind")
    assert state == TargetState(ended_ns=500 * MS)
    absent, _ = run([0.4], Patience())
    assert go_blind(absent, 500 * MS) == (TargetState(), None)


def test_nothing_is_what_is_present_when_no_label_qualifies() -> None:
    here, _ = run([0.6], Patience())
    away, _ = run([0.1], Patience())
    assert present_of({"cat": here, "dog": away}) == ("cat",)
    assert present_of({"dog": away}) == ()


PATIENCE = st.builds(
    Patience,
    smoothing_ns=st.sampled_from([0, 100 * MS, 400 * MS]),
    shortest_ns=st.sampled_from([0, 150 * MS]),
    absence_ns=st.sampled_from([0, 250 * MS]),
    longest_ns=st.sampled_from([None, 500 * MS]),
    cooldown_ns=st.sampled_from([0, 300 * MS]),
    near_miss_share=st.sampled_from([0.1, 0.75, 1.0]),
)
BOUNDS = st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(
    lambda pair: Thresholds(low=min(pair), high=max(pair))
)


@given(scores=st.lists(st.floats(0, 1), max_size=60), patience=PATIENCE, limits=BOUNDS)
def test_beginnings_and_ends_alternate_and_keep_their_distances(
    scores: list[float], patience: Patience, limits: Thresholds
) -> None:
    state, found = run(scores, patience, limits)
    turns = [each for _, each in found if each.change is not Change.NEAR_MISS]
    assert [each.change for each in turns] == [Change.BEGAN, Change.ENDED] * (len(turns) // 2) + [
        Change.BEGAN
    ] * (len(turns) % 2)
    assert state.is_present == (len(turns) % 2 == 1)
    for earlier, later in pairwise(turns):
        if later.change is Change.BEGAN:
            assert later.at_ns - earlier.at_ns >= max(patience.cooldown_ns, patience.shortest_ns)
        else:
            assert later.began_ns == earlier.at_ns
    for each in turns:
        if each.change is Change.BEGAN:
            assert each.peak >= limits.high


@given(scores=st.lists(st.floats(0, 1), max_size=60), patience=PATIENCE, limits=BOUNDS)
def test_a_near_miss_never_comes_from_a_presence_and_was_near(
    scores: list[float], patience: Patience, limits: Thresholds
) -> None:
    _, found = run(scores, patience, limits)
    for _, each in found:
        if each.change is Change.NEAR_MISS:
            assert each.peak >= patience.near_miss_share * limits.high
            assert each.reason in ("score", "time", "cooldown")
            if each.reason == "score":
                assert each.peak < limits.high


def near_misses(patience: Patience, seconds: int) -> list[int]:
    """When each was told, in seconds; the score comes near every other second."""
    state = TargetState()
    seconds_told = []
    for second in range(seconds):
        score = 0.45 if second % 2 else 0.1
        state, change = advance(state, score, second * 1000 * MS, LIMITS, patience)
        if change is not None and change.change is Change.NEAR_MISS:
            seconds_told.append(second)
    return seconds_told


def test_near_misses_of_one_label_keep_a_pause() -> None:
    assert len(near_misses(Patience(), 120)) == 59
    assert near_misses(Patience(near_miss_pause_ns=60_000 * MS), 120) == [2, 62]


def test_blindness_does_not_shorten_the_pause_between_near_misses() -> None:
    patience = Patience(near_miss_pause_ns=60_000 * MS)
    state, count = TargetState(), 0
    for second in range(30):
        if second % 4 == 3:
            state, _ = go_blind(state, second * 1000 * MS)
            continue
        score = 0.45 if second % 4 == 1 else 0.1
        state, change = advance(state, score, second * 1000 * MS, LIMITS, patience)
        count += change is not None
    assert count == 1
