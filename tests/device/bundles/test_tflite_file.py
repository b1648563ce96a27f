"""Tests of reading a `.tflite` without a runtime: whole, cut and garbled."""

import random

import numpy as np
import pytest

from device.bundles.tflite_file import (
    FileTensor,
    FlatbufferError,
    Normalization,
    Quantization,
    problem_of_start,
    read_facts,
)
from tests.models_made import Recipe, make_model


def test_custom_operators_are_named() -> None:
    assert read_facts(make_model(Recipe(custom_operator="edgetpu-custom-op"))).custom_operators == (
        "edgetpu-custom-op",
    )
    assert read_facts(make_model(Recipe())).custom_operators == ()


def test_the_metadatas_normalization_is_found() -> None:
    facts = read_facts(make_model(Recipe(number="float32", normalization=(127.0, 128.0))))
    assert facts.normalization == Normalization((127.0,), (128.0,))


def test_the_first_operators_quantization_is_found() -> None:
    facts = read_facts(make_model(Recipe(number="float32", quantized_inside=True)))
    assert facts.first_quantize == Quantization("int8", float(np.float32(2 / 255)), -1)
    assert read_facts(make_model(Recipe(number="float32"))).first_quantize is None


def test_inputs_and_outputs_are_told_as_the_file_states_them() -> None:
    facts = read_facts(make_model(Recipe(number="int8", size_px=(6, 12))))
    assert facts.inputs == (FileTensor((1, 6, 12, 3), "int8"),)
    assert facts.outputs == (FileTensor((1, 5), "int8"),)


@pytest.mark.parametrize("seed", range(40))
def test_garbled_files_raise_one_error_and_end(seed: int) -> None:
    numbers = random.Random(seed)
    content = bytearray(make_model(Recipe(normalization=(127.0, 128.0))))
    for _ in range(numbers.randint(1, 30)):
        content[numbers.randrange(len(content))] = numbers.randrange(256)
    cut = bytes(content[: numbers.randint(0, len(content))])
    for each in (bytes(content), cut):
        try:
            facts = read_facts(each)
        except FlatbufferError:
            continue
        assert isinstance(facts.custom_operators, tuple)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04....", "ZIP"),
        (b"\x1f\x8b......", "gzip"),
        (b"anything else", "no TFL3"),
    ],
)
def test_what_is_plainly_no_model_is_said(start: bytes, message: str) -> None:
    problem = problem_of_start(start, len(start))
    assert problem is not None
    assert message in problem


def test_a_models_start_is_fine() -> None:
    assert problem_of_start(make_model(Recipe())[:512], 2000) is None
