"""Pixels to the model's input tensor: fit, antialiased scaling, colour order, numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from device.core.bundle import InputSpec
from device.core.images import Image, Pixels, Rectangle, Rgb, cut
from device.errors import ModelError
from device.ports import TensorInfo

if TYPE_CHECKING:
    from device.inference.yuv_scaling import YuvScaler

LEVELS = np.arange(256, dtype=np.float64)
QUANTIZED = (np.dtype(np.uint8), np.dtype(np.int8))


class Preprocessor:
    """Makes the tensor of one model; owned by one thread."""

    def __init__(self, spec: InputSpec, tensor: TensorInfo) -> None:
        """Raises ModelError when the tensor does not take one image of the spec's size."""
        check_input(spec, tensor)
        self._spec = spec
        self._dtype = tensor.dtype
        self._table = tensor_table(spec, tensor)
        self._is_plain = tensor.dtype in QUANTIZED and bool(
            np.array_equal(self._table, np.broadcast_to(plain_levels(tensor.dtype), (3, 256)))
        )
        self._is_one_table = bool((self._table == self._table[0]).all())
        self._yuv_scaler: YuvScaler | None = None

    def tensor(self, image: Image) -> NDArray[Any]:
        """(1, height, width, 3) in the dtype of the model's input."""
        pixels = self.pixels(image)
        if self._spec.colours == "bgr":
            pixels = np.ascontiguousarray(pixels[..., ::-1])
        return self._numbers(pixels)[np.newaxis]

    def pixels(self, image: Image) -> Pixels:
        """uint8, (height, width, 3), red first, contiguous: what the model sees."""
        height_px, width_px = self._spec.height_px, self._spec.width_px
        if self._spec.fit == "crop":
            image = centre_crop(image, height_px, width_px)
        if isinstance(image, Rgb):
            return scale_rgb(image, height_px, width_px)
        if self._yuv_scaler is None:
            # Only here: PyAV costs 60 ms of import, and pictures do without it.
            from device.inference.yuv_scaling import YuvScaler

            self._yuv_scaler = YuvScaler()
        return self._yuv_scaler.scale(image, height_px, width_px)

    def _numbers(self, pixels: Pixels) -> NDArray[Any]:
        if self._is_plain:
            return pixels if self._dtype == np.uint8 else (pixels ^ 0x80).view(np.int8)
        if self._is_one_table:
            return np.take(self._table[0], pixels)
        numbers = np.empty(pixels.shape, self._dtype)
        for colour in range(3):
            numbers[..., colour] = self._table[colour][pixels[..., colour]]
        return numbers


def check_input(spec: InputSpec, tensor: TensorInfo) -> None:
    """Raises ModelError when the tensor does not take one image of the spec's size."""
    wanted = (1, spec.height_px, spec.width_px, 3)
    if tensor.shape != wanted:
        raise ModelError(
            f"the model's input {tensor.name} has shape {list(tensor.shape)}; "
            f"want {list(wanted)} (one image, colours last), as [input] says"
        )
    if tensor.dtype not in (*QUANTIZED, np.dtype(np.float32)):
        raise ModelError(
            f"the model's input {tensor.name} is {tensor.dtype}; want uint8, int8 or float32"
        )


def tensor_table(spec: InputSpec, tensor: TensorInfo) -> NDArray[Any]:
    """(3, 256) in the tensor's dtype: the number of each level of each colour.

    real = (level - mean) / std; quantized = real / scale + zero point, rounded, kept in range.
    """
    mean = np.array(spec.mean, np.float64)[:, np.newaxis]
    std = np.array(spec.std, np.float64)[:, np.newaxis]
    real = (LEVELS - mean) / std
    if tensor.dtype == np.float32:
        return real.astype(np.float32)
    # A few models take plain integers and state no quantization: there the number is the value.
    scale, zero_point = (tensor.scale, tensor.zero_point) if tensor.scale else (1.0, 0)
    limits = np.iinfo(tensor.dtype)
    # Halves go up, and float noise may not push one down: every level is treated alike.
    quantized = np.floor(real / scale + zero_point + 0.5 + 1e-6)
    return np.clip(quantized, limits.min, limits.max).astype(tensor.dtype)


def plain_levels(dtype: np.dtype[Any]) -> NDArray[Any]:
    """(256,): the levels themselves, as uint8 or moved into int8."""
    levels = LEVELS.astype(np.uint8)
    return levels if dtype == np.uint8 else (levels ^ 0x80).view(np.int8)


def centre_crop(image: Image, height_px: int, width_px: int) -> Image:
    """The largest part around the centre with the aspect of height_px to width_px."""
    have_height_px, have_width_px = image.size
    aspect = min(have_height_px / height_px, have_width_px / width_px)
    height = min(height_px * aspect / have_height_px, 1.0)
    width = min(width_px * aspect / have_width_px, 1.0)
    top, left = (1.0 - height) / 2, (1.0 - width) / 2
    return cut(image, Rectangle(top=top, left=left, bottom=top + height, right=left + width))


def scale_rgb(image: Rgb, height_px: int, width_px: int) -> Pixels:
    """Antialiased (Pillow's BILINEAR widens its filter when it shrinks); contiguous."""
    if image.size == (height_px, width_px):
        return np.ascontiguousarray(image.pixels)
    picture = PIL.Image.fromarray(image.pixels)
    # Not with `reducing_gap`: half the time, but stripes of 4 pixels keep three times the contrast.
    scaled = picture.resize((width_px, height_px), PIL.Image.Resampling.BILINEAR)
    return np.asarray(scaled)
