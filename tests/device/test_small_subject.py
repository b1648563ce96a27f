"""Regions earn their keep: a small subject that the whole frame misses is found by its region."""

import numpy as np
import pytest
from PIL import Image

from device import assembly
from device.core.detection import Patience
from device.core.images import WHOLE, Frame, Rectangle, Rgb
from device.pipeline.look import Region, RegionPlan
from device.ports import Classifier
from tests.tools import REPOSITORY

CAT = REPOSITORY / "models" / "imagenet" / "golden" / "chelsea.jpg"
HEIGHT_PX, WIDTH_PX = 720, 1280
SUBJECT_PX = 180
"""A quarter of the frame's height."""


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    store = assembly.open_bundles(None)
    return assembly.open_classifier(store.find("imagenet"), assembly.open_runtime(), 2)


def lawn_with_cat() -> Frame:
    """Grass-like texture, and the cat's picture small at the lower right."""
    random = np.random.default_rng(7)
    blades = random.integers(-40, 40, (HEIGHT_PX, WIDTH_PX, 1))
    lawn = np.clip(np.array([70, 120, 45]) + blades, 0, 255).astype(np.uint8)
    with Image.open(CAT) as opened:
        scale = SUBJECT_PX / opened.height
        cat = opened.convert("RGB").resize((round(opened.width * scale), SUBJECT_PX))
    lawn[480 : 480 + SUBJECT_PX, 900 : 900 + cat.width] = np.asarray(cat)
    return Frame(sequence=1, captured_ns=0, main=Rgb(lawn))


def cat_score(classifier: Classifier, box: Rectangle) -> float:
    groups = tuple(classifier.bundle.groups)
    plan = RegionPlan(
        name="r",
        box=box,
        watch=groups,
        thresholds={name: classifier.bundle.thresholds_of(name) for name in groups},
        patience=Patience(),
    )
    region = Region(plan, classifier)
    _, scores = region.peek(lawn_with_cat())
    return scores["cat"]


def test_a_region_finds_the_cat_that_the_whole_frame_misses(classifier: Classifier) -> None:
    high = classifier.bundle.thresholds_of("cat").high
    place = Rectangle(top=0.62, left=0.68, bottom=0.96, right=0.94)
    assert cat_score(classifier, WHOLE) < high
    assert cat_score(classifier, place) >= high
