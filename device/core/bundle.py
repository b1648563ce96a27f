"""What a model bundle says about itself, as values; `device/bundles/` reads them from disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal, TypeAlias

from device.core.detection import Thresholds

ScoreKind: TypeAlias = Literal["exclusive", "independent"]
Activation: TypeAlias = Literal["none", "softmax", "sigmoid"]
Fit: TypeAlias = Literal["squash", "crop"]
Colours: TypeAlias = Literal["rgb", "bgr"]
Variant: TypeAlias = Literal["cpu", "edgetpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """How pixels become the model's input: real = (pixel - mean) / std, for each colour.

    A quantized input is then rounded by the file's own scale and zero point.
    """

    height_px: int
    width_px: int
    fit: Fit
    colours: Colours
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Labels that people call by one name, with thresholds of their own."""

    name: str
    labels: tuple[str, ...]
    thresholds: Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A picture that a bundle must recognise before it is trusted."""

    picture: str
    least_score: float
    label: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A checked `model.toml`.

    labels: in the order of the model's output, background included where there is one.
    has_background: output row 0 is hidden from people.
    sha256: of `model.toml`, which names the hash of every other file: so of the whole bundle.
    variants: file name by variant.
    """

    name: str
    version: str
    kind: Literal["classifier"]
    description: str
    licence: str
    source: str
    scores: ScoreKind
    activation: Activation
    input: InputSpec
    labels: tuple[str, ...]
    has_background: bool
    groups: Mapping[str, Group]
    thresholds: Thresholds
    thresholds_by_label: Mapping[str, Thresholds] = field(default_factory=dict)
    goldens: tuple[Golden, ...] = ()
    variants: Mapping[Variant, str]
    sha256: str
    folder: PurePath

    def thresholds_of(self, name: str) -> Thresholds:
        """Those of the group called `name`, else of the label, else the bundle's own."""
        if name in self.groups:
            return self.groups[name].thresholds
        return self.thresholds_by_label.get(name, self.thresholds)

    def knows(self, name: str) -> bool:
        """Whether `name` is a group or a label that a person can watch for."""
        return name in self.groups or name in self.labels[1 if self.has_background else 0 :]
