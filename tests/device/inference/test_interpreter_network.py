"""Tests of what both runtimes' networks share."""

from collections.abc import Sequence
from typing import Any

from device.inference.interpreter_network import count_delegated


def op(name: str, inputs: Sequence[int], outputs: Sequence[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


# Tensors: 0 image, 1 and 2 weights, 10 to 13 between the operators.
GRAPH = [
    op("CONV_2D", [0, 1], [10]),
    op("CONV_2D", [10, 2], [11]),
    op("RESHAPE", [11], [12]),
    op("SOFTMAX", [12], [13]),
]


def test_without_a_delegate_none_is_taken() -> None:
    assert count_delegated(GRAPH) == 0


def test_a_delegate_took_what_lies_between_its_edges() -> None:
    assert count_delegated([*GRAPH, op("DELEGATE", [0, 1, 2], [12])]) == 3


def test_parts_add_up_and_what_lies_before_a_part_is_not_in_it() -> None:
    parts = [op("DELEGATE", [0, 1], [10]), op("DELEGATE", [12], [13])]
    assert count_delegated([*GRAPH, *parts]) == 2


def test_an_edge_tpus_delegate_counts_too() -> None:
    assert count_delegated([*GRAPH, op("EdgeTpuDelegateForCustomOp", [0, 1, 2], [13])]) == 4
