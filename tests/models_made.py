"""Tiny TFLite classifiers made on the spot: they name the colour of what they see.

Average pool, fully connected, and what `end` asks for. Written without any library, so that the
same files serve under both runtimes. Numbers of fields, operators and options: TensorFlow's
`schema.fbs`; of the metadata: TFLite Support's `metadata_schema.fbs`.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (230, 20, 20),
    "green": (20, 230, 20),
    "blue": (20, 20, 230),
    "dark": (15, 15, 15),
    "bright": (240, 240, 240),
}
LABELS = tuple(COLOURS)
# Rows: labels. Columns: red, green, blue as real numbers from -1 to 1.
WEIGHTS = np.array([[6, -3, -3], [-3, 6, -3], [-3, -3, 6], [-3, -3, -3], [3, 3, 3]], np.float32)
BACKGROUND_BIAS = -20.0

End: TypeAlias = Literal["softmax", "sigmoid", "logits", "relu"]
Number: TypeAlias = Literal["float32", "uint8", "int8"]

FLOAT32, INT32, UINT8, INT8 = 0, 2, 3, 9
TYPES = {"float32": FLOAT32, "uint8": UINT8, "int8": INT8}
AVERAGE_POOL_2D, FULLY_CONNECTED, LOGISTIC, RELU, SOFTMAX = 1, 9, 14, 19, 25
DEQUANTIZE, QUANTIZE = 6, 114
POOL_OPTIONS, FULLY_CONNECTED_OPTIONS, SOFTMAX_OPTIONS = 5, 8, 9


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """quantized_inside: a float model that quantizes first and dequantizes last, as converters
    make them by default. background: an extra row of the output. normalization: mean and std for
    the file's metadata. stride_px: 0 is a file made to do harm: some kernels divide by
    it. extra_output: the logits too, which no classifier gives."""

    number: Number = "uint8"
    end: End = "softmax"
    size_px: tuple[int, int] = (8, 8)
    background: Literal["none", "first", "last"] = "none"
    quantized_inside: bool = False
    normalization: tuple[float, float] | None = None
    custom_operator: str | None = None
    extra_output: bool = False
    is_range_0_255: bool = False
    stride_px: int = 1


def make_model(recipe: Recipe) -> bytes:
    """The `.tflite` file."""
    return _Model(recipe).content()


def picture_of(colour: str, size: tuple[int, int] = (64, 48)) -> PIL.Image.Image:
    """Of one colour; size: width and height in pixels."""
    return PIL.Image.new("RGB", size, COLOURS[colour])


# --- the model --------------------------------------------------------------------------------


class _Model:
    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._inside: Number = "int8" if recipe.quantized_inside else recipe.number
        self._buffers: list[Table] = [Table({})]
        self._tensors: list[Table] = []
        self._codes: list[Table] = []
        self._operators: list[Table] = []

    def content(self) -> bytes:
        recipe = self._recipe
        height, width = recipe.size_px
        real = (2 / 255, 127) if self._inside == "uint8" else (2 / 255, -1)
        image = self._tensor("image", [1, height, width, 3], self._inside, real)
        first = image
        if recipe.quantized_inside:
            first = self._tensor("float_image", [1, height, width, 3], "float32")
            self._operator(QUANTIZE, 1, [first], [image])
        pooled = self._tensor("pooled", [1, 1, 1, 3], self._inside, real)
        stride = recipe.stride_px
        options = {0: i8(1), 1: i32(stride), 2: i32(stride), 3: i32(width), 4: i32(height)}
        version = 2 if self._inside == "int8" else 1
        self._operator(AVERAGE_POOL_2D, version, [image], [pooled], POOL_OPTIONS, options)
        logits = self._connected(pooled, real[0])
        last = self._end(logits)
        if recipe.quantized_inside:
            floats = self._tensor("float_scores", [1, self._count], "float32")
            self._operator(DEQUANTIZE, 2, [last], [floats])
            last = floats
        if recipe.custom_operator is not None:
            custom = self._tensor("custom", [1, self._count], recipe.number)
            self._operator(32, 1, [last], [custom], custom=recipe.custom_operator)
            last = custom
        outputs = [last, logits] if recipe.extra_output else [last]
        graph = Table(
            {
                0: self._tensors,
                1: Vector("i", [first]),
                2: Vector("i", outputs),
                3: self._operators,
                4: "main",
            }
        )
        fields: dict[int, Any] = {
            0: u32(3),
            1: self._codes,
            2: [graph],
            3: "made",
            4: self._buffers,
        }
        if recipe.normalization is not None:
            self._buffers.append(Table({0: metadata(*recipe.normalization)}))
            entry = Table({0: "TFLITE_METADATA", 1: u32(len(self._buffers) - 1)})
            fields[6] = [entry]
        return write(Table(fields), b"TFL3")

    @property
    def _count(self) -> int:
        return len(LABELS) + (self._recipe.background != "none")

    def _connected(self, pooled: int, input_scale: float) -> int:
        weights, bias = WEIGHTS, np.zeros(len(LABELS), np.float32)
        if self._recipe.is_range_0_255:
            bias = bias - weights.sum(axis=1)
            weights = weights / np.float32(127.5)
        if self._recipe.background != "none":
            place = 0 if self._recipe.background == "first" else len(LABELS)
            weights = np.insert(weights, place, 0.0, axis=0)
            bias = np.insert(bias, place, BACKGROUND_BIAS)
        shape = [self._count, 3]
        if self._inside == "float32":
            rows = self._tensor("weights", shape, "float32", content=weights.astype("<f4"))
            offsets = self._tensor("bias", [self._count], "float32", content=bias.astype("<f4"))
        else:
            scale = float(np.abs(weights).max()) / 127
            numbers = np.rint(weights / scale).astype(np.int32)
            zero_point = 128 if self._inside == "uint8" else 0
            stored = (numbers + zero_point).astype(self._inside)
            rows = self._tensor("weights", shape, self._inside, (scale, zero_point), stored)
            whole = np.rint(bias / (scale * input_scale)).astype("<i4")
            offsets = self._tensor(
                "bias", [self._count], INT32, (scale * input_scale, 0), content=whole
            )
        zero_point = 128 if self._inside == "uint8" else 0
        logits = self._tensor("logits", [1, self._count], self._inside, (0.2, zero_point))
        version = 4 if self._inside == "int8" else 1
        self._operator(
            FULLY_CONNECTED, version, [pooled, rows, offsets], [logits], FULLY_CONNECTED_OPTIONS
        )
        return logits

    def _end(self, logits: int) -> int:
        if self._recipe.end == "logits":
            return logits
        zero_point = 0 if self._inside == "uint8" else -128
        scores = self._tensor("scores", [1, self._count], self._inside, (1 / 256, zero_point))
        version = 2 if self._inside == "int8" else 1
        if self._recipe.end == "softmax":
            options = {0: f32(1.0)}
            self._operator(SOFTMAX, version, [logits], [scores], SOFTMAX_OPTIONS, options)
        elif self._recipe.end == "relu":
            self._operator(RELU, version, [logits], [scores])
        else:
            self._operator(LOGISTIC, version, [logits], [scores])
        return scores

    def _tensor(
        self,
        name: str,
        shape: Sequence[int],
        number: Number | int,
        quantization: tuple[float, int] | None = None,
        content: NDArray[Any] | None = None,
    ) -> int:
        kind = number if isinstance(number, int) else TYPES[number]
        buffer = 0
        if content is not None:
            self._buffers.append(Table({0: content.tobytes()}))
            buffer = len(self._buffers) - 1
        fields = {0: Vector("i", shape), 1: i8(kind), 2: u32(buffer), 3: name}
        if quantization is not None and kind != FLOAT32:
            scale, zero_point = quantization
            fields[4] = Table({2: Vector("f", [scale]), 3: Vector("q", [zero_point])})
        self._tensors.append(Table(fields))
        return len(self._tensors) - 1

    def _operator(
        self,
        code: int,
        version: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        kind: int = 0,
        options: Mapping[int, Any] | None = None,
        custom: str | None = None,
    ) -> None:
        fields: dict[int, Any] = {0: i8(code), 2: i32(version), 3: i32(code)}
        if custom is not None:
            fields[1] = custom
        self._codes.append(Table(fields))
        call: dict[int, Any] = {
            0: u32(len(self._codes) - 1),
            1: Vector("i", inputs),
            2: Vector("i", outputs),
        }
        if kind:
            call |= {3: u8(kind), 4: Table(dict(options or {}))}
        self._operators.append(Table(call))


def metadata(mean: float, std: float) -> bytes:
    """A ModelMetadata flatbuffer that states how the input was normalized."""
    options = Table({0: Vector("f", [mean]), 1: Vector("f", [std])})
    unit = Table({0: u8(1), 1: options})
    graph = Table({2: [Table({0: "image", 4: [unit]})]})
    return write(Table({0: "made", 4: [graph]}), b"M001")


# --- flatbuffers ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scalar:
    layout: str
    value: float


@dataclass(frozen=True)
class Vector:
    """Of scalars."""

    layout: str
    values: Sequence[float]


@dataclass(frozen=True)
class Table:
    """Field number to a Scalar, Vector, Table, list of Tables, text or bytes."""

    fields: Mapping[int, Any] = field(default_factory=dict)


def i8(value: int) -> Scalar:
    return Scalar("b", value)


def u8(value: int) -> Scalar:
    return Scalar("B", value)


def i32(value: int) -> Scalar:
    return Scalar("i", value)


def u32(value: int) -> Scalar:
    return Scalar("I", value)


def f32(value: float) -> Scalar:
    return Scalar("f", value)


def write(root: Table, identifier: bytes) -> bytes:
    """Parents before children, so that every offset points forwards, as the format demands."""
    out = bytearray(8)
    out[4:8] = identifier
    waiting: list[tuple[int, Callable[[bytearray], int]]] = []

    def point(place: int, put: Callable[[bytearray], int]) -> None:
        waiting.append((place, put))

    point(0, lambda out: _put_table(out, root, point))
    while waiting:
        place, put = waiting.pop(0)
        target = put(out)
        struct.pack_into("<I", out, place, target - place)
    return bytes(out)


_Point: TypeAlias = Callable[[int, Callable[[bytearray], int]], None]


def _put_table(out: bytearray, table: Table, point: _Point) -> int:
    count = max(table.fields, default=-1) + 1
    _align(out, 2)
    directory = len(out)
    out += struct.pack("<HH", 4 + 2 * count, 0) + bytes(2 * count)
    _align(out, 8)
    start = len(out)
    out += struct.pack("<i", start - directory)
    for number, value in sorted(table.fields.items()):
        layout = value.layout if isinstance(value, Scalar) else "I"
        _align(out, struct.calcsize(layout))
        place = len(out)
        struct.pack_into("<H", out, directory + 4 + 2 * number, place - start)
        if isinstance(value, Scalar):
            out += struct.pack(f"<{layout}", value.value)
        else:
            out += bytes(4)
            point(place, _putter(value, point))
    struct.pack_into("<H", out, directory + 2, len(out) - start)
    return start


def _putter(value: object, point: _Point) -> Callable[[bytearray], int]:
    if isinstance(value, Table):
        return lambda out: _put_table(out, value, point)
    if isinstance(value, str):
        return lambda out: _put_bytes(out, value.encode(), 4, b"\0")
    if isinstance(value, bytes):
        return lambda out: _put_bytes(out, value, 16, b"")
    if isinstance(value, Vector):
        return lambda out: _put_vector(out, value)
    assert isinstance(value, list)
    return lambda out: _put_tables(out, value, point)


def _put_vector(out: bytearray, vector: Vector) -> int:
    size = struct.calcsize(vector.layout)
    while (len(out) + 4) % max(size, 4):
        out.append(0)
    start = len(out)
    out += struct.pack("<I", len(vector.values))
    out += struct.pack(f"<{len(vector.values)}{vector.layout}", *vector.values)
    return start


def _put_bytes(out: bytearray, content: bytes, alignment: int, end: bytes) -> int:
    while (len(out) + 4) % alignment:
        out.append(0)
    start = len(out)
    out += struct.pack("<I", len(content)) + content + end
    return start


def _put_tables(out: bytearray, tables: Sequence[Table], point: _Point) -> int:
    _align(out, 4)
    start = len(out)
    out += struct.pack("<I", len(tables)) + bytes(4 * len(tables))
    for row, table in enumerate(tables):
        point(start + 4 + 4 * row, _putter(table, point))
    return start


def _align(out: bytearray, size: int) -> None:
    while len(out) % size:
        out.append(0)
