"""What an output does and how long."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.rules import (
    NS_PER_S,
    Action,
    Hours,
    Moment,
    OutputLimits,
    Presence,
    Rule,
    RulesState,
    all_safe,
    decide,
)

NOON = 12 * 60
LIMITS = {"lamp": OutputLimits()}


def cat(present: bool, since_s: float = 0, region: str = "yard") -> Presence:
    return Presence(region, "cat", present, round(since_s * NS_PER_S))


def at(seconds: float, minute: int | None = NOON) -> Moment:
    return Moment(now_ns=round(seconds * NS_PER_S), minute_of_day=minute)


def lamp_rule(
    action: Action = Action.ON,
    *,
    name: str = "light",
    target: str = "cat",
    is_absence: bool = False,
    regions: frozenset[str] = frozenset(),
    after_s: float = 0,
    keep_s: float = 0,
    hours: Hours | None = None,
    outside_hours: Hours | None = None,
) -> Rule:
    return Rule(
        name=name,
        output="lamp",
        target=target,
        is_absence=is_absence,
        regions=regions,
        after_ns=round(after_s * NS_PER_S),
        keep_ns=round(keep_s * NS_PER_S),
        action=action,
        pulse_ns=2 * NS_PER_S,
        blink_on_ns=1 * NS_PER_S,
        blink_off_ns=3 * NS_PER_S,
        hours=hours,
        outside_hours=outside_hours,
    )


class Box:
    """Rules with a memory."""

    def __init__(self, *rules: Rule, limits: OutputLimits | None = None) -> None:
        self.rules = rules
        self.limits = {"lamp": limits or OutputLimits()}
        self.state = RulesState()

    def lamp(
        self, presences: Sequence[Presence], seconds: float, minute: int | None = NOON
    ) -> bool:
        self.state = decide(self.state, self.rules, self.limits, presences, at(seconds, minute))
        return self.state.outputs["lamp"].level

    @property
    def reason(self) -> str:
        return self.state.outputs["lamp"].reason


def test_while_a_label_is_present_the_output_is_on_and_says_why() -> None:
    box = Box(lamp_rule())
    assert [box.lamp([cat(False)], 0), box.reason] == [False, "no rule"]
    assert [box.lamp([cat(True, 1)], 1), box.reason] == [True, "light"]
    assert box.lamp([cat(False, 2)], 2) is False


def test_before_anything_was_seen_neither_presence_nor_absence_holds() -> None:
    assert Box(lamp_rule()).lamp([], 100) is False
    assert Box(lamp_rule(is_absence=True)).lamp([], 100) is False


def test_a_rule_can_wait_for_a_while_first() -> None:
    box = Box(lamp_rule(after_s=5))
    assert [box.lamp([cat(True, 1)], second) for second in (1, 5.9, 6)] == [False, False, True]


def test_a_rule_can_go_on_for_a_while() -> None:
    box = Box(lamp_rule(keep_s=10))
    assert box.lamp([cat(True, 0)], 1)
    assert [box.lamp([cat(False, 1)], second) for second in (1.1, 10.9, 11)] == [True, True, False]
    assert box.lamp([cat(False, 1)], 11.1) is False


def test_keeping_begins_anew_with_each_visit() -> None:
    box = Box(lamp_rule(keep_s=10))
    box.lamp([cat(True, 0)], 0)
    box.lamp([cat(True, 8)], 8)
    assert box.lamp([cat(False, 8)], 17) is True


def test_what_did_not_last_long_enough_is_not_kept() -> None:
    box = Box(lamp_rule(after_s=5, keep_s=10))
    box.lamp([cat(True, 0)], 1)
    assert box.lamp([cat(False, 2)], 2) is False


def test_seen_means_in_any_region_and_absent_means_in_all() -> None:
    seen, absent = Box(lamp_rule()), Box(lamp_rule(is_absence=True))
    both = [cat(True, 0, "yard"), cat(False, 0, "door")]
    assert (seen.lamp(both, 1), absent.lamp(both, 1)) == (True, False)
    none = [cat(False, 1, "yard"), cat(False, 0, "door")]
    assert (seen.lamp(none, 2), absent.lamp(none, 2)) == (False, True)


def test_an_absence_lasts_since_the_last_region_was_left() -> None:
    box = Box(lamp_rule(is_absence=True, after_s=10))
    gone = [cat(False, 0, "yard"), cat(False, 5, "door")]
    assert [box.lamp(gone, 14), box.lamp(gone, 15)] == [False, True]


def test_a_rule_looks_only_into_its_regions_and_for_its_label() -> None:
    box = Box(lamp_rule(regions=frozenset({"door"})))
    assert box.lamp([cat(True, 0, "yard")], 1) is False
    assert box.lamp([Presence("door", "dog", True, 0)], 1) is False
    assert box.lamp([cat(True, 0, "door")], 1) is True


def test_a_pulse_comes_once_each_time() -> None:
    box = Box(lamp_rule(Action.PULSE))
    here = [cat(True, 10)]
    assert [box.lamp(here, second) for second in (10, 11.9, 12, 60)] == [True, True, False, False]
    box.lamp([cat(False, 61)], 61)
    assert box.lamp([cat(True, 62)], 62) is True


def test_a_flicker_within_the_keeping_time_gives_no_second_pulse() -> None:
    box = Box(lamp_rule(Action.PULSE, keep_s=5))
    box.lamp([cat(True, 0)], 0)
    box.lamp([cat(False, 3)], 3)
    assert box.lamp([cat(True, 4)], 4) is False


def test_blinking_begins_with_on() -> None:
    box = Box(lamp_rule(Action.BLINK))
    here = [cat(True, 10)]
    levels = [box.lamp(here, second) for second in (10, 10.9, 11, 13.9, 14, 14.9, 15)]
    assert levels == [True, True, False, False, True, True, False]


def test_of_several_active_rules_the_first_one_rules() -> None:
    quiet = lamp_rule(Action.OFF, name="quiet", target="dog")
    box = Box(quiet, lamp_rule())
    dog = Presence("yard", "dog", True, 0)
    assert [box.lamp([cat(True), dog], 1), box.reason] == [False, "quiet"]
    box = Box(lamp_rule(), quiet)
    assert [box.lamp([cat(True), dog], 1), box.reason] == [True, "light"]


def test_an_output_without_an_active_rule_is_at_its_safe_level() -> None:
    box = Box(lamp_rule(Action.OFF), limits=OutputLimits(safe_level=True))
    assert box.lamp([cat(False)], 0) is True
    assert box.lamp([cat(True, 1)], 1) is False
    assert box.lamp([cat(False, 2)], 2) is True


NIGHT = Hours(22 * 60, 6 * 60)


@pytest.mark.parametrize(
    ("minute", "is_night"),
    [(22 * 60 - 1, False), (22 * 60, True), (0, True), (359, True), (360, False)],
)
def test_hours_may_span_midnight(minute: int, is_night: bool) -> None:
    assert NIGHT.holds(minute) is is_night
    assert Box(lamp_rule(hours=NIGHT)).lamp([cat(True)], 1, minute) is is_night
    assert Box(lamp_rule(outside_hours=NIGHT)).lamp([cat(True)], 1, minute) is not is_night


def test_equal_hours_mean_the_whole_day() -> None:
    assert all(Hours(60, 60).holds(minute) for minute in range(1440))


@given(start=st.integers(0, 1439), end=st.integers(0, 1439), minute=st.integers(0, 1439))
def test_hours_and_their_reverse_share_the_day(start: int, end: int, minute: int) -> None:
    if start != end:
        assert Hours(start, end).holds(minute) != Hours(end, start).holds(minute)


def test_while_the_clock_is_not_to_be_trusted_no_rule_with_hours_is_active() -> None:
    assert Box(lamp_rule(hours=NIGHT)).lamp([cat(True)], 1, None) is False
    assert Box(lamp_rule(outside_hours=NIGHT)).lamp([cat(True)], 1, None) is False
    assert Box(lamp_rule()).lamp([cat(True)], 1, None) is True


def test_the_end_of_the_hours_ends_the_keeping_too() -> None:
    box = Box(lamp_rule(hours=NIGHT, keep_s=600))
    assert box.lamp([cat(True)], 1, 359) is True
    assert box.lamp([cat(True)], 2, 360) is False
    assert box.lamp([cat(False, 3)], 3, 359) is False


def test_an_output_that_is_on_for_too_long_goes_safe_until_its_rules_let_go() -> None:
    box = Box(lamp_rule(), limits=OutputLimits(longest_on_ns=10 * NS_PER_S))
    here = [cat(True, 0)]
    assert [box.lamp(here, second) for second in (0, 9.9, 10, 11, 60)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert box.reason == "on for too long"
    assert box.lamp([cat(False, 61)], 61) is False
    assert box.lamp([cat(True, 62)], 62) is True


def test_a_rule_that_says_off_is_obeyed_by_an_output_that_was_cut_off() -> None:
    """Its safe level may be on: a pump that must not run while somebody stands there."""
    box = Box(
        lamp_rule(Action.OFF, name="stop", target="person"),
        lamp_rule(name="go"),
        limits=OutputLimits(safe_level=True, longest_on_ns=10 * NS_PER_S),
    )
    away, here = Presence("yard", "person", False, 0), Presence("yard", "person", True, 15)
    assert [box.lamp([cat(True), away], second) for second in (0, 12)] == [True, True]
    assert box.reason == "on for too long"
    assert [box.lamp([cat(True), here], 15), box.reason] == [False, "stop"]
    # The other rule has not let go yet: it stays cut off.
    assert [box.lamp([cat(True), away], 16), box.reason] == [True, "on for too long"]


def test_a_rule_that_says_off_does_not_keep_an_output_cut_off() -> None:
    box = Box(
        lamp_rule(name="go"),
        lamp_rule(Action.OFF, name="rest", is_absence=True),
        limits=OutputLimits(longest_on_ns=10 * NS_PER_S),
    )
    assert [box.lamp([cat(True)], second) for second in (0, 12)] == [True, False]
    assert box.lamp([cat(False, 13)], 13) is False
    assert box.lamp([cat(True, 14)], 14) is True


def test_absence_begins_nothing_while_the_label_is_coming() -> None:
    box = Box(lamp_rule(is_absence=True, after_s=5))
    coming = Presence("yard", "cat", False, 0, is_coming=True)
    assert box.lamp([coming], 10) is False
    assert box.lamp([cat(False, 0)], 11) is True
    assert box.lamp([coming], 12) is True, "a flicker of the score ends no absence"
    assert box.lamp([cat(True, 13)], 13) is False


def blind(region: str = "yard", target: str = "cat") -> Presence:
    return Presence(region, target, False, 0, is_known=False)


def test_a_region_that_sees_nothing_makes_neither_presence_nor_absence() -> None:
    for is_absence in (True, False):
        box = Box(lamp_rule(is_absence=is_absence, keep_s=60))
        assert box.lamp([cat(not is_absence)], 1) is True
        assert box.lamp([blind()], 2) is False, "nor is anything kept"
        assert box.reason == "blind"
        assert box.lamp([cat(is_absence, 3)], 3) is False


def test_absence_from_all_regions_wants_all_of_them_to_see() -> None:
    box = Box(lamp_rule(is_absence=True))
    assert box.lamp([cat(False), blind("door")], 10) is False
    assert box.lamp([cat(False), cat(False, 0, "door")], 11) is True


def test_what_one_region_still_sees_counts() -> None:
    box = Box(lamp_rule())
    assert box.lamp([blind(), cat(True, 0, "door")], 1) is True


def test_while_what_holds_it_off_cannot_be_seen_the_output_is_safe() -> None:
    box = Box(lamp_rule(Action.OFF, name="stop", target="person"), lamp_rule(name="go"))
    assert box.lamp([cat(True), blind("door", "person")], 1) is False
    assert box.reason == "blind"
    assert box.lamp([cat(True), Presence("door", "person", False, 2)], 2) is True


def test_blinking_is_no_long_time_on() -> None:
    box = Box(lamp_rule(Action.BLINK), limits=OutputLimits(longest_on_ns=2 * NS_PER_S))
    here = [cat(True, 0)]
    assert any([box.lamp(here, second / 2) for second in range(100)][80:])


def test_all_safe_forgets_every_rule_and_says_why() -> None:
    limits = {"lamp": OutputLimits(), "fan": OutputLimits(safe_level=True)}
    state = all_safe(RulesState(), limits, "camera silent")
    assert {name: each.level for name, each in state.outputs.items()} == {
        "lamp": False,
        "fan": True,
    }
    assert {each.reason for each in state.outputs.values()} == {"camera silent"}
    assert state.rules == {}


RULES = st.lists(
    st.builds(
        lamp_rule,
        st.sampled_from(Action),
        name=st.uuids().map(str),
        is_absence=st.booleans(),
        after_s=st.sampled_from([0, 0.5, 3]),
        keep_s=st.sampled_from([0, 2]),
    ),
    max_size=3,
)
TURNS = st.lists(st.tuples(st.booleans(), st.floats(0.05, 2)), max_size=80)


@given(rules=RULES, turns=TURNS)
def test_no_output_is_ever_on_for_longer_than_it_may_be(
    rules: list[Rule], turns: list[tuple[bool, float]]
) -> None:
    box = Box(*rules, limits=OutputLimits(longest_on_ns=4 * NS_PER_S))
    seconds, since, was = 0.0, 0.0, False
    on_since: float | None = None
    for is_there, step_s in turns:
        seconds += step_s
        if is_there != was:
            since, was = seconds, is_there
        level = box.lamp([cat(is_there, since)], seconds)
        if not level:
            on_since = None
        elif on_since is None:
            on_since = seconds
        assert on_since is None or seconds - on_since < 4.000001


@given(rules=RULES, turns=TURNS, safe_level=st.booleans())
def test_an_output_that_no_rule_asks_is_safe(
    rules: list[Rule], turns: list[tuple[bool, float]], safe_level: bool
) -> None:
    box = Box(*rules, limits=OutputLimits(safe_level=safe_level))
    seconds = 0.0
    for is_there, step_s in turns:
        seconds += step_s
        level = box.lamp([cat(is_there, 0)], seconds)
        if box.reason == "no rule":
            assert level is safe_level
