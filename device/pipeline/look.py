"""One region's eyes: gate, classifier, and what is remembered of each of its targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from device.core.change import (
    GateSettings,
    GateState,
    GateVerdict,
    judge,
    luma_of,
)
from device.core.detection import (
    Change,
    Patience,
    Phase,
    TargetState,
    Thresholds,
    Transition,
    advance,
    go_blind,
    present_of,
)
from device.core.images import Frame, Image, Rectangle, Rgb, Yuv420, cut
from device.core.rules import Presence
from device.core.scores import Ranked, Scores, Targets, best_labels
from device.ports import Classifier

GREY_LUMA = 126
GREY_CHROMA = 128
LABELS_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPlan:
    """What settings say of a region, checked against its bundle.

    watch: groups and labels. masks: as shares of the frame.
    """

    name: str
    box: Rectangle
    masks: tuple[Rectangle, ...] = ()
    watch: tuple[str, ...]
    thresholds: Mapping[str, Thresholds]
    patience: Patience
    gate: GateSettings | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What one look saw: the targets' scores, the best labels, and what changed by it."""

    at_ns: int
    scores: Mapping[str, float]
    labels: Sequence[Ranked]
    verdict: GateVerdict | None
    inference_ns: int
    transitions: Mapping[str, Transition] = field(default_factory=dict)
    nearest: Mapping[str, "Nearest"] = field(default_factory=dict)
    """Of each near miss among the transitions: told when it is over, seen before."""


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The look that came nearest to a beginning that never came."""

    score: float
    frame: Frame
    labels: Sequence[Ranked]


class Region:
    """Owned by the loop's thread."""

    def __init__(self, plan: RegionPlan, classifier: Classifier) -> None:
        """Raises ValueError for a target that the bundle does not have."""
        self.plan = plan
        self.classifier = classifier
        self._targets = Targets(classifier.bundle, plan.watch)
        self._gate = self._judged = GateState()
        self._seeing_since_ns: int | None = None
        self._gate_mask: NDArray[np.bool_] | None = None
        self.states: dict[str, TargetState] = {name: TargetState() for name in plan.watch}
        self._nearest: dict[str, Nearest] = {}
        self.last: Sight | None = None

    def takes(self, plan: RegionPlan, classifier: Classifier) -> bool:
        """Whether what is remembered goes on under `plan`: it looks at the same place, with the
        same eyes, for the same things."""
        old = self.plan
        return self.classifier.bundle.sha256 == classifier.bundle.sha256 and (
            old.box,
            old.masks,
            old.watch,
        ) == (plan.box, plan.masks, plan.watch)

    def judge(self, frame: Frame, now_ns: int) -> GateVerdict | None:
        """Whether this frame is worth a look; None where there is no gate. The gate remembers
        the frame once `look` has seen it."""
        if self.plan.gate is None:
            return None
        is_small_enough = self.plan.box.is_whole and frame.small is not None
        source = frame.small if is_small_enough and frame.small is not None else frame.main
        luma = luma_of(cut(source, self.plan.box))
        if self.plan.masks:
            if self._gate_mask is None or self._gate_mask.shape != luma.shape:
                self._gate_mask = mask_of(self.plan.masks, self.plan.box, luma.shape)
            luma[self._gate_mask] = 0
        is_busy = any(state.is_busy for state in self.states.values())
        self._judged, verdict = judge(self._gate, luma, now_ns, is_busy, self.plan.gate)
        return verdict

    def look(self, frame: Frame, now_ns: int, verdict: GateVerdict | None) -> Sight:
        """Classify the region and move every target on.

        Raises:
            ModelError: the model failed when invoked.
        """
        scores, by_target = self.peek(frame)
        self._gate = self._judged
        if self._seeing_since_ns is None:
            self._seeing_since_ns = now_ns
        labels = best_labels(self.classifier.bundle, scores, LABELS_TOLD)
        transitions, nearest = {}, {}
        for name, score in by_target.items():
            self._come_near(name, Nearest(score, frame, labels))
            self.states[name], transition = advance(
                self.states[name], score, now_ns, self.plan.thresholds[name], self.plan.patience
            )
            if transition is not None:
                transitions[name] = transition
                if transition.change is Change.NEAR_MISS:
                    nearest[name] = self._nearest[name]
            if self.states[name].is_present or self.states[name].peak == 0.0:
                self._nearest.pop(name, None)
        self.last = Sight(
            at_ns=now_ns,
            scores=by_target,
            labels=labels,
            verdict=verdict,
            inference_ns=scores.inference_ns,
            transitions=transitions,
            nearest=nearest,
        )
        return self.last

    def _come_near(self, name: str, look: Nearest) -> None:
        before = self._nearest.get(name)
        if before is None or look.score > before.score:
            self._nearest[name] = look

    def peek(self, frame: Frame) -> tuple[Scores, Mapping[str, float]]:
        """Classify without changing what is remembered; raises as `look`."""
        small = frame.small
        if small is not None and self._takes(small):
            image = small
        else:
            image = painted(cut(frame.main, self.plan.box), self.plan.box, self.plan.masks)
        scores = self.classifier.classify(image)
        return scores, self._targets.score(scores)

    def go_blind(self, now_ns: int) -> dict[str, Transition]:
        """There is nothing to see: everything present has ended, and the gate starts anew."""
        transitions = {}
        for name, state in self.states.items():
            self.states[name], transition = go_blind(state, now_ns)
            if transition is not None:
                transitions[name] = transition
        self._gate = self._judged = GateState()
        self._seeing_since_ns = None
        self._nearest.clear()
        self.last = None
        return transitions

    @property
    def present(self) -> tuple[str, ...]:
        return present_of(self.states)

    def presences(self) -> list[Presence]:
        """For the rules."""
        return [
            Presence(
                self.plan.name,
                name,
                state.is_present,
                state.began_ns if state.is_present else self._absent_since_ns(state),
                is_coming=state.phase is Phase.COMING,
                is_known=self._seeing_since_ns is not None,
            )
            for name, state in self.states.items()
        ]

    def _absent_since_ns(self, state: TargetState) -> int:
        """Since its end, or since the first look."""
        return max(state.ended_ns or 0, self._seeing_since_ns or 0)

    def _takes(self, small: Image) -> bool:
        """Whether the camera's second stream is what this bundle would make of the whole frame:
        it was made for one bundle, and regions may have others."""
        wanted = self.classifier.bundle.input
        return (
            self.plan.box.is_whole
            and not self.plan.masks
            and wanted.fit == "squash"
            and small.size == (wanted.height_px, wanted.width_px)
        )


def mask_of(
    masks: Sequence[Rectangle], box: Rectangle, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """True where a mask covers a cell of a picture of the region `box` with `shape`."""
    hidden = np.zeros(shape[:2], np.bool_)
    for top, left, bottom, right in _inside(masks, box, (shape[0], shape[1])):
        hidden[top:bottom, left:right] = True
    return hidden


def painted(image: Image, box: Rectangle, masks: Sequence[Rectangle]) -> Image:
    """`image`, cut to `box`, with the masks painted grey; itself where there are none."""
    places = _inside(masks, box, image.size)
    if not places:
        return image
    if isinstance(image, Rgb):
        pixels = image.pixels.copy()
        for top, left, bottom, right in places:
            pixels[top:bottom, left:right] = GREY_LUMA
        return Rgb(pixels)
    y, u, v = image.y.copy(), image.u.copy(), image.v.copy()
    for top, left, bottom, right in places:
        y[top:bottom, left:right] = GREY_LUMA
        rows, columns = slice(top // 2, (bottom + 1) // 2), slice(left // 2, (right + 1) // 2)
        u[rows, columns] = v[rows, columns] = GREY_CHROMA
    return Yuv420(y, u, v, is_full_range=image.is_full_range, is_bt709=image.is_bt709)


def _inside(
    masks: Sequence[Rectangle], box: Rectangle, size: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """The masks' pixels (top, left, bottom, right) in a picture of `box` of (height, width)."""
    places = []
    tall, wide = box.bottom - box.top, box.right - box.left
    for mask in masks:
        top = round((max(mask.top, box.top) - box.top) / tall * size[0])
        bottom = round((min(mask.bottom, box.bottom) - box.top) / tall * size[0])
        left = round((max(mask.left, box.left) - box.left) / wide * size[1])
        right = round((min(mask.right, box.right) - box.left) / wide * size[1])
        if top < bottom and left < right:
            places.append((top, left, bottom, right))
    return places
