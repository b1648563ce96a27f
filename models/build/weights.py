"""Reads published PyTorch weights as NumPy arrays, without PyTorch and without trusting the file.

A `.pth` file is a pickle, and a pickle may call anything it can name. So the file must first be
the one whose sha256 the recipe states, and even then the unpickler knows five names and no more.
"""

import collections
import hashlib
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

Weights = dict[str, npt.NDArray[Any]]

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
STORAGE_TYPES: dict[str, type[np.generic]] = {"FloatStorage": np.float32, "LongStorage": np.int64}


class WeightsError(Exception):
    """The file is not the one that was wanted; nothing of it was used."""


class _Storage(NamedTuple):
    key: str
    scalar_type: type[np.generic]


class _View(NamedTuple):
    """A tensor as the pickle describes it: a window on a storage that follows later in the file."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_rest: object
) -> _View:
    return _View(storage, offset, tuple(shape), tuple(strides))


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles dictionaries of tensors; every other name in the file is an error."""

    def find_class(self, module_name: str, global_name: str) -> type | Callable[..., _View]:
        allowed: dict[tuple[str, str], type | Callable[..., _View]] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        }
        if module_name == "torch" and global_name in STORAGE_TYPES:
            return STORAGE_TYPES[global_name]
        if (module_name, global_name) in allowed:
            return allowed[module_name, global_name]
        raise WeightsError(f"want tensors only, got the name {module_name}.{global_name}")

    def persistent_load(self, pid: tuple[str, type[np.generic], str, str, int]) -> _Storage:
        kind, scalar_type, key, *_rest = pid
        if kind != "storage":
            raise WeightsError(f"want a storage, got {kind!r}")
        return _Storage(key, scalar_type)


def read_weights(path: Path, sha256: str) -> Weights:
    """Return every tensor of a `.pth` file in PyTorch's format before 1.6, by name.

    The layout of that format: magic number, protocol version, system facts, the pickled
    dictionary, the list of storage keys, then each storage as an int64 length and raw values.

    Raises:
        WeightsError: the hash differs, the format is another one, or a name is not allowed.
    """
    content_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if content_sha256 != sha256:
        raise WeightsError(f"want sha256 {sha256}, got {content_sha256} in {path.name}")
    with path.open("rb") as file:
        magic_number = _TensorUnpickler(file).load()
        protocol_version = _TensorUnpickler(file).load()
        if (magic_number, protocol_version) != (MAGIC_NUMBER, PROTOCOL_VERSION):
            raise WeightsError(f"want PyTorch's format before 1.6, got {magic_number!r}")
        _TensorUnpickler(file).load()  # byte order and the sizes of C types; not needed
        views: dict[str, _View] = _TensorUnpickler(file).load()
        keys: list[str] = _TensorUnpickler(file).load()
        scalar_types = {view.storage.key: view.storage.scalar_type for view in views.values()}
        storages = {key: _read_storage(file, scalar_types[key]) for key in keys}
    return {name: _array(view, storages[view.storage.key]) for name, view in views.items()}


def _read_storage(file: IO[bytes], scalar_type: type[np.generic]) -> npt.NDArray[Any]:
    (length,) = struct.unpack("<q", file.read(8))
    dtype = np.dtype(scalar_type).newbyteorder("<")
    return np.frombuffer(file.read(length * dtype.itemsize), dtype)


def _array(view: _View, storage: npt.NDArray[Any]) -> npt.NDArray[Any]:
    strides_bytes = [stride * storage.itemsize for stride in view.strides]
    window = np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, strides_bytes)
    return window.copy()
