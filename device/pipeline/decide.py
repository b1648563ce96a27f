"""The loop: frames to decisions, decisions to outputs and drafts, requests between frames."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue
from typing import Literal, TypeAlias

from device.core.detection import Change, Transition
from device.core.images import Frame
from device.core.rules import (
    NS_PER_S,
    Action,
    Moment,
    OutputLimits,
    Presence,
    Rule,
    RulesState,
    all_safe,
    decide,
)
from device.errors import ModelError, TransientError
from device.pipeline.capture import Capture, Slot
from device.pipeline.look import Region, RegionPlan, Sight
from device.pipeline.telling import detection, near_miss, output_record, region_sight
from device.ports import Classifier, Clock, Keepsake, Page, Pins, Press, Snapshot
from device.wire.bodies import Body, Button, RegionSight
from device.wire.events import Draft

log = logging.getLogger(__name__)

TURN_S = 0.1
"""The loop turns this often even without a frame, so that a timed output ends on time."""
REQUESTS_AT_MOST = 32

RequestKind: TypeAlias = Literal["look", "pause", "resume"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. frame: the one that was looked at."""

    result: Literal["looked", "paused", "resumed", "no_picture"]
    sights: Sequence[RegionSight] = ()
    frame: Frame | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Something that the loop is asked between two frames. reply: may only enqueue."""

    kind: RequestKind
    reply: Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class Identify:
    """The output that tells this box from others is to blink for a while. reply: takes None, or
    why it does not; may only enqueue."""

    reply: Callable[[str | None], None]


@dataclass(frozen=True, slots=True, eq=False)
class Swap:
    """Other settings, to be taken between two turns as one. plans: of every region, with what
    looks at it. reply: called once they are in force; may only enqueue."""

    plans: Sequence[tuple[RegionPlan, Classifier]]
    rules: Sequence[Rule]
    reply: Callable[[], None]


@dataclass(frozen=True, slots=True)
class ButtonPress:
    """A button of the box was used."""

    button: str
    press: Press


Asked: TypeAlias = Request | ButtonPress | Identify | Swap

IDENTIFY = "#identify"
"""No region, rule or label of a person's can be called so."""
IDENTIFY_NS = 10 * NS_PER_S
IDENTIFY_BLINK_NS = NS_PER_S // 4

Report: TypeAlias = Callable[[Draft, Keepsake | None], bool]
"""`Delivery.report`: never blocks; False when there was no room."""


class Loop:
    """Owns the interpreters, the detection state and the outputs; its thread is their only one."""

    def __init__(
        self,
        *,
        regions: Sequence[Region],
        rules: Sequence[Rule],
        limits: Mapping[str, OutputLimits],
        slot: Slot,
        capture: Capture,
        pins: Pins,
        report: Report,
        keep: Callable[[Page], None],
        clock: Clock,
        stale_s: float,
        identify_output: str | None = None,
        turn_s: float = TURN_S,
    ) -> None:
        """report, keep: take what is to be told and what is to be kept; neither blocks.
        identify_output: blinks on `Identify`."""
        self._regions = list(regions)
        self._rules = rules
        self._limits = limits
        self._slot = slot
        self._capture = capture
        self._pins = pins
        self._report = report
        self._keep = keep
        self._clock = clock
        self._stale_ns = round(stale_s * 1e9)
        self._turn_s = turn_s
        self._identify_output = identify_output
        self._identify_since_ns: int | None = None
        self._rules_state = all_safe(RulesState(), limits, "start")
        self._requests: Queue[Asked] = Queue(REQUESTS_AT_MOST)
        self._frame: Frame | None = None
        self._frame_ns = clock.monotonic_ns()
        self._is_blind = True
        self._records = 0
        self._looks = 0
        self._dismissed = 0
        self._inference_ns = 0
        self._model_problems: dict[str, str] = {}  # by region
        self._pin_problems: dict[str, str] = {}  # by output
        self.snapshot = Snapshot(outputs={name: each.safe_level for name, each in limits.items()})

    # --- any thread ---------------------------------------------------------------------------

    def ask(self, request: Asked) -> bool:
        """Queue a request; False when too many wait."""
        try:
            self._requests.put_nowait(request)
        except Full:
            log.warning("request refused, too many wait waiting=%d", REQUESTS_AT_MOST)
            return False
        self._slot.wake()
        return True

    # --- the loop's thread --------------------------------------------------------------------

    def turn(self) -> None:
        """One frame, or `turn_s` without one."""
        frame = self._slot.take(self._turn_s)
        now_ns = self._clock.monotonic_ns()
        if frame is not None and not self._capture.is_paused:
            self._frame, self._frame_ns, self._is_blind = frame, now_ns, False
            for region in self._regions:
                self._look(region, frame, now_ns)
        elif not self._is_blind and self._has_gone_blind(now_ns):
            self._go_blind(now_ns)
        self._drive(now_ns)
        self._answer()
        self._refresh()

    def close(self) -> None:
        """Every output to its safe level; part of the loop's end."""
        self._apply(all_safe(self._rules_state, self._limits, "stopped"))

    def _look(self, region: Region, frame: Frame, now_ns: int) -> None:
        verdict = region.judge(frame, now_ns)
        if verdict is not None and not verdict.is_open:
            self._dismissed += 1
            return
        try:
            sight = region.look(frame, now_ns, verdict)
        except ModelError as exc:
            self._lose_sight(region, str(exc), now_ns)
            return  # tried again with the next frame; the other regions see
        except Exception as exc:
            self._lose_sight(region, f"{type(exc).__name__}: {exc}", now_ns)
            raise
        if self._model_problems.pop(region.plan.name, None) is not None:
            log.info("model works again region=%s", region.plan.name)
        self._looks += 1
        self._inference_ns += sight.inference_ns
        for name, transition in sight.transitions.items():
            self._tell(region, name, transition, sight, frame)

    def _tell(
        self,
        region: Region,
        name: str,
        transition: Transition,
        sight: Sight | None,
        frame: Frame | None,
    ) -> None:
        bundle = region.classifier.bundle
        if transition.change is Change.NEAR_MISS:
            if sight is not None:
                nearest = sight.nearest[name]
                record = near_miss(
                    region.plan,
                    name,
                    transition,
                    sight,
                    nearest,
                    bundle,
                    self._clock.wall_ns(),
                    self._record_id("near"),
                )
                self._keep(Page(record, _keepsake(nearest.frame, region)))
            return
        keepsake = None if frame is None else _keepsake(frame, region)
        body = detection(region.plan, name, transition, sight, self._rules, bundle)
        self._report(self._draft(body), keepsake)

    def _has_gone_blind(self, now_ns: int) -> bool:
        if self._capture.state in ("paused", "ended", "failed"):
            return True
        return now_ns - self._frame_ns >= self._stale_ns

    def _go_blind(self, now_ns: int) -> None:
        self._is_blind, self._frame = True, None
        for region in self._regions:
            self._blind(region, now_ns)

    def _blind(self, region: Region, now_ns: int) -> None:
        for name, transition in region.go_blind(now_ns).items():
            self._tell(region, name, transition, None, None)

    def _lose_sight(self, region: Region, problem: str, now_ns: int) -> None:
        """The model failed: what it last saw there says nothing of now."""
        if self._model_problems.get(region.plan.name) != problem:
            log.error("model failed region=%s: %s", region.plan.name, problem)
        self._model_problems[region.plan.name] = problem
        self._blind(region, now_ns)

    def _drive(self, now_ns: int) -> None:
        rules = [*self._identify_rules(now_ns)]
        if self._is_blind and not rules:
            self._apply(all_safe(self._rules_state, self._limits, "blind"))
            return
        presences = [Presence(IDENTIFY, IDENTIFY, True, self._identify_since_ns or 0)]
        if not self._is_blind:
            rules += self._rules
            presences += [each for region in self._regions for each in region.presences()]
        moment = Moment(now_ns=now_ns, minute_of_day=self._clock.minute_of_day())
        self._apply(decide(self._rules_state, rules, self._limits, presences, moment))

    def _identify_rules(self, now_ns: int) -> list[Rule]:
        """Before all others on its output; the output's limits hold as ever."""
        since_ns, output = self._identify_since_ns, self._identify_output
        if since_ns is None or output is None or now_ns - since_ns >= IDENTIFY_NS:
            self._identify_since_ns = None
            return []
        return [
            Rule(
                name=IDENTIFY,
                output=output,
                target=IDENTIFY,
                regions=frozenset({IDENTIFY}),
                action=Action.BLINK,
                blink_on_ns=IDENTIFY_BLINK_NS,
                blink_off_ns=IDENTIFY_BLINK_NS,
            )
        ]

    def _identify(self) -> str | None:
        """Why it does not; None: it blinks."""
        output = self._identify_output
        if output is None:
            return "no output is named for it: set [device] identify_output"
        longest_ns = self._limits[output].longest_on_ns
        if longest_ns is not None and longest_ns < IDENTIFY_BLINK_NS:
            return f"output {output} may not be on for long enough to blink"
        state = self._rules_state.outputs.get(output)
        if state is not None and state.is_cut_off:
            return f"output {output} was on for too long, and waits for its rules to let go"
        self._identify_since_ns = self._clock.monotonic_ns()
        return None

    def _swap(self, swap: Swap) -> None:
        """What did not change keeps what it remembers; what looks with other eyes, or at another
        place, begins anew, and what it saw until now has ended."""
        now_ns = self._clock.monotonic_ns()
        before = {region.plan.name: region for region in self._regions}
        regions = []
        for plan, classifier in swap.plans:
            region = before.get(plan.name)
            if region is not None and region.takes(plan, classifier):
                region.plan = plan
                regions.append(before.pop(plan.name))
            else:
                regions.append(Region(plan, classifier))
        for region in before.values():
            self._blind(region, now_ns)
            self._model_problems.pop(region.plan.name, None)
        self._regions, self._rules = regions, swap.rules
        self._drive(now_ns)
        swap.reply()

    def _apply(self, state: RulesState) -> None:
        """Write what changed. An output that refuses is as it was, and is tried again with the
        next turn; it keeps no other one from its level."""
        outputs = dict(state.outputs)
        for name, output in state.outputs.items():
            before = self._rules_state.outputs[name]
            if output.level == before.level:
                self._pin_problems.pop(name, None)
                continue
            if not self._write(name, output.level):
                outputs[name] = before
                continue
            reason = output.reason if output.reason != "no rule" else f"{before.reason} let go"
            self._keep(
                Page(
                    output_record(
                        name,
                        output.level,
                        reason,
                        self._clock.wall_ns(),
                        self._record_id("output"),
                    )
                )
            )
        self._rules_state = replace(state, outputs=outputs)

    def _write(self, name: str, level: bool) -> bool:
        try:
            self._pins.write(name, level)
        except Exception as exc:  # whatever a driver raises, the others are written
            problem = f"output {name}: {str(exc) or type(exc).__name__}"
            if self._pin_problems.get(name) != problem:
                trace = None if isinstance(exc, TransientError) else exc
                log.error("pin refused, tried again each turn: %s", problem, exc_info=trace)
            self._pin_problems[name] = problem
            return False
        if self._pin_problems.pop(name, None) is not None:
            log.info("pin works again output=%s", name)
        return True

    def _answer(self) -> None:
        while True:
            try:
                request = self._requests.get_nowait()
            except Empty:
                return
            match request:
                case ButtonPress():
                    self._answer_button(request)
                case Identify():
                    request.reply(self._identify())
                case Swap():
                    self._swap(request)
                case Request():
                    request.reply(self._do(request.kind))

    def _answer_button(self, press: ButtonPress) -> None:
        if press.press == "short":
            kind: RequestKind = "look"
        else:
            kind = "resume" if self._capture.is_paused else "pause"
        answer = self._do(kind)
        body = Button(
            button=press.button,
            press=press.press,
            result=answer.result,
            sights=list(answer.sights),
        )
        keepsake = None
        if answer.frame is not None:
            region = self._regions[0]
            keepsake = Keepsake(answer.frame.main, region.plan.name, region.plan.box)
        self._report(self._draft(body), keepsake)

    def _do(self, kind: RequestKind) -> Answer:
        if kind == "pause":
            self._capture.pause()
            self._slot.clear()
            if not self._is_blind:
                now_ns = self._clock.monotonic_ns()
                self._go_blind(now_ns)
                self._drive(now_ns)
            return Answer("paused")
        if kind == "resume":
            self._capture.resume()
            return Answer("resumed")
        frame = self._frame
        if frame is None:
            return Answer("no_picture")
        sights = []
        for region in self._regions:
            by_target: Mapping[str, float] = {}
            try:
                _, by_target = region.peek(frame)
            except ModelError as exc:
                self._lose_sight(region, str(exc), self._clock.monotonic_ns())
            sights.append(region_sight(region.plan.name, by_target, region.present))
        return Answer("looked", tuple(sights), frame)

    def _draft(self, body: Body) -> Draft:
        return Draft(time_ns=self._clock.wall_ns(), mono_ns=self._clock.monotonic_ns(), body=body)

    def _record_id(self, kind: str) -> str:
        """Of what never leaves the box: unique over runs by the wall clock and a counter."""
        self._records += 1
        return f"{kind}-{self._clock.wall_ns() // 1_000_000:x}-{self._records}"

    def _refresh(self) -> None:
        self.snapshot = Snapshot(
            camera="paused" if self._capture.is_paused else self._capture.state,
            is_paused=self._capture.is_paused,
            frames=self._slot.given,
            frames_replaced=self._slot.replaced,
            looks=self._looks,
            dismissed=self._dismissed,
            inference_ms=self._inference_ns / self._looks / 1e6 if self._looks else None,
            scores={
                region.plan.name: tuple(
                    sorted(region.last.scores.items(), key=lambda each: -each[1])
                )
                for region in self._regions
                if region.last is not None
            },
            present={region.plan.name: region.present for region in self._regions},
            outputs={name: output.level for name, output in self._rules_state.outputs.items()},
            problems=self._problems(),
        )

    def _problems(self) -> dict[str, str]:
        found = {}
        if self._model_problems:
            where = ", ".join(self._model_problems)
            why = next(iter(self._model_problems.values()))
            found["model"] = f"region {where} sees nothing: {why}"
        if self._pin_problems:
            found["pins"] = "; ".join(self._pin_problems.values())
        return found


def _keepsake(frame: Frame, region: Region) -> Keepsake:
    return Keepsake(frame.main, region.plan.name, region.plan.box)
