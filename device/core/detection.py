"""When a label counts as seen: scores over time to *began*, *ended* and *near miss*."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import exp

HISTORY_LENGTH = 8
"""Scores kept for the *why* of a decision: enough to see it come, short enough for the wire."""

SETTLED = 0.02
"""A smoothed score this near to the raw one has caught up with it."""

TURNED_AWAY = 0.8
"""Where a near miss needs less than `low`, a label has turned away only once its score is under
this share of the need: else one that rests between them would be told with every look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Hysteresis: on from `high`, off below `low`. Scores, 0 to 1."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.high <= 1.0:
            raise ValueError(f"want 0 <= low <= high <= 1, got {self.low} and {self.high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How steady a label must be before the box says so. All in nanoseconds.

    smoothing_ns: time constant of the smoothed score; 0 takes each score as it comes.
    shortest_ns: it must be over its threshold for so long before it *began*.
    absence_ns: it must be under its threshold for so long before it *ended*.
    longest_ns: a presence ends after so long, and may begin again only once the label was gone.
    cooldown_ns: after an end, no new beginning for so long.
    near_miss_share: a peak from this share of `high` up, that never began, is a near miss.
    near_miss_pause_ns: after a near miss, no other of this label for so long.
    """

    smoothing_ns: int = 0
    shortest_ns: int = 0
    absence_ns: int = 0
    longest_ns: int | None = None
    cooldown_ns: int = 0
    near_miss_share: float = 0.75
    near_miss_pause_ns: int = 0


class Phase(StrEnum):
    """Where a label stands in a region."""

    ABSENT = "absent"
    COMING = "coming"
    """Over its threshold, not yet for long enough."""
    PRESENT = "present"
    LEAVING = "leaving"
    """Present, under its threshold, not yet for long enough to be gone."""
    SPENT = "spent"
    """Ended for having lasted too long; absent for the rules until the label was gone."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: when (monotonic) and the raw score."""

    at_ns: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What the box remembers of one label or group in one region."""

    phase: Phase = Phase.ABSENT
    since_ns: int = 0
    """When the phase was entered."""
    began_ns: int = 0
    """When the present presence began, or the last one did."""
    ended_ns: int | None = None
    missed_ns: int | None = None
    """When a near miss was last told."""
    smoothed: float = 0.0
    last_ns: int | None = None
    peak: float = 0.0
    """The largest smoothed score of this presence, or of this approach."""
    history: tuple[Sample, ...] = ()

    @property
    def is_present(self) -> bool:
        return self.phase in (Phase.PRESENT, Phase.LEAVING)

    @property
    def is_busy(self) -> bool:
        """Whether the next frames decide something, so that the gate must stay open.

        So while a phase waits for time to pass, and while the smoothed score has not caught up
        with the last raw one: a scene that stands still again must not freeze it half way.
        """
        if self.phase in (Phase.COMING, Phase.LEAVING):
            return True
        return bool(self.history) and abs(self.smoothed - self.history[-1].score) > SETTLED


class Change(StrEnum):
    """What a look can bring about."""

    BEGAN = "began"
    ENDED = "ended"
    NEAR_MISS = "near_miss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of one target, with the scores that led to it.

    reason: `seen` (began), `gone`, `too_long` or `blind` (ended), and for a near miss what was
    missing: `score` (never over the threshold), `time` (not for long enough), `cooldown`.
    """

    change: Change
    reason: str
    at_ns: int
    began_ns: int
    score: float
    """Smoothed, at this moment."""
    peak: float
    history: tuple[Sample, ...] = field(default=())


def is_detected(was_detected: bool, score: float, thresholds: Thresholds) -> bool:
    """Hysteresis: on from `high`, off below `low`, unchanged between."""
    if thresholds.low <= score < thresholds.high:
        return was_detected
    return score >= thresholds.high


def smooth(state: TargetState, score: float, now_ns: int, smoothing_ns: int) -> float:
    """Exponential smoothing by time, so that it means the same at every frame rate."""
    if smoothing_ns <= 0 or state.last_ns is None:
        return score
    weight = 1.0 - exp(-max(now_ns - state.last_ns, 0) / smoothing_ns)
    return state.smoothed + weight * (score - state.smoothed)


def advance(
    state: TargetState, score: float, now_ns: int, thresholds: Thresholds, patience: Patience
) -> tuple[TargetState, Transition | None]:
    """One look at `now_ns` (monotonic) with the raw `score`: the new state, and what came of it."""
    smoothed = smooth(state, score, now_ns, patience.smoothing_ns)
    seen = replace(
        state,
        smoothed=smoothed,
        last_ns=now_ns,
        history=(*state.history[1 - HISTORY_LENGTH :], Sample(now_ns, score)),
    )
    was_on = state.phase in (Phase.COMING, Phase.PRESENT, Phase.SPENT)
    is_on = is_detected(was_on, smoothed, thresholds)
    if state.is_present:
        return _while_present(seen, is_on, now_ns, patience)
    if state.phase is Phase.SPENT:
        gone = seen if is_on else replace(seen, phase=Phase.ABSENT, since_ns=now_ns, peak=0.0)
        return gone, None
    return _while_absent(seen, is_on, now_ns, thresholds, patience)


def _while_present(
    state: TargetState, is_on: bool, now_ns: int, patience: Patience
) -> tuple[TargetState, Transition | None]:
    state = replace(state, peak=max(state.peak, state.smoothed))
    if patience.longest_ns is not None and now_ns - state.began_ns >= patience.longest_ns:
        return _end(state, Phase.SPENT, "too_long", now_ns)
    if is_on:
        phase, since_ns = Phase.PRESENT, now_ns
        if state.phase is Phase.PRESENT:
            since_ns = state.since_ns
        return replace(state, phase=phase, since_ns=since_ns), None
    if state.phase is Phase.PRESENT:
        state = replace(state, phase=Phase.LEAVING, since_ns=now_ns)
    if now_ns - state.since_ns >= patience.absence_ns:
        return _end(state, Phase.ABSENT, "gone", now_ns)
    return state, None


def _while_absent(
    state: TargetState, is_on: bool, now_ns: int, thresholds: Thresholds, patience: Patience
) -> tuple[TargetState, Transition | None]:
    state = replace(state, peak=max(state.peak, state.smoothed))
    if is_on:
        if state.phase is Phase.ABSENT:
            state = replace(state, phase=Phase.COMING, since_ns=now_ns)
        is_cooling = state.ended_ns is not None and now_ns - state.ended_ns < patience.cooldown_ns
        if now_ns - state.since_ns < patience.shortest_ns or is_cooling:
            return state, None
        began = replace(state, phase=Phase.PRESENT, since_ns=now_ns, began_ns=now_ns)
        return began, _transition(began, Change.BEGAN, "seen", now_ns)
    floor = patience.near_miss_share * thresholds.high
    calm_below = thresholds.low if thresholds.low < floor else TURNED_AWAY * floor
    is_near = state.smoothed >= calm_below
    if state.phase is Phase.ABSENT and (is_near or state.peak < floor):
        # Still near, or never was: a near miss is told once, when the label has turned away.
        return (state if is_near else replace(state, peak=0.0)), None
    if state.phase is Phase.COMING:
        is_cooling = (
            state.ended_ns is not None and state.since_ns - state.ended_ns < patience.cooldown_ns
        )
        reason = "cooldown" if is_cooling else "time"
    else:
        reason = "score"
    away = replace(state, phase=Phase.ABSENT, since_ns=now_ns, peak=0.0)
    if state.missed_ns is not None and now_ns - state.missed_ns < patience.near_miss_pause_ns:
        return away, None  # what flickers all day would drive everything else out of the album
    missed = _transition(state, Change.NEAR_MISS, reason, now_ns)
    return replace(away, missed_ns=now_ns), missed


def _end(
    state: TargetState, phase: Phase, reason: str, now_ns: int
) -> tuple[TargetState, Transition]:
    ended = replace(state, phase=phase, since_ns=now_ns, ended_ns=now_ns)
    return replace(ended, peak=0.0), _transition(ended, Change.ENDED, reason, now_ns)


def _transition(state: TargetState, change: Change, reason: str, now_ns: int) -> Transition:
    return Transition(
        change=change,
        reason=reason,
        at_ns=now_ns,
        began_ns=state.began_ns if change is not Change.NEAR_MISS else state.since_ns,
        score=state.smoothed,
        peak=state.peak,
        history=state.history,
    )


def go_blind(state: TargetState, now_ns: int) -> tuple[TargetState, Transition | None]:
    """The camera went silent: what was present has ended, for want of anything to see."""
    fresh = TargetState(ended_ns=state.ended_ns, missed_ns=state.missed_ns)
    if not state.is_present:
        return fresh, None
    ended, transition = _end(state, Phase.ABSENT, "blind", now_ns)
    return replace(fresh, ended_ns=ended.ended_ns), transition


def present_of(states: Mapping[str, TargetState]) -> tuple[str, ...]:
    """The names that are present now; none is what people call *nothing*."""
    return tuple(name for name, state in states.items() if state.is_present)
