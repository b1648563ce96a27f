"""A bundle on a network: the `Classifier` port, over either runtime."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.core.bundle import Activation, Bundle
from device.core.images import Image
from device.core.scores import Scores
from device.errors import ModelError
from device.inference.preprocessing import Preprocessor
from device.ports import Network, TensorInfo


class TfliteClassifier:
    """Owned by one thread, as its network is."""

    def __init__(
        self,
        bundle: Bundle,
        network: Network,
        monotonic_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Raises ModelError when the model is no classifier or does not fit the bundle."""
        self.bundle = bundle
        self._network = network
        self._monotonic_ns = monotonic_ns
        self._preprocessor = Preprocessor(bundle.input, only_input(network))
        self._output = only_output(network)
        count = self._output.shape[-1]
        if count != len(bundle.labels):
            raise ModelError(
                f"bundle {bundle.name}: the model gives {count} scores, but there are "
                f"{len(bundle.labels)} labels (background included); want one label a score"
            )

    def classify(self, image: Image) -> Scores:
        """Raises ModelError when the model fails, or answers with what is no number."""
        tensor = self._preprocessor.tensor(image)
        started_ns = self._monotonic_ns()
        raw = self._network.run(tensor)[0]
        inference_ns = self._monotonic_ns() - started_ns
        real = dequantize(raw.reshape(-1), self._output)
        if not np.isfinite(real).all():
            raise ModelError(f"bundle {self.bundle.name}: the model's answer is not a number")
        values = np.clip(activate(real, self.bundle.activation), 0.0, 1.0)
        return Scores(values, inference_ns)


def only_input(network: Network) -> TensorInfo:
    """Raises ModelError unless the model takes one tensor."""
    if len(network.inputs) != 1:
        names = ", ".join(each.name for each in network.inputs)
        raise ModelError(f"no image classifier: {len(network.inputs)} inputs ({names}); want one")
    return network.inputs[0]


def only_output(network: Network) -> TensorInfo:
    """Raises ModelError unless the model gives one row of scores that can be dequantized."""
    if len(network.outputs) != 1:
        names = ", ".join(each.name for each in network.outputs)
        raise ModelError(
            f"no classifier: {len(network.outputs)} outputs ({names}); want one row of scores"
        )
    output = network.outputs[0]
    if not output.shape or output.shape[-1] < 2 or any(side != 1 for side in output.shape[:-1]):
        raise ModelError(
            f"no classifier: output {output.name} has shape {list(output.shape)}; "
            "want one row of scores, [1, n] or [1, 1, 1, n]"
        )
    if output.dtype != np.float32 and output.scale == 0.0:
        raise ModelError(
            f"output {output.name} is {output.dtype} without scale and zero point; "
            "want float32 or a quantized tensor"
        )
    return output


def dequantize(raw: NDArray[Any], tensor: TensorInfo) -> NDArray[np.float32]:
    """real = (raw - zero point) * scale; floats as they are."""
    real = raw.astype(np.float32)
    if raw.dtype.kind == "f":
        return real
    return (real - np.float32(tensor.zero_point)) * np.float32(tensor.scale)


def activate(real: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    """What the model file left for us to do."""
    match activation:
        case "none":
            return real
        case "softmax":
            powers: NDArray[np.float32] = np.exp(real - real.max())
            total: np.float32 = powers.sum(dtype=np.float32)
            return powers / total
        case "sigmoid":
            # Beyond 30 float32 knows only 0 and 1, and exp would overflow.
            inverse: NDArray[np.float32] = np.exp(-np.clip(real, -30.0, 30.0))
            return np.float32(1.0) / (np.float32(1.0) + inverse)
