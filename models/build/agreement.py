"""How far the int8 network agrees with the float one that it was made from."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from models.build.views import View, normalize

CLEAR_SCORE = 0.3

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Labels whose scores are added, by their rows in the output; seen from `high` on."""

    name: str
    rows: tuple[int, ...]
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Counts of views, and of (view, group) pairs, with the same answer from both networks.

    A group's answer is whether its score reaches its `high`. Pairs count where either network
    sees the group: the many that both leave out would flatter.
    """

    views: int
    same_label: int
    clear_views: int
    clear_same_label: int
    group_pairs: int
    same_group: int
    views_with_same_groups: int
    mean_absolute_group_error: float

    def __str__(self) -> str:
        return (
            f"same_label={self.same_label}/{self.views}"
            f" same_label_when_clear={self.clear_same_label}/{self.clear_views}"
            f" same_group={self.same_group}/{self.group_pairs}"
            f" views_with_same_groups={self.views_with_same_groups}/{self.views}"
            f" mean_absolute_group_error={self.mean_absolute_group_error:.3f}"
        )


class Network:
    """A classifier in ai-edge-litert: a view in, float32 scores [rows] out."""

    def __init__(self, tflite_file: bytes) -> None:
        self._interpreter = Interpreter(model_content=tflite_file, num_threads=2)
        self._interpreter.allocate_tensors()
        [self._input] = self._interpreter.get_input_details()
        [self._output] = self._interpreter.get_output_details()

    def scores(self, view: View) -> Scores:
        self._interpreter.set_tensor(self._input["index"], self._quantize(normalize(view)))
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._output["index"])[0]
        if self._output["dtype"] == np.float32:
            return np.asarray(raw, np.float32)
        scale, zero_point = self._output["quantization"]
        return np.asarray((raw.astype(np.float32) - zero_point) * scale, np.float32)

    def _quantize(self, values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        if self._input["dtype"] == np.float32:
            return values
        scale, zero_point = self._input["quantization"]
        steps = np.round(values / scale) + zero_point
        return np.asarray(np.clip(steps, -128, 127), np.int8)


def groups_of(head: str, labels: Sequence[str]) -> list[Group]:
    """The groups of a model.toml, their labels turned into rows of the output."""
    groups: Mapping[str, Any] = tomllib.loads(head)["groups"]
    return [
        Group(
            name=name,
            rows=tuple(labels.index(label) for label in group["labels"]),
            high=group["high"],
        )
        for name, group in groups.items()
    ]


def group_scores(scores: Scores, groups: Sequence[Group]) -> Scores:
    """Return [groups]: each the sum of its labels' scores."""
    return np.array([scores[list(group.rows)].sum() for group in groups], np.float32)


def compare(
    int8_file: bytes, float_file: bytes, views: Iterable[View], groups: Sequence[Group]
) -> Agreement:
    """Show every view to both networks and count."""
    quantized, reference = Network(int8_file), Network(float_file)
    pairs = [(quantized.scores(view), reference.scores(view)) for view in views]
    got = np.stack([pair[0] for pair in pairs])
    wanted = np.stack([pair[1] for pair in pairs])
    is_same = got.argmax(axis=1) == wanted.argmax(axis=1)
    is_clear = wanted.max(axis=1) > CLEAR_SCORE

    got_groups = np.stack([group_scores(scores, groups) for scores in got])
    wanted_groups = np.stack([group_scores(scores, groups) for scores in wanted])
    highs = np.array([group.high for group in groups])
    got_seen, wanted_seen = got_groups >= highs, wanted_groups >= highs
    is_pair = got_seen | wanted_seen
    return Agreement(
        views=len(pairs),
        same_label=int(is_same.sum()),
        clear_views=int(is_clear.sum()),
        clear_same_label=int((is_same & is_clear).sum()),
        group_pairs=int(is_pair.sum()),
        same_group=int((is_pair & (got_seen == wanted_seen)).sum()),
        views_with_same_groups=int((got_seen == wanted_seen).all(axis=1).sum()),
        mean_absolute_group_error=float(np.abs(got_groups - wanted_groups)[is_pair].mean()),
    )
