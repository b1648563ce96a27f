"""The `Network` that both TFLite runtimes share: their interpreters have one shape.

The adapters beside this file import the libraries; this one only knows what an interpreter does.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from device.errors import ModelError
from device.ports import TensorInfo


class Interpreter(Protocol):
    """What `ai_edge_litert` and `tflite_runtime` both call `Interpreter`."""

    def allocate_tensors(self) -> None: ...

    def get_input_details(self) -> Sequence[Mapping[str, Any]]: ...

    def get_output_details(self) -> Sequence[Mapping[str, Any]]: ...

    def set_tensor(self, tensor_index: int, value: NDArray[Any]) -> None: ...

    def get_tensor(self, tensor_index: int) -> NDArray[Any]: ...

    def invoke(self) -> None: ...

    def _get_ops_details(self) -> Sequence[Mapping[str, Any]]: ...


InterpreterFactory: TypeAlias = Callable[[Path, int], Interpreter]
"""Path and number of threads to an interpreter, its tensors not yet allocated."""


def load_network(make: InterpreterFactory, path: Path, threads: int) -> "InterpreterNetwork":
    """Read the file, allocate its tensors.

    Raises:
        ModelError: not a model, or not one that this runtime can run.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; want a .tflite file")
    try:
        interpreter = make(path, threads)
        # Taken before `allocate_tensors`, which lets a delegate put its own nodes behind them.
        # SLF001 is not on our list of rules, and no public call names the operators.
        operators = tuple(str(op["op_name"]) for op in interpreter._get_ops_details())
        interpreter.allocate_tensors()
        return InterpreterNetwork(interpreter, operators, path.name)
    except (ValueError, RuntimeError, TypeError, OSError) as exc:
        raise ModelError(
            f"{path.name}: this runtime cannot load it: {_one_line(exc)}; "
            "want a whole .tflite file, its operators all built in"
        ) from exc


class InterpreterNetwork:
    """One model in memory, its tensors allocated; owned by one thread."""

    def __init__(self, interpreter: Interpreter, operators: tuple[str, ...], name: str) -> None:
        self._interpreter = interpreter
        self._name = name
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if not inputs or not outputs:
            raise ModelError(f"{name}: a model without input or output; want an image classifier")
        self.inputs = tuple(_tensor_info(each) for each in inputs)
        self.outputs = tuple(_tensor_info(each) for each in outputs)
        self._input_index = int(inputs[0]["index"])
        self._output_indices = [int(each["index"]) for each in outputs]
        self.operators = tuple(name for name in operators if not _is_delegate(name))
        self.nodes = len(self.operators)
        self.delegated_nodes = count_delegated(interpreter._get_ops_details())

    def run(self, tensor: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """One inference; raises ModelError when the model fails or the tensor does not fit."""
        try:
            self._interpreter.set_tensor(self._input_index, tensor)
            self._interpreter.invoke()
            # `get_tensor` copies; a view (`tensor()`) that is kept makes the next invoke raise.
            return tuple(self._interpreter.get_tensor(index) for index in self._output_indices)
        except (ValueError, RuntimeError) as exc:
            raise ModelError(f"{self._name}: failed when invoked: {_one_line(exc)}") from exc


def count_delegated(ops: Sequence[Mapping[str, Any]]) -> int:
    """How many of a graph's own nodes its delegates took.

    The runtimes do not tell. They list a graph's own nodes first, whether taken or not, and then
    one node for each part that a delegate took, with the tensors at that part's edges: what
    lies between those is taken.
    """
    own = [op for op in ops if not _is_delegate(str(op["op_name"]))]
    makers = {int(tensor): row for row, op in enumerate(own) for tensor in op["outputs"]}
    taken: set[int] = set()
    for part in ops:
        if not _is_delegate(str(part["op_name"])):
            continue
        edge = {int(tensor) for tensor in part["inputs"]}
        waiting = [int(tensor) for tensor in part["outputs"]]
        while waiting:
            row = makers.get(waiting.pop())
            if row is not None and row not in taken:
                taken.add(row)
                waiting += [int(each) for each in own[row]["inputs"] if int(each) not in edge]
    return len(taken)


def _is_delegate(operator: str) -> bool:
    # XNNPACK's parts are called DELEGATE, an Edge TPU's EdgeTpuDelegateForCustomOp.
    return "delegate" in operator.lower()


def _tensor_info(details: Mapping[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    return TensorInfo(
        name=str(details["name"]),
        shape=tuple(int(side) for side in details["shape"]),
        dtype=np.dtype(details["dtype"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
