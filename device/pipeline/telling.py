"""What the loop found, put into the words of the wire and of the box's own record."""

from collections.abc import Mapping, Sequence

from device.core.bundle import Bundle
from device.core.detection import Change, Thresholds, Transition
from device.core.rules import Rule
from device.pipeline.look import LABELS_TOLD, RegionPlan, Sight
from device.wire.bodies import (
    Detection,
    GateWhy,
    LabelScore,
    RegionSight,
    ThresholdPair,
    Why,
)
from device.wire.control import Record
from device.wire.events import time_text

NS_PER_MS = 1_000_000
LEAST_TOLD = 0.01


def why(
    transition: Transition,
    thresholds: Thresholds,
    sight: Sight | None,
    rules: Sequence[str],
    bundle: Bundle,
) -> Why:
    """sight: the deciding look; None when the camera went silent."""
    verdict = sight.verdict if sight is not None else None
    return Why(
        reason=transition.reason,
        gate=None
        if verdict is None
        else GateWhy(reason=verdict.reason, changed=round(verdict.changed_share, 3)),
        history=[
            ((transition.at_ns - sample.at_ns) // NS_PER_MS, round(sample.score, 3))
            for sample in transition.history
        ],
        thresholds=ThresholdPair(low=thresholds.low, high=thresholds.high),
        rules=list(rules),
        bundle=f"{bundle.name}@{bundle.version}",
        bundle_sha256=bundle.sha256,
    )


def detection(
    plan: RegionPlan,
    name: str,
    transition: Transition,
    sight: Sight | None,
    rules: Sequence[Rule],
    bundle: Bundle,
) -> Detection:
    """The body of a *began* or *ended*."""
    is_end = transition.change is Change.ENDED
    return Detection(
        change="ended" if is_end else "began",
        region=plan.name,
        label=name,
        kind="group" if name in bundle.groups else "label",
        score=_score(transition.score),
        peak=_score(transition.peak),
        duration_s=(transition.at_ns - transition.began_ns) / 1e9 if is_end else None,
        labels=[] if sight is None else label_scores(sight),
        why=why(
            transition,
            plan.thresholds[name],
            sight,
            [rule.name for rule in rules if rule.concerns(plan.name, name)],
            bundle,
        ),
    )


def near_miss(
    plan: RegionPlan,
    name: str,
    transition: Transition,
    sight: Sight,
    bundle: Bundle,
    wall_ns: int,
    record_id: str,
) -> Record:
    """For the box's own record: it leaves the box in no event."""
    high = plan.thresholds[name].high
    told = why(transition, plan.thresholds[name], sight, [], bundle)
    missing = {
        "score": f"never came to {high:.2f}",
        "time": "not for long enough",
        "cooldown": "too soon after it ended",
    }[transition.reason]
    return Record(
        id=record_id,
        time=time_text(wall_ns),
        kind="near_miss",
        region=plan.name,
        label=name,
        headline=f"near miss: {name} in {plan.name}, {transition.peak:.2f} at most, {missing}",
        detail={
            "region": plan.name,
            "label": name,
            "peak": round(transition.peak, 3),
            "labels": [each.model_dump(mode="json") for each in label_scores(sight)],
            "why": told.model_dump(mode="json", exclude_none=True),
        },
    )


def output_record(output: str, level: bool, reason: str, wall_ns: int, record_id: str) -> Record:
    """For the box's own record and for those who watch."""
    word = "on" if level else "off"
    return Record(
        id=record_id,
        time=time_text(wall_ns),
        kind="output",
        label=output,
        headline=f"output {output} {word} (rule: {reason})",
        detail={"output": output, "level": word, "reason": reason},
    )


def label_scores(sight: Sight) -> list[LabelScore]:
    return [LabelScore(label=each.name, score=_score(each.score)) for each in sight.labels]


def region_sight(name: str, scores: Mapping[str, float], present: Sequence[str]) -> RegionSight:
    """Best targets first; below one in a hundred they are ties, and left out."""
    told = [each for each in scores.items() if each[1] >= LEAST_TOLD]
    ranked = sorted(told, key=lambda each: -each[1])[:LABELS_TOLD]
    return RegionSight(
        region=name,
        present=list(present),
        labels=[LabelScore(label=label, score=_score(score)) for label, score in ranked],
    )


def _score(score: float) -> float:
    return min(max(score, 0.0), 1.0)
