"""What an output does and how long: rules over what is present, as pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

NS_PER_S = 1_000_000_000
MINUTES_PER_DAY = 24 * 60


class Action(StrEnum):
    """What a rule asks of its output while it is active."""

    ON = "on"
    OFF = "off"
    PULSE = "pulse"
    """On once for `pulse_ns` each time the rule becomes active."""
    BLINK = "blink"


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of the day in local time, minutes from midnight; may span midnight.

    From `start_minute` until just before `end_minute`; equal ends mean the whole day.
    """

    start_minute: int
    end_minute: int

    def holds(self, minute_of_day: int) -> bool:
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute_of_day < self.end_minute
        return minute_of_day >= self.start_minute or minute_of_day < self.end_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """While, or for some time after, a target is present (or absent), an output does something.

    target: a label or group. is_absence: the rule waits for the target to be gone, not to be
    there. regions: where to look for it; empty means any of them: seen is seen in one, absent is
    absent from all. after_ns: the condition must have held so long. keep_ns: the rule stays
    active for so long after the condition ended.
    """

    name: str
    output: str
    target: str
    is_absence: bool = False
    regions: frozenset[str] = frozenset()
    after_ns: int = 0
    keep_ns: int = 0
    action: Action = Action.ON
    pulse_ns: int = NS_PER_S
    blink_on_ns: int = NS_PER_S // 2
    blink_off_ns: int = NS_PER_S // 2
    hours: Hours | None = None
    outside_hours: Hours | None = None

    def concerns(self, region: str, target: str) -> bool:
        return target == self.target and (not self.regions or region in self.regions)

    def is_in_hours(self, minute_of_day: int) -> bool:
        if self.hours is not None and not self.hours.holds(minute_of_day):
            return False
        return self.outside_hours is None or not self.outside_hours.holds(minute_of_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLimits:
    """What an output may do at most.

    safe_level: its level when the box is blind, stopping or in doubt. longest_on_ns: on for so
    long without a break, it goes to its safe level until every rule on it has let go.
    """

    safe_level: bool = False
    longest_on_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Presence:
    """One target in one region, as the rules see it."""

    region: str
    target: str
    is_present: bool
    since_ns: int
    """When it became so (monotonic)."""


@dataclass(frozen=True, slots=True)
class RuleState:
    """When the condition began to hold, and when it last held long enough; None: it did not."""

    holds_since_ns: int | None = None
    active_since_ns: int | None = None
    last_met_ns: int | None = None


@dataclass(frozen=True, slots=True)
class OutputState:
    """The level of an output, why, and since when it has been on."""

    level: bool
    reason: str
    on_since_ns: int | None = None
    is_cut_off: bool = False
    """It was on for too long and waits, safe, for its rules to let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesState:
    """All that the rules remember."""

    rules: Mapping[str, RuleState] = field(default_factory=dict)
    outputs: Mapping[str, OutputState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When rules are asked.

    now_ns: monotonic. minute_of_day: local, 0 to 1439; None while the clock is not to be
    trusted: then no rule with hours is active.
    """

    now_ns: int
    minute_of_day: int | None


def decide(
    state: RulesState,
    rules: Sequence[Rule],
    limits: Mapping[str, OutputLimits],
    presences: Sequence[Presence],
    moment: Moment,
) -> RulesState:
    """The rules' and outputs' state at `moment`; the first active rule of an output rules it."""
    rule_states = {
        rule.name: _ask(state.rules.get(rule.name, RuleState()), rule, presences, moment)
        for rule in rules
    }
    outputs = {}
    for name, limit in limits.items():
        active = [
            rule
            for rule in rules
            if rule.output == name and rule_states[rule.name].active_since_ns is not None
        ]
        before = state.outputs.get(name, OutputState(limit.safe_level, "start"))
        wanted, reason = limit.safe_level, "no rule"
        if active:
            since_ns = rule_states[active[0].name].active_since_ns
            wanted = _level(active[0], since_ns if since_ns is not None else 0, moment.now_ns)
            reason = active[0].name
        outputs[name] = _limit(before, wanted, reason, bool(active), limit, moment.now_ns)
    return RulesState(rules=rule_states, outputs=outputs)


def all_safe(state: RulesState, limits: Mapping[str, OutputLimits], reason: str) -> RulesState:
    """Every output at its safe level and every rule forgotten, so that each must be met anew."""
    return RulesState(
        outputs={name: OutputState(limit.safe_level, reason) for name, limit in limits.items()}
    )


def _ask(state: RuleState, rule: Rule, presences: Sequence[Presence], moment: Moment) -> RuleState:
    now_ns = moment.now_ns
    since_ns = _condition_since(rule, presences)
    if not (rule.hours is None and rule.outside_hours is None) and (
        moment.minute_of_day is None or not rule.is_in_hours(moment.minute_of_day)
    ):
        return RuleState(holds_since_ns=since_ns)
    is_met = since_ns is not None and now_ns - since_ns >= rule.after_ns
    if is_met:
        active_since_ns = now_ns if state.active_since_ns is None else state.active_since_ns
        return RuleState(since_ns, active_since_ns, now_ns)
    if (
        state.active_since_ns is not None
        and state.last_met_ns is not None
        and now_ns - state.last_met_ns < rule.keep_ns
    ):
        return RuleState(since_ns, state.active_since_ns, state.last_met_ns)
    return RuleState(holds_since_ns=since_ns)


def _condition_since(rule: Rule, presences: Sequence[Presence]) -> int | None:
    """When the rule's condition began to hold; None while it does not, or nothing was seen yet."""
    mine = [each for each in presences if rule.concerns(each.region, each.target)]
    there = [each.since_ns for each in mine if each.is_present]
    if not rule.is_absence:
        return min(there, default=None)
    if there or not mine:
        return None
    return max(each.since_ns for each in mine)


def _level(rule: Rule, active_since_ns: int, now_ns: int) -> bool:
    elapsed_ns = now_ns - active_since_ns
    match rule.action:
        case Action.ON:
            return True
        case Action.OFF:
            return False
        case Action.PULSE:
            return elapsed_ns < rule.pulse_ns
        case Action.BLINK:
            return elapsed_ns % (rule.blink_on_ns + rule.blink_off_ns) < rule.blink_on_ns


def _limit(
    before: OutputState,
    wanted: bool,
    reason: str,
    is_asked: bool,
    limit: OutputLimits,
    now_ns: int,
) -> OutputState:
    if before.is_cut_off and is_asked:
        return before
    if not wanted:
        return OutputState(False, reason)
    on_since_ns = before.on_since_ns if before.on_since_ns is not None else now_ns
    if is_asked and limit.longest_on_ns is not None and now_ns - on_since_ns >= limit.longest_on_ns:
        return OutputState(limit.safe_level, "on for too long", is_cut_off=True)
    return OutputState(True, reason, on_since_ns)
