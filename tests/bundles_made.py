"""Bundles around made models, and a trial in this very process, for tests of the rooms."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from device.bundles.trial import TrialRequest, TrialResult
from device.commands.trial import obey
from device.core.bundle import Bundle, InputSpec
from device.core.detection import Thresholds
from tests.models_made import COLOURS, LABELS, Recipe, make_model, picture_of

PLAIN = InputSpec(
    height_px=8,
    width_px=8,
    fit="squash",
    colours="rgb",
    mean=(127.0, 127.0, 127.0),
    std=(127.5, 127.5, 127.5),
)

MANIFEST = """\
schema = 1
name = "colours"
version = "1.2.3"
kind = "classifier"
description = "Names colours."
licence = "Apache-2.0"
source = "made by a test"
scores = "exclusive"
activation = "none"

[input]
height_px = 8
width_px = 8
fit = "squash"
colours = "rgb"
mean = [127.0, 127.0, 127.0]
std = [127.5, 127.5, 127.5]

[labels]
file = "labels.txt"
count = 5
background = false

[variants.cpu]
file = "model.tflite"

[thresholds]
low = 0.2
high = 0.4

[thresholds_by_label]
"red" = { low = 0.1, high = 0.3 }

[groups.coloured]
labels = ["red", "green", "blue"]
low = 0.3
high = 0.6

[[golden]]
picture = "golden/red.png"
label = "red"
group = "coloured"
least_score = 0.5

[files]
HASHES
[provenance]
anything = ["goes", 1, true]
"""


def try_here(request: TrialRequest) -> TrialResult:
    """The trial without its child: for models that are known to be harmless."""
    result = TrialResult()
    obey(request, result.take)
    return result


def bundle_around(
    path: Path,
    labels: Sequence[str] = LABELS,
    spec: InputSpec = PLAIN,
    has_background: bool = False,
) -> Bundle:
    """A value, nothing on disk but the model."""
    return Bundle(
        name="colours",
        version="1.0.0",
        kind="classifier",
        description="Names colours.",
        licence="Apache-2.0",
        source="made by a test",
        scores="exclusive",
        activation="none",
        input=spec,
        labels=tuple(labels),
        has_background=has_background,
        groups={},
        thresholds=Thresholds(low=0.2, high=0.4),
        variants={"cpu": path.name},
        sha256="0" * 64,
        folder=path.parent,
    )


def write_bundle(
    folder: Path,
    changes: Mapping[str, str] | None = None,
    recipe: Recipe | None = None,
    labels: Sequence[str] = LABELS,
) -> Path:
    """A whole bundle on disk. changes: text of `model.toml` to what stands there instead."""
    (folder / "golden").mkdir(parents=True)
    (folder / "model.tflite").write_bytes(make_model(recipe or Recipe()))
    (folder / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    picture_of("red").save(folder / "golden" / "red.png")
    files = ("golden/red.png", "labels.txt", "model.tflite")
    hashes = "".join(
        f'"{name}" = "{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"\n'
        for name in files
    )
    text = MANIFEST.replace("HASHES\n", hashes)
    for old, new in (changes or {}).items():
        assert old in text, f"model.toml has no {old!r}"
        text = text.replace(old, new)
    (folder / "model.toml").write_text(text, encoding="utf-8")
    return folder


def write_pictures(folder: Path) -> dict[str, Path]:
    """One PNG of each colour."""
    folder.mkdir(exist_ok=True)
    found = {}
    for colour in COLOURS:
        found[colour] = folder / f"{colour}.png"
        picture_of(colour).save(found[colour])
    return found
