"""What every TFLite runtime does; run under each by LOOKOUT_RUNTIME."""

from pathlib import Path

import numpy as np
import pytest

from device.assembly import open_runtime
from device.errors import ModelError
from device.ports import Network, Runtime
from tests.models_made import COLOURS, Number, Recipe, make_model, picture_of

NUMBERS: tuple[Number, ...] = ("uint8", "int8", "float32")


@pytest.fixture
def runtime() -> Runtime:
    return open_runtime()


def load(runtime: Runtime, folder: Path, recipe: Recipe) -> Network:
    path = folder / "made.tflite"
    path.write_bytes(make_model(recipe))
    return runtime.load(path, threads=1)


def test_it_says_its_name_and_version(runtime: Runtime) -> None:
    assert runtime.name in ("ai-edge-litert", "tflite-runtime")
    assert runtime.version.split(".")[0].isdigit()


@pytest.mark.parametrize("number", NUMBERS)
def test_it_runs_a_model_and_names_each_colour(
    runtime: Runtime, tmp_path: Path, number: Number
) -> None:
    network = load(runtime, tmp_path, Recipe(number=number))
    for row, colour in enumerate(COLOURS):
        pixels = np.asarray(picture_of(colour, (8, 8)))
        tensor = {
            "uint8": pixels,
            "int8": (pixels ^ 0x80).view(np.int8),
            "float32": ((pixels - 127.5) / 127.5).astype(np.float32),
        }[number]
        [scores] = network.run(tensor[np.newaxis])
        assert scores.shape == (1, 5)
        assert int(scores.argmax()) == row


def test_it_tells_shape_dtype_and_quantization(runtime: Runtime, tmp_path: Path) -> None:
    network = load(runtime, tmp_path, Recipe(number="uint8", size_px=(6, 10)))
    [image], [scores] = network.inputs, network.outputs
    assert image.shape == (1, 6, 10, 3)
    assert image.dtype == np.uint8
    assert image.scale == pytest.approx(2 / 255)
    assert image.zero_point == 127
    assert (scores.shape, scores.scale, scores.zero_point) == ((1, 5), 1 / 256, 0)


def test_a_float_tensor_has_no_scale(runtime: Runtime, tmp_path: Path) -> None:
    network = load(runtime, tmp_path, Recipe(number="float32"))
    assert (network.inputs[0].scale, network.inputs[0].zero_point) == (0.0, 0)


def test_it_names_the_operators_in_order_without_a_delegates_nodes(
    runtime: Runtime, tmp_path: Path
) -> None:
    network = load(runtime, tmp_path, Recipe(number="float32"))
    assert network.operators == ("AVERAGE_POOL_2D", "FULLY_CONNECTED", "SOFTMAX")
    assert network.nodes == 3


def test_xnnpack_takes_a_whole_float_model(runtime: Runtime, tmp_path: Path) -> None:
    assert load(runtime, tmp_path, Recipe(number="float32")).delegated_nodes == 3


def test_a_delegate_takes_at_most_the_nodes_that_are_there(
    runtime: Runtime, tmp_path: Path
) -> None:
    network = load(runtime, tmp_path, Recipe(number="uint8"))
    assert 0 <= network.delegated_nodes <= network.nodes


def test_outputs_are_copies_that_the_next_run_leaves_alone(
    runtime: Runtime, tmp_path: Path
) -> None:
    network = load(runtime, tmp_path, Recipe(number="uint8"))
    red, blue = (np.asarray(picture_of(each, (8, 8)))[np.newaxis] for each in ("red", "blue"))
    [first] = network.run(red)
    kept = first.copy()
    network.run(blue)
    assert np.array_equal(first, kept)


def test_a_tensor_of_another_shape_or_dtype_is_a_model_error(
    runtime: Runtime, tmp_path: Path
) -> None:
    network = load(runtime, tmp_path, Recipe(number="uint8"))
    with pytest.raises(ModelError):
        network.run(np.zeros((1, 9, 9, 3), np.uint8))
    with pytest.raises(ModelError):
        network.run(np.zeros((1, 8, 8, 3), np.float32))


def test_a_file_that_is_absent_is_a_model_error(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        runtime.load(tmp_path / "absent.tflite", threads=1)


def test_an_operator_that_the_runtime_lacks_is_a_model_error_in_one_line(
    runtime: Runtime, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="unresolved custom op: fake-op") as caught:
        load(runtime, tmp_path, Recipe(custom_operator="fake-op"))
    assert "\n" not in str(caught.value)


def test_an_unknown_runtime_is_named_with_what_there_is() -> None:
    with pytest.raises(ModelError, match="want auto, ai-edge-litert or tflite-runtime"):
        open_runtime("torch")
