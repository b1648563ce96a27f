"""What a model's last operator tells of the numbers that it gives."""

from collections.abc import Sequence

from device.core.bundle import Activation, ScoreKind
from device.errors import ModelError

PASSED_THROUGH = frozenset(
    {"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "CAST", "EXPAND_DIMS", "IDENTITY"}
)
FEATURES = frozenset(
    {
        *("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "MEAN", "SUM", "REDUCE_MAX"),
        *("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "PRELU", "LEAKY_RELU", "ELU", "GELU"),
        *("HARD_SWISH", "L2_NORMALIZATION"),
    }
)
"""Scores come out of a layer with weights, or out of what follows it: a softmax or a sigmoid."""


def last_real(operators: Sequence[str]) -> str:
    """The last operator that changes more than number type and shape; empty if none does."""
    return next((name for name in reversed(operators) if name not in PASSED_THROUGH), "")


def last_operator(operators: Sequence[str]) -> tuple[Activation, ScoreKind, str | None]:
    """What is left to do to the model's output, what its scores are, and why; no reason when the
    operators do not tell."""
    match last_real(operators):
        case "SOFTMAX":
            return "none", "exclusive", "the model ends in a softmax"
        case "LOGISTIC":
            return "none", "independent", "the model ends in a sigmoid"
        case "LOG_SOFTMAX":
            return "softmax", "exclusive", "the model ends in a log-softmax, undone by a softmax"
        case _:
            return "none", "exclusive", None


def need_scores(name: str, operators: Sequence[str], count: int) -> None:
    """count: how many numbers the model gives. Raises ModelError for a feature extractor."""
    end = last_real(operators)
    if end in FEATURES:
        raise ModelError(
            f"{name}: a feature extractor: it ends in {end}, so its {count} numbers describe a "
            "picture and are no scores of labels; want a classifier, which ends in a softmax, a "
            "sigmoid or the layer of weights before it: take the whole model, not the one without "
            "its last layers, or convert it again with its softmax"
        )
