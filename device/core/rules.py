"""What an output does and how long: rules over what is present, as pure functions."""

from collections.abc import Mapping, Sequence, Set
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
    long without a break, it goes to its safe level until every rule but those that say off has let
    go.
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
    is_coming: bool = False
    """Absent still, and perhaps not for long: too little to say that it is here, too much to
    begin anything because it is gone."""
    is_known: bool = True
    """False while the region sees nothing: the target is neither present nor absent."""


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
    active_since_ns = {
        name: each.active_since_ns
        for name, each in rule_states.items()
        if each.active_since_ns is not None
    }
    blind = {rule.name for rule in rules if _is_blind(rule, presences)}
    outputs = {}
    for name, limit in limits.items():
        mine = [rule for rule in rules if rule.output == name]
        before = state.outputs.get(name, OutputState(limit.safe_level, "start"))
        wanted = _wanted(mine, active_since_ns, blind, limit.safe_level, moment.now_ns)
        outputs[name] = _limit(before, wanted, limit, moment.now_ns)
    return RulesState(rules=rule_states, outputs=outputs)


def all_safe(state: RulesState, limits: Mapping[str, OutputLimits], reason: str) -> RulesState:
    """Every output at its safe level and every rule forgotten, so that each must be met anew."""
    return RulesState(
        outputs={name: OutputState(limit.safe_level, reason) for name, limit in limits.items()}
    )


def _ask(state: RuleState, rule: Rule, presences: Sequence[Presence], moment: Moment) -> RuleState:
    now_ns = moment.now_ns
    if _is_blind(rule, presences):
        return RuleState()
    since_ns = _condition_since(rule, presences, state.active_since_ns is not None)
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


def _is_blind(rule: Rule, presences: Sequence[Presence]) -> bool:
    """Whether none of the rule's regions sees anything."""
    mine = [each for each in presences if rule.concerns(each.region, each.target)]
    return bool(mine) and not any(each.is_known for each in mine)


def _condition_since(rule: Rule, presences: Sequence[Presence], is_active: bool) -> int | None:
    """When the rule's condition began to hold; None while it does not, or nothing was seen yet.

    is_active: what is absent already stays so until the target is present; a flicker of its
    score would else switch the output to and fro.
    """
    mine = [each for each in presences if rule.concerns(each.region, each.target)]
    there = [each.since_ns for each in mine if each.is_known and each.is_present]
    if not rule.is_absence:
        return min(there, default=None)
    if there or not mine or not all(each.is_known for each in mine):
        return None
    if not is_active and any(each.is_coming for each in mine):
        return None
    return max(each.since_ns for each in mine)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the rules want of an output.

    is_asked: a rule that may switch it on is active. is_off: a rule says off, which holds for an
    output that was cut off too.
    """

    level: bool
    reason: str
    is_asked: bool = False
    is_off: bool = False


def _wanted(
    rules: Sequence[Rule],
    active_since_ns: Mapping[str, int],
    blind: Set[str],
    safe_level: bool,
    now_ns: int,
) -> Wanted:
    """rules: of one output. active_since_ns: of those that are active, by name."""
    active = [rule for rule in rules if rule.name in active_since_ns]
    is_asked = any(rule.action is not Action.OFF for rule in active)
    for rule in rules:
        if rule in active:
            level = _level(rule, active_since_ns[rule.name], now_ns)
            return Wanted(level, rule.name, is_asked, is_off=rule.action is Action.OFF)
        if rule.name in blind and rule.action is Action.OFF:
            # Nobody can see whether it should be held off: that is doubt.
            return Wanted(safe_level, "blind", is_asked)
    is_blind = any(rule.name in blind for rule in rules)
    return Wanted(safe_level, "blind" if is_blind else "no rule")


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


def _limit(before: OutputState, wanted: Wanted, limit: OutputLimits, now_ns: int) -> OutputState:
    too_long = OutputState(limit.safe_level, "on for too long", is_cut_off=True)
    if before.is_cut_off and wanted.is_asked:
        if wanted.is_off:
            return OutputState(False, wanted.reason, is_cut_off=True)
        return too_long
    if not wanted.level:
        return OutputState(False, wanted.reason)
    on_since_ns = before.on_since_ns if before.on_since_ns is not None else now_ns
    longest_ns = limit.longest_on_ns
    if wanted.is_asked and longest_ns is not None and now_ns - on_since_ns >= longest_ns:
        return too_long
    return OutputState(True, wanted.reason, on_since_ns)
