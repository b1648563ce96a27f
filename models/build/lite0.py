"""EfficientNet-Lite0 in Keras, from PyTorch weights, with batch normalization folded away.

The architecture is Google's (TensorFlow's `tpu` repository, `efficientnet/lite`): MobileNet-like
blocks without squeeze-and-excitation, ReLU6 everywhere, so that it quantizes well.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.build.weights import Weights, WeightsError

SIZE_PX = 224
LABEL_COUNT = 1000
BATCH_NORM_EPSILON = 1e-3  # TensorFlow's, with which the published weights were trained

layers = tf.keras.layers


class _Stage(NamedTuple):
    block_count: int
    kernel_px: int
    stride: int
    expansion: int


STAGES = (
    _Stage(block_count=1, kernel_px=3, stride=1, expansion=1),
    _Stage(block_count=2, kernel_px=3, stride=2, expansion=6),
    _Stage(block_count=2, kernel_px=5, stride=2, expansion=6),
    _Stage(block_count=3, kernel_px=3, stride=2, expansion=6),
    _Stage(block_count=3, kernel_px=5, stride=1, expansion=6),
    _Stage(block_count=4, kernel_px=5, stride=2, expansion=6),
    _Stage(block_count=1, kernel_px=3, stride=1, expansion=6),
)


class _Builder:
    """Adds layers and remembers which weights they took, so that none is left over."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._unused = set(weights)

    def convolution(
        self,
        x: tf.Tensor,
        name: str,
        batch_norm: str,
        *,
        stride: int = 1,
        is_depthwise: bool = False,
    ) -> tf.Tensor:
        """A convolution with its batch normalization folded into kernel and bias, no activation."""
        kernel = self._take(f"{name}.weight")  # [out, in / groups, height, width]
        gamma, beta, mean, variance = (
            self._take(f"{batch_norm}.{part}")
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        self._take(f"{batch_norm}.num_batches_tracked")
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        folded = kernel * scale[:, None, None, None]
        size_px = kernel.shape[-1]
        layer_name = name.strip("_").replace(".", "_")
        if is_depthwise:
            layer = layers.DepthwiseConv2D(size_px, stride, "same", name=layer_name)
            folded = folded.transpose(2, 3, 0, 1)
        else:
            layer = layers.Conv2D(kernel.shape[0], size_px, stride, "same", name=layer_name)
            folded = folded.transpose(2, 3, 1, 0)
        y = layer(x)
        layer.set_weights([folded, beta - mean * scale])
        return y

    def block(self, x: tf.Tensor, name: str, stage: _Stage, stride: int) -> tf.Tensor:
        """An inverted residual block: expand, depthwise, project; no activation at the end."""
        y = x
        if stage.expansion > 1:
            y = self.convolution(y, f"{name}._expand_conv", f"{name}._bn0")
            y = layers.ReLU(6.0)(y)
        y = self.convolution(
            y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, is_depthwise=True
        )
        y = layers.ReLU(6.0)(y)
        return self.convolution(y, f"{name}._project_conv", f"{name}._bn2")

    def dense(self, x: tf.Tensor, name: str) -> tf.Tensor:
        layer = layers.Dense(LABEL_COUNT, name=name.strip("_"))
        y = layer(x)
        layer.set_weights([self._take(f"{name}.weight").T, self._take(f"{name}.bias")])
        return y

    def finish(self) -> None:
        if self._unused:
            raise WeightsError(f"want no weights left over, got {sorted(self._unused)}")

    def _take(self, name: str) -> npt.NDArray[Any]:
        if name not in self._unused:
            raise WeightsError(f"want the weights {name}, which are missing or used twice")
        self._unused.remove(name)
        return self._weights[name]


def build_lite0(weights: Weights) -> tf.keras.Model:
    """Return the classifier: float32 [1, 224, 224, 3] of (pixel - 127) / 128, RGB, to softmax
    [1, 1000].

    Raises:
        WeightsError: the weights are not those of this network.
    """
    builder = _Builder(weights)
    inputs = tf.keras.Input((SIZE_PX, SIZE_PX, 3), batch_size=1, name="pixels")
    x = layers.ReLU(6.0)(builder.convolution(inputs, "_conv_stem", "_bn0", stride=2))
    index = 0
    for stage in STAGES:
        for position in range(stage.block_count):
            is_first = position == 0
            y = builder.block(x, f"_blocks.{index}", stage, stage.stride if is_first else 1)
            x = y if is_first else layers.Add()([x, y])
            index += 1
    x = layers.ReLU(6.0)(builder.convolution(x, "_conv_head", "_bn1"))
    x = layers.GlobalAveragePooling2D()(x)
    scores = layers.Softmax(name="scores")(builder.dense(x, "_fc"))
    builder.finish()
    return tf.keras.Model(inputs, scores, name="efficientnet_lite0")
