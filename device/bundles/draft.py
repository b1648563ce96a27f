"""A new `model.toml`, written so that `manifest.py` reads the same values back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from device.core.bundle import Activation, Golden, Group, InputSpec, ScoreKind, Variant
from device.core.detection import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a `model.toml` is written from. files: path inside the bundle to sha256."""

    name: str
    description: str
    licence: str
    source: str
    scores: ScoreKind
    activation: Activation
    input: InputSpec
    label_count: int
    has_background: bool
    files: Mapping[str, str]
    variants: Mapping[Variant, str]
    thresholds: Thresholds
    groups: Mapping[str, Group]
    goldens: tuple[Golden, ...]
    provenance: Mapping[str, str]
    version: str = "1.0.0"


def to_toml(draft: Draft) -> str:
    """The same draft gives the same text."""
    spec = draft.input
    lines = [
        "# Written by `lookout model make`; docs/models.md explains every key.",
        "",
        "schema = 1",
        f"name = {_text(draft.name)}",
        f"version = {_text(draft.version)}",
        'kind = "classifier"',
        f"description = {_text(draft.description)}",
        f"licence = {_text(draft.licence)}",
        f"source = {_text(draft.source)}",
        f"scores = {_text(draft.scores)}",
        f"activation = {_text(draft.activation)}",
        "",
        "[input]",
        f"height_px = {spec.height_px}",
        f"width_px = {spec.width_px}",
        f"fit = {_text(spec.fit)}",
        f"colours = {_text(spec.colours)}",
        f"mean = {_floats(spec.mean)}",
        f"std = {_floats(spec.std)}",
        "",
        "[labels]",
        'file = "labels.txt"',
        f"count = {draft.label_count}",
        f"background = {str(draft.has_background).lower()}",
    ]
    for variant, file in draft.variants.items():
        lines += ["", f"[variants.{variant}]", f"file = {_text(file)}"]
    lines += ["", "[thresholds]", *_thresholds(draft.thresholds)]
    for name, group in draft.groups.items():
        labels = ", ".join(_text(label) for label in group.labels)
        lines += ["", f"[groups.{_text(name)}]", f"labels = [{labels}]"]
        lines += _thresholds(group.thresholds)
    for golden in draft.goldens:
        lines += ["", "[[golden]]", f"picture = {_text(golden.picture)}"]
        if golden.label is not None:
            lines.append(f"label = {_text(golden.label)}")
        if golden.group is not None:
            lines.append(f"group = {_text(golden.group)}")
        lines.append(f"least_score = {golden.least_score!r}")
    lines += ["", "[files]"]
    lines += [f"{_text(name)} = {_text(digest)}" for name, digest in sorted(draft.files.items())]
    lines += ["", "[provenance]"]
    lines += [f"{_text(key)} = {_text(value)}" for key, value in draft.provenance.items()]
    return "\n".join(lines) + "\n"


def _thresholds(thresholds: Thresholds) -> list[str]:
    return [f"low = {thresholds.low!r}", f"high = {thresholds.high!r}"]


def _floats(values: tuple[float, float, float]) -> str:
    return f"[{', '.join(repr(float(value)) for value in values)}]"


def _text(text: str) -> str:
    # JSON's strings are TOML's basic strings, but for DEL and lone surrogates.
    clean = text.replace("\x7f", " ").encode("utf-8", "replace").decode("utf-8")
    return json.dumps(clean, ensure_ascii=False)
