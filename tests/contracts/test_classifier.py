"""What every classifier does: the fake of the loop's tests, and the one on a real runtime."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from device.assembly import open_classifier, open_runtime
from device.core.images import Image, Rgb
from device.core.scores import best_labels
from device.inference.fake_classifier import FakeClassifier
from device.ports import Classifier
from tests.bundles_made import bundle_around
from tests.models_made import COLOURS, Recipe, make_model, picture_of


def rgb(colour: str) -> Rgb:
    return Rgb(np.asarray(picture_of(colour)))


def look(image: Image) -> Mapping[str, float]:
    assert isinstance(image, Rgb)
    colour = tuple(image.pixels[0, 0].tolist())
    return {name: 1.0 for name, value in COLOURS.items() if value == colour}


def fake(folder: Path) -> Classifier:
    return FakeClassifier(bundle_around(folder / "absent.tflite"), look)


def real(folder: Path) -> Classifier:
    path = folder / "made.tflite"
    path.write_bytes(make_model(Recipe()))
    return open_classifier(bundle_around(path), open_runtime(), threads=1)


CLASSIFIERS: dict[str, Callable[[Path], Classifier]] = {"fake": fake, "tflite": real}


@pytest.fixture(params=CLASSIFIERS)
def classifier(request: pytest.FixtureRequest, tmp_path: Path) -> Classifier:
    return CLASSIFIERS[request.param](tmp_path)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_best_label_is_what_the_image_shows(classifier: Classifier, colour: str) -> None:
    scores = classifier.classify(rgb(colour))
    assert best_labels(classifier.bundle, scores, 1)[0].name == colour


def test_there_is_one_score_from_0_to_1_for_each_label(classifier: Classifier) -> None:
    scores = classifier.classify(rgb("red"))
    assert scores.values.dtype == np.float32
    assert scores.values.shape == (len(classifier.bundle.labels),)
    assert 0.0 <= scores.values.min() <= scores.values.max() <= 1.0


def test_it_says_how_long_the_model_ran(classifier: Classifier) -> None:
    assert classifier.classify(rgb("red")).inference_ns > 0
