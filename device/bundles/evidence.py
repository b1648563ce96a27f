"""Pictures of which we know what they show, and what a new model says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundles.labels import Layout, rows_of, synonyms
from device.bundles.ranges import information
from device.core.bundle import Bundle, Group
from device.errors import ModelError

ADOPT_SHARE = 0.8
"""Of the embedded bundle's labels that must stand in the same place under the same name."""
NEARLY = 0.03
"""Merits as near as this are taken for equal, and the likelier range is kept."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A picture, and the name of the label or group that it shows."""

    picture: Path
    name: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a model's scores: its labels, and the groups that they make."""

    layout: Layout
    groups: Mapping[str, Group]

    def rows(self, name: str) -> list[int]:
        """Of the label that `name` means, or of the members of that group. Raises ModelError."""
        try:
            return rows_of(name, self.layout)
        except ModelError:
            if name not in self.groups:
                raise
            rows = {label: row for row, label in enumerate(self.layout.labels)}
            return [rows[label] for label in self.groups[name].labels]


@dataclass(frozen=True, slots=True)
class Choice:
    """The likeliest spec and reading. is_named: known names told, not only how sure it is.
    merits: of each spec, under its best reading."""

    spec: int
    reading: int
    is_named: bool
    merits: tuple[float, ...]


def groups_like(embedded: Bundle | None, layout: Layout) -> dict[str, Group]:
    """The embedded bundle's groups, if the model's labels are the same things in the same order.

    Most ImageNet models in the world have them, under longer or shorter names.
    """
    first = 1 if layout.has_background else 0
    labels = layout.labels[first:]
    if embedded is None or len(labels) != len(embedded.labels):
        return {}
    same = [
        bool(synonyms(ours) & synonyms(theirs))
        for ours, theirs in zip(embedded.labels, labels, strict=True)
    ]
    if sum(same) < ADOPT_SHARE * len(same):
        return {}
    renamed = dict(zip(embedded.labels, labels, strict=True))
    return {
        name: Group(
            name=name,
            labels=tuple(renamed[label] for label in group.labels),
            thresholds=group.thresholds,
        )
        for name, group in embedded.groups.items()
    }


def probes_of(embedded: Bundle | None) -> list[Expected]:
    """The embedded bundle's golden pictures, for a model that comes without any."""
    if embedded is None:
        return []
    return [
        Expected(Path(embedded.folder) / golden.picture, golden.label or golden.group or "")
        for golden in embedded.goldens
    ]


def choose(
    answers: Sequence[NDArray[np.float32]],
    readings: Sequence[Reading],
    names: Sequence[str],
    least_known: int,
) -> Choice:
    """The spec and reading under which the expected names score best; the first of equals.

    answers: for each spec, (pictures, scores). names: for each picture; those that a reading does
    not know tell nothing, and with fewer than `least_known` of them, or when no spec sees any of
    them, `information` decides.
    """
    merits = [[_merit(answer, each, names, least_known) for each in readings] for answer in answers]
    is_named = any(merit is not None for row in merits for merit in row)
    if is_named:
        table = np.array([[-1.0 if each is None else each for each in row] for row in merits])
        is_named = bool(table.max() > NEARLY)
    if not is_named:
        table = np.array([[information(answer)] * len(readings) for answer in answers])
    spec, reading = np.argwhere(table >= table.max() - NEARLY)[0]
    return Choice(int(spec), int(reading), is_named, tuple(table.max(axis=1).tolist()))


def _merit(
    answer: NDArray[np.float32], reading: Reading, names: Sequence[str], least_known: int
) -> float | None:
    found = []
    for row, name in enumerate(names):
        try:
            found.append(float(answer[row, reading.rows(name)].sum()))
        except ModelError:
            continue
    return sum(found) / len(found) if len(found) >= least_known else None


def recognised(
    answer: NDArray[np.float32], reading: Reading, names: Sequence[str]
) -> tuple[int, int]:
    """How many of the named pictures the model sees rightly, and how many names it knows.

    answer: (pictures, scores).
    """
    right = known = 0
    for row, name in enumerate(names):
        try:
            rows = reading.rows(name)
        except ModelError:
            continue
        known += 1
        right += int(answer[row].argmax()) in rows
    return right, known
