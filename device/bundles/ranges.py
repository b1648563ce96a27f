"""How a model wants its pixels: the candidates, and how they are told apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.bundles.tflite_file import FileFacts, Normalization
from device.bundles.trial import TensorFacts
from device.core.bundle import Colours, Fit, InputSpec
from device.errors import ModelError

Three = tuple[float, float, float]

IMAGENET_MEAN: Three = (123.675, 116.28, 103.53)
IMAGENET_STD: Three = (58.395, 57.12, 57.375)
RANGES: dict[str, tuple[Three, Three]] = {
    "-1..1": ((127.5,) * 3, (127.5,) * 3),
    "0..1": ((0.0,) * 3, (255.0,) * 3),
    "0..255": ((0.0,) * 3, (1.0,) * 3),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
}
CAFFE_MEAN: Three = (103.939, 116.779, 123.68)
LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
ALIKE = 0.03
"""Share of its width by which a quantized range may miss the one that it stands for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to make the input. reason: why it was thought of, for people."""

    spec: InputSpec
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class InputShape:
    """What is known before the range."""

    height_px: int
    width_px: int
    fit: Fit

    def candidate(
        self,
        name: str,
        mean: Sequence[float],
        std: Sequence[float],
        reason: str,
        colours: Colours = "rgb",
    ) -> Candidate:
        spec = InputSpec(
            height_px=self.height_px,
            width_px=self.width_px,
            fit=self.fit,
            colours=colours,
            mean=_three(mean),
            std=_three(std),
        )
        return Candidate(spec, name, reason)


def input_shape(tensor: TensorFacts, fit: Fit) -> InputShape:
    """Raises ModelError unless the tensor takes one image, colours last."""
    shape = tensor.shape
    if len(shape) == 4 and shape[0] == 1 and shape[3] == 3 and min(shape[1:3]) > 1:
        if tensor.dtype in (*LIMITS, "float32"):
            return InputShape(shape[1], shape[2], fit)
        raise ModelError(f"the model's input is {tensor.dtype}; want uint8, int8 or float32")
    hint = ""
    if len(shape) == 4 and shape[1] == 3:
        hint = "; this one has colours first: convert it again with colours last (NHWC)"
    raise ModelError(
        f"no image classifier: input {tensor.name} has shape {list(shape)}; "
        f"want [1, height, width, 3]{hint}"
    )


def candidates(
    shape: InputShape, tensor: TensorFacts, facts: FileFacts, asked: str | None
) -> list[Candidate]:
    """Likeliest first; one alone needs no further proof."""
    if asked is not None:
        mean, std = RANGES[asked]
        return [shape.candidate(asked, mean, std, "asked for with --input-range")]
    if tensor.dtype in LIMITS:
        return _of_quantized(shape, tensor, facts)
    if facts.normalization is not None:
        return [_of_metadata(shape, facts.normalization)]
    quantize = facts.first_quantize
    if quantize is not None and quantize.dtype in LIMITS:
        low, high = _real_range(quantize.dtype, quantize.scale, quantize.zero_point)
        return [_of_range(shape, low, high, "its first operator quantizes")]
    tried = "tried, as the file does not tell"
    found = [shape.candidate(name, mean, std, tried) for name, (mean, std) in RANGES.items()]
    return [*found, shape.candidate("caffe", CAFFE_MEAN, (1.0,) * 3, tried, "bgr")]


def _of_quantized(shape: InputShape, tensor: TensorFacts, facts: FileFacts) -> list[Candidate]:
    """The convention is that pixels go in as they are (uint8), or less 128 (int8)."""
    scale, zero_point = (tensor.scale, tensor.zero_point) if tensor.scale else (1.0, 0)
    offset = 0 if tensor.dtype == "uint8" else 128
    mean, std = zero_point + offset, 1.0 / scale
    how = "as they are" if tensor.dtype == "uint8" else "less 128"
    plain = shape.candidate(
        "plain", (mean,) * 3, (std,) * 3, f"the input is {tensor.dtype}: pixels go in {how}"
    )
    if tensor.dtype == "int8" and facts.normalization is not None:
        told = _of_metadata(shape, facts.normalization)
        # Rounding apart, most files' metadata says just what the convention says.
        if _levels_apart(plain.spec, told.spec, scale) > 2.0:
            return [told]
    low, high = _real_range(tensor.dtype, scale, zero_point)
    if _is_alike((low, high), _range_of(*RANGES["imagenet"])):
        imagenet = shape.candidate(
            "imagenet",
            IMAGENET_MEAN,
            IMAGENET_STD,
            f"the input spans {low:.2f} to {high:.2f}, as ImageNet's mean and deviation make it",
        )
        return [imagenet, plain]
    return [plain]


def _of_metadata(shape: InputShape, told: Normalization) -> Candidate:
    return shape.candidate("metadata", told.mean, told.std, "the file's metadata says so")


def _of_range(shape: InputShape, low: float, high: float, why: str) -> Candidate:
    reason = f"{why} {low:.3g} to {high:.3g}"
    for name, (mean, std) in RANGES.items():
        if _is_alike((low, high), _range_of(mean, std)):
            return shape.candidate(name, mean, std, reason)
    std_all = 255.0 / (high - low)
    return shape.candidate("linear", (-low * std_all,) * 3, (std_all,) * 3, reason)


def _real_range(dtype: str, scale: float, zero_point: int) -> tuple[float, float]:
    low, high = LIMITS[dtype]
    return (low - zero_point) * scale, (high - zero_point) * scale


def _range_of(mean: Three, std: Three) -> tuple[float, float]:
    """Over all colours: one scale serves the whole tensor."""
    lows = [(0.0 - m) / s for m, s in zip(mean, std, strict=True)]
    highs = [(255.0 - m) / s for m, s in zip(mean, std, strict=True)]
    return min(lows), max(highs)


def _is_alike(found: tuple[float, float], wanted: tuple[float, float]) -> bool:
    slack = ALIKE * (wanted[1] - wanted[0])
    return abs(found[0] - wanted[0]) <= slack and abs(found[1] - wanted[1]) <= slack


def _levels_apart(one: InputSpec, other: InputSpec, scale: float) -> float:
    """The largest distance between two inputs, in quantized levels."""
    ends = (0.0, 255.0)
    return max(
        abs((level - m1) / s1 - (level - m2) / s2) / scale
        for level in ends
        for m1, s1, m2, s2 in zip(one.mean, one.std, other.mean, other.std, strict=True)
    )


def _three(values: Sequence[float]) -> Three:
    if len(values) == 1:
        return values[0], values[0], values[0]
    red, green, blue = values
    return red, green, blue


def information(scores: NDArray[np.float32]) -> float:
    """How much answers tell of their pictures, in nats: sure of each, different between them.

    scores: (pictures, labels), rows of probabilities. A wrong range makes a network sure of the
    same thing whatever it sees, so the mean of the best scores alone would favour it.
    Source: mutual information of picture and label, H(mean row) - mean H(row).
    """
    rows = scores.astype(np.float64) + 1e-9
    rows /= rows.sum(axis=1, keepdims=True)
    mean = rows.mean(axis=0)
    entropy_of_mean = -(mean * np.log(mean)).sum()
    mean_entropy = -(rows * np.log(rows)).sum(axis=1).mean()
    return float(entropy_of_mean - mean_entropy)
