"""Tests of the throw-away child: whatever becomes of it, the parent lives and says so."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from device.bundles.trial import TrialRequest, TrialResult, check_start, run_trial
from device.commands.model import trial
from device.errors import ModelError, PictureError
from tests.bundles_made import PLAIN
from tests.models_made import Number, Recipe, make_model, picture_of

SCRIPT_HEAD = "import os, sys, signal\nsys.stdin.buffer.read()\n"


def run_script(script: str, timeout_s: float = 20.0) -> TrialResult:
    request = TrialRequest(model="model.tflite")
    return run_trial(request, [sys.executable, "-c", SCRIPT_HEAD + script], timeout_s)


def error_of(result: TrialResult) -> str:
    with pytest.raises(ModelError) as caught:
        result.need_network()
    return str(caught.value)


def test_a_good_model_is_loaded_and_run_in_a_child(tmp_path: Path) -> None:
    model, picture = tmp_path / "made.tflite", tmp_path / "blue.png"
    model.write_bytes(make_model(Recipe()))
    picture_of("blue").save(picture)
    result = trial()(
        TrialRequest(model=str(model), labels=5, specs=(PLAIN,), pictures=(str(picture),))
    )
    network = result.need_network()
    assert network.operators[-1] == "SOFTMAX"
    assert network.inputs[0].shape == (1, 8, 8, 3)
    assert network.problems == {"input": None, "output": None, "labels": None}
    assert int(np.argmax(result.answers[0, 0])) == 2
    assert (0, -1) in result.answers


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (6, "SIGABRT"), (9, "SIGKILL")])
def test_a_crash_is_told_with_its_signal_and_moment(number: int, name: str) -> None:
    found = error_of(
        run_script(f'print(\'{{"stage": "load"}}\', flush=True)\nos.kill(os.getpid(), {number})')
    )
    assert f"ended its trial process with {name}, while it loaded the model" in found


def test_a_child_that_hangs_is_ended() -> None:
    found = error_of(run_script("import threading\nthreading.Event().wait()", timeout_s=1.0))
    assert "did not end within 1 s" in found


def test_a_child_that_ends_without_a_word_is_no_success() -> None:
    assert "ended with code 3 (a last word)" in error_of(
        run_script("print('a last word', file=sys.stderr)\nsys.exit(3)")
    )
    assert "ended with code 0" in error_of(run_script("pass"))


def test_lines_that_are_no_report_are_passed_over() -> None:
    result = run_script("print('INFO: hello')\nprint('{\"is_end\": true}')")
    assert result.error is None


def test_a_child_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    result = run_trial(TrialRequest(model="m.tflite"), [str(tmp_path / "absent")])
    assert "cannot be started" in error_of(result)


def test_a_picture_that_cannot_be_read_is_a_picture_error(tmp_path: Path) -> None:
    model = tmp_path / "made.tflite"
    model.write_bytes(make_model(Recipe()))
    result = trial()(
        TrialRequest(model=str(model), specs=(PLAIN,), pictures=(str(tmp_path / "absent.png"),))
    )
    with pytest.raises(PictureError, match="no such file"):
        result.need_network()


def test_a_model_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "huge.tflite"
    model.write_bytes(make_model(Recipe(number="float32", size_px=(40_000, 40_000))))
    result = trial()(TrialRequest(model=str(model)))
    assert "huge.tflite" in error_of(result)


@pytest.mark.parametrize("seed", range(6))
def test_garbled_models_never_reach_the_parent(tmp_path: Path, seed: int) -> None:
    numbers = random.Random(seed)
    content = bytearray(make_model(Recipe(number="float32")))
    for _ in range(12):
        content[numbers.randrange(8, len(content))] = numbers.randrange(256)
    model = tmp_path / "garbled.tflite"
    model.write_bytes(bytes(content))
    result = trial()(TrialRequest(model=str(model), specs=(PLAIN,)))
    assert (result.error is None) == ((0, -1) in result.answers or _is_refused(result))


def _is_refused(result: TrialResult) -> bool:
    return result.network is not None and any(result.network.problems.values())


@pytest.mark.parametrize("number", ["float32", "uint8"])
def test_a_file_made_to_divide_by_zero_is_refused(tmp_path: Path, number: Number) -> None:
    model = tmp_path / "crafted.tflite"
    model.write_bytes(make_model(Recipe(number=number, stride_px=0)))
    result = trial()(TrialRequest(model=str(model), specs=(PLAIN,)))
    assert "crafted.tflite" in error_of(result)
    assert result.answers == {}


def test_what_is_no_file_is_refused_before_any_child(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        check_start(tmp_path / "absent.tflite")
    with pytest.raises(ModelError, match="a folder"):
        check_start(tmp_path)
