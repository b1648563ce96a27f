"""What a `.tflite` file says of itself, read without a runtime.

A flatbuffer is tables of offsets. Every read is checked against the file's end, so that a cut or
crafted file gives `FlatbufferError` here and nothing worse. Field numbers are those of
TensorFlow's `schema.fbs` and of TFLite Support's `metadata_schema.fbs`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

IDENTIFIER = b"TFL3"
EDGETPU_OPERATOR = "edgetpu-custom-op"
METADATA_NAME = "TFLITE_METADATA"
QUANTIZE = 114
"""BuiltinOperator.QUANTIZE."""
NORMALIZATION = 1
"""ProcessUnitOptions.NormalizationOptions."""
TENSORS_MAX = 8
"""Inputs, outputs and sides of each that are told; a classifier has one, one and four."""
TENSOR_TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}


class FlatbufferError(Exception):
    """An offset that leads out of the file, or nowhere."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """Of one tensor: real = (number - zero_point) * scale."""

    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Normalization:
    """What the file's metadata says of its input: real = (pixel - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FileTensor:
    """An input or output as the file states it. dtype: empty when it is none that we know."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """custom_operators: names. first_quantize: of the tensor that the graph's first operator
    makes, when that operator is QUANTIZE. inputs, outputs: of the first graph, the first few."""

    custom_operators: tuple[str, ...] = ()
    normalization: Normalization | None = None
    first_quantize: Quantization | None = None
    inputs: tuple[FileTensor, ...] = ()
    outputs: tuple[FileTensor, ...] = ()


def read_facts(content: bytes) -> FileFacts:
    """Raises FlatbufferError when the file's tables lead nowhere."""
    try:
        model = _root(content)
        return FileFacts(
            custom_operators=tuple(
                name for code in model.tables(1) if (name := code.text(1)) is not None
            ),
            normalization=_normalization(model),
            first_quantize=_first_quantize(model),
            inputs=_tensors(model, 1),
            outputs=_tensors(model, 2),
        )
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError) as exc:
        raise FlatbufferError(f"offsets lead out of the file: {exc}") from exc


def problem_of_start(start: bytes, size_bytes: int) -> str | None:
    """Why a file with these first bytes cannot be a model; None when it may be one.

    start: the first 512 bytes.
    """
    wanted = "want a .tflite file"
    if size_bytes == 0:
        return f"an empty file; {wanted}: copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return f"a Git LFS pointer, not the file itself; {wanted}: run `git lfs pull`"
    if start.lstrip()[:1] == b"<":
        return f"a web page, not a model; {wanted}: download the file itself (the raw link)"
    if start.startswith(b"PK\x03\x04"):
        return f"a ZIP archive; {wanted}: unpack it first"
    if start.startswith(b"\x1f\x8b"):
        return f"a gzip archive; {wanted}: unpack it first"
    if start[4:8] != IDENTIFIER:
        return f"not a TFLite model (no TFL3 at byte 4); {wanted}"
    return None


class _Table:
    """One table of the flatbuffer, at a position of the file."""

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._position = position
        self._fields = position - _read(content, "<i", position)
        self._size = _read(content, "<H", self._fields)

    def at(self, field: int) -> int | None:
        """Where the field's value stands; None when the file leaves it out."""
        slot = 4 + 2 * field
        if slot + 2 > self._size:
            return None
        offset = _read(self._content, "<H", self._fields + slot)
        return self._position + offset if offset else None

    def number(self, field: int, layout: str, default: int = 0) -> int:
        place = self.at(field)
        return default if place is None else int(_read(self._content, layout, place))

    def table(self, field: int) -> "_Table | None":
        place = self.at(field)
        return None if place is None else _Table(self._content, self._follow(place))

    def vector(self, field: int) -> tuple[int, int]:
        """Position of the first item, and how many there are."""
        place = self.at(field)
        if place is None:
            return 0, 0
        start = self._follow(place)
        return start + 4, int(_read(self._content, "<I", start))

    def numbers(self, field: int, layout: str) -> tuple[float, ...]:
        start, count = self.vector(field)
        size = struct.calcsize(layout)
        if count * size > len(self._content):
            raise FlatbufferError("a vector longer than the file")
        return tuple(_read(self._content, layout, start + row * size) for row in range(count))

    def tables(self, field: int) -> Iterator["_Table"]:
        start, count = self.vector(field)
        for row in range(count):
            yield _Table(self._content, self._follow(start + 4 * row))

    def item(self, field: int, row: int) -> "_Table":
        start, count = self.vector(field)
        if not 0 <= row < count:
            raise FlatbufferError(f"item {row} of a vector of {count}")
        return _Table(self._content, self._follow(start + 4 * row))

    def blob(self, field: int) -> bytes:
        start, count = self.vector(field)
        if start + count > len(self._content):
            raise FlatbufferError("a vector that ends behind the file")
        return self._content[start : start + count]

    def text(self, field: int) -> str | None:
        return None if self.at(field) is None else self.blob(field).decode("utf-8")

    def _follow(self, place: int) -> int:
        return place + int(_read(self._content, "<I", place))


def _read(content: bytes, layout: str, position: int) -> int:
    # `unpack_from` would count a negative position from the end.
    if position < 0:
        raise FlatbufferError("an offset in front of the file")
    [value] = struct.unpack_from(layout, content, position)
    return value  # type: ignore[no-any-return]


def _root(content: bytes) -> _Table:
    return _Table(content, _read(content, "<I", 0))


def _normalization(model: _Table) -> Normalization | None:
    for entry in model.tables(6):
        if entry.text(0) != METADATA_NAME:
            continue
        metadata = _root(model.item(4, entry.number(1, "<I")).blob(0))
        for graph in metadata.tables(4):
            for tensor in graph.tables(2):
                for unit in tensor.tables(4):
                    options = unit.table(1)
                    if unit.number(0, "<B") == NORMALIZATION and options is not None:
                        mean, std = options.numbers(0, "<f"), options.numbers(1, "<f")
                        if len(mean) in (1, 3) and len(std) in (1, 3) and min(std) > 0:
                            return Normalization(mean, std)
    return None


def _tensors(model: _Table, field: int) -> tuple[FileTensor, ...]:
    """field: 1 for the graph's inputs, 2 for its outputs."""
    graph = model.item(2, 0)
    tensors = [graph.item(0, int(row)) for row in graph.numbers(field, "<i")[:TENSORS_MAX]]
    return tuple(
        FileTensor(
            tuple(int(side) for side in tensor.numbers(0, "<i")[:TENSORS_MAX]),
            TENSOR_TYPES.get(tensor.number(1, "<b"), ""),
        )
        for tensor in tensors
    )


def _first_quantize(model: _Table) -> Quantization | None:
    graph = model.item(2, 0)
    operator = next(graph.tables(3), None)
    if operator is None:
        return None
    code = model.item(1, operator.number(0, "<I"))
    if max(code.number(0, "<b"), code.number(3, "<i")) != QUANTIZE:
        return None
    tensor = graph.item(0, int(operator.numbers(2, "<i")[0]))
    parameters = tensor.table(4)
    if parameters is None:
        return None
    scales, zero_points = parameters.numbers(2, "<f"), parameters.numbers(3, "<q")
    if len(scales) != 1 or len(zero_points) != 1 or scales[0] <= 0:
        return None
    dtype = TENSOR_TYPES.get(tensor.number(1, "<b"), "")
    return Quantization(dtype, float(scales[0]), int(zero_points[0]))
