"""Golden pictures of a new bundle: copied into it, and proven before it is kept."""

import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundles.check import what_is_seen
from device.bundles.evidence import Expected
from device.core.bundle import Bundle, Golden
from device.core.scores import Scores, best_groups, best_labels
from device.errors import ModelError, PictureError

SAFE_SHARE = 0.6
"""Of the score measured here, kept as the least score: kernels and boards differ a little."""


def copy_pictures(goldens: Sequence[tuple[Path, str]], folder: Path) -> list[Expected]:
    found: list[Expected] = []
    for number, (picture, name) in enumerate(goldens, start=1):
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", picture.name).lstrip(".-") or "picture"
        copy = folder / "golden" / (stem if len(goldens) == 1 else f"{number}-{stem}")
        copy.parent.mkdir(exist_ok=True)
        if picture.exists() and not picture.is_file():  # a device would be copied for ever
            raise PictureError(f"{picture}: not a regular file; want a golden picture")
        try:
            shutil.copyfile(picture, copy)
        except FileNotFoundError as exc:
            raise PictureError(f"{picture}: no such golden picture; check the spelling") from exc
        except OSError as exc:
            raise PictureError(f"{picture}: cannot be read: {exc.strerror}") from exc
        found.append(Expected(copy, name))
    return found


def prove_golden(
    bundle: Bundle, name: str, rows: Sequence[int], values: NDArray[np.float32], picture: str
) -> Golden:
    """Raises ModelError when the model sees something else in the picture."""
    scores = Scores(values, 0)
    best, *rest = best_labels(bundle, scores, len(bundle.labels))
    meant = {bundle.labels[row] for row in rows}
    # Quantized scores are often equal: then either is the best.
    best = next((each for each in rest if each.score == best.score and each.name in meant), best)
    least = math.floor(best.score * SAFE_SHARE * 100) / 100
    is_group = name in bundle.groups and meant == set(bundle.groups[name].labels)
    if not is_group and best.name in meant:
        return Golden(picture=picture, label=best.name, least_score=least)
    groups = best_groups(bundle, scores, 1)
    if groups and groups[0].name == name:
        least = math.floor(groups[0].score * SAFE_SHARE * 100) / 100
        return Golden(picture=picture, group=name, least_score=least)
    raise ModelError(
        f'golden picture {Path(picture).name}: the model does not see "{name}" '
        f"but: {what_is_seen(bundle, values)}; want a picture that it recognises, "
        "the labels file of this very model, or another --input-range or --fit"
    )
