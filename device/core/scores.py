"""Scores of a picture: of every label, and of the groups that people call by one name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.core.bundle import Bundle, ScoreKind


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a model said of one picture.

    values: float32, (labels,), 0 to 1, in the order of the bundle's labels.
    inference_ns: how long the model ran, scaling not counted.
    """

    values: NDArray[np.float32]
    inference_ns: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """A name with its score, for people."""

    name: str
    score: float


class Targets:
    """The groups and labels that a region watches, ready to be scored in one go.

    A group's score is the sum of its members' where scores exclude each other (softmax: the
    members share one truth), and their largest where they do not (sigmoid).
    """

    def __init__(self, bundle: Bundle, names: Sequence[str]) -> None:
        """Raises ValueError for a name that is neither a group nor a label of the bundle."""
        rows = {label: row for row, label in enumerate(bundle.labels)}
        unknown = [name for name in names if not bundle.knows(name)]
        if unknown:
            raise ValueError(f"bundle {bundle.name} has no label or group {', '.join(unknown)}")
        self.names = tuple(names)
        self._kind: ScoreKind = bundle.scores
        members = [
            [rows[label] for label in bundle.groups[name].labels]
            if name in bundle.groups
            else [rows[name]]
            for name in names
        ]
        self._rows = np.array([row for group in members for row in group], np.intp)
        self._starts = np.cumsum([0] + [len(group) for group in members[:-1]]).astype(np.intp)

    def score(self, scores: Scores) -> Mapping[str, float]:
        """The score of each target, 0 to 1."""
        if not self.names:
            return {}
        picked = scores.values[self._rows]
        join = np.add if self._kind == "exclusive" else np.maximum
        joined = np.minimum(join.reduceat(picked, self._starts), 1.0)
        return dict(zip(self.names, joined.tolist(), strict=True))


def best(names: Sequence[str], values: NDArray[np.float32], count: int) -> list[Ranked]:
    """The `count` best names, best first; ties keep the order of `names`."""
    order = np.argsort(-values, kind="stable")[:count]
    return [Ranked(names[row], float(values[row])) for row in order]


def best_labels(bundle: Bundle, scores: Scores, count: int) -> list[Ranked]:
    """The `count` best labels, the background row left out."""
    first = 1 if bundle.has_background else 0
    return best(bundle.labels[first:], scores.values[first:], count)


def best_groups(bundle: Bundle, scores: Scores, count: int) -> list[Ranked]:
    """The `count` best groups of the bundle."""
    targets = Targets(bundle, tuple(bundle.groups))
    ranked = [Ranked(name, score) for name, score in targets.score(scores).items()]
    return sorted(ranked, key=lambda each: -each.score)[:count]
