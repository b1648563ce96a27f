"""Tests of the classifier's own work: does the model fit, what do its numbers mean."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device.core.bundle import Activation
from device.core.images import Rgb
from device.errors import ModelError
from device.inference.tflite_classifier import TfliteClassifier, activate
from device.ports import TensorInfo
from tests.bundles_made import bundle_around

IMAGE = TensorInfo("image", (1, 8, 8, 3), np.dtype(np.uint8), 2 / 255, 127)
SCORES = TensorInfo("scores", (1, 5), np.dtype(np.uint8), 1 / 256, 0)
GREY = Rgb(np.full((8, 8, 3), 127, np.uint8))


@dataclass
class FakeNetwork:
    """Answers each run with the same numbers."""

    answer: NDArray[Any]
    inputs: tuple[TensorInfo, ...] = (IMAGE,)
    outputs: tuple[TensorInfo, ...] = (SCORES,)
    operators: tuple[str, ...] = ("SOFTMAX",)
    nodes: int = 1
    delegated_nodes: int = 0

    def run(self, tensor: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        assert tensor.shape == self.inputs[0].shape
        return (self.answer.reshape(self.outputs[0].shape),)


def ticking(step_ns: int) -> Callable[[], int]:
    moments = iter(range(0, 10**9, step_ns))
    return lambda: next(moments)


def classify(network: FakeNetwork, activation: Activation = "none") -> NDArray[np.float32]:
    bundle = replace(bundle_around(Path("made.tflite")), activation=activation)
    return TfliteClassifier(bundle, network).classify(GREY).values


def floats(*values: float) -> FakeNetwork:
    output = TensorInfo("scores", (1, len(values)), np.dtype(np.float32), 0.0, 0)
    return FakeNetwork(np.array(values, np.float32), outputs=(output,))


def test_scores_are_dequantized_by_the_files_own_numbers() -> None:
    output = replace(SCORES, dtype=np.dtype(np.int8), zero_point=-128)
    network = FakeNetwork(np.array([-128, -64, 0, 64, 127], np.int8), outputs=(output,))
    assert classify(network).tolist() == [0.0, 0.25, 0.5, 0.75, 255 / 256]


def test_a_row_of_scores_may_have_four_dimensions() -> None:
    output = replace(SCORES, shape=(1, 1, 1, 5))
    network = FakeNetwork(np.array([0, 0, 128, 0, 0], np.uint8), outputs=(output,))
    assert classify(network).tolist() == [0, 0, 0.5, 0, 0]


def test_softmax_and_sigmoid_are_applied_where_the_bundle_says_so() -> None:
    logits = (2.0, 1.0, 0.0, -1.0, 1000.0)
    soft = classify(floats(*logits), "softmax")
    assert soft.tolist() == [0, 0, 0, 0, 1]
    sigmoid = classify(floats(*logits), "sigmoid")
    assert sigmoid == pytest.approx([0.8808, 0.7311, 0.5, 0.2689, 1.0], abs=1e-4)


def test_softmax_adds_up_to_one() -> None:
    values = activate(np.array([3.0, 1.0, -2.0], np.float32), "softmax")
    assert values.sum() == pytest.approx(1.0)
    assert values[0] / values[1] == pytest.approx(np.e**2, rel=1e-5)


def test_scores_stay_between_0_and_1() -> None:
    assert classify(floats(-0.5, 0.2, 1.5, 0.0, 1.0)).tolist() == pytest.approx([0, 0.2, 1, 0, 1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_a_model_error(value: float) -> None:
    with pytest.raises(ModelError, match="not a number"):
        classify(floats(0.1, value, 0.1, 0.1, 0.1))


def test_the_model_alone_is_timed() -> None:
    network = FakeNetwork(np.zeros(5, np.uint8))
    classifier = TfliteClassifier(bundle_around(Path("made.tflite")), network, ticking(700))
    assert classifier.classify(GREY).inference_ns == 700


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (FakeNetwork(np.zeros(5), inputs=(IMAGE, IMAGE)), "2 inputs"),
        (FakeNetwork(np.zeros(5), outputs=(SCORES, SCORES)), "2 outputs"),
        (FakeNetwork(np.zeros(5), outputs=(replace(SCORES, shape=(1, 7, 7, 5)),)), "one row"),
        (FakeNetwork(np.zeros(5), outputs=(replace(SCORES, shape=(1, 1)),)), "one row"),
        (FakeNetwork(np.zeros(5), outputs=(replace(SCORES, scale=0.0),)), "without scale"),
        (FakeNetwork(np.zeros(5), outputs=(replace(SCORES, shape=(1, 6)),)), "6 scores"),
        (FakeNetwork(np.zeros(5), inputs=(replace(IMAGE, shape=(1, 9, 9, 3)),)), "shape"),
    ],
)
def test_a_model_that_does_not_fit_its_bundle_is_refused(
    network: FakeNetwork, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        TfliteClassifier(bundle_around(Path("made.tflite")), network)
