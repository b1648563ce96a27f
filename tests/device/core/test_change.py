"""The gate: small luma pictures, and when they are worth a look."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.change import (
    LUMA_HEIGHT_PX,
    LUMA_WIDTH_PX,
    GateSettings,
    GateState,
    judge,
    luma_of,
)
from device.core.images import Pixels, Rgb, Yuv420

SETTINGS = GateSettings(pixel_step=12, share=0.01, look_every_ns=1000)


def yuv(y: Pixels) -> Yuv420:
    half = np.zeros(((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2), np.uint8)
    return Yuv420(y, half, half)


def flat(level: int) -> Pixels:
    return np.full((45, 80), level, np.uint8)


@pytest.mark.parametrize("size", [(720, 1280), (288, 384), (64, 100), (30, 50), (1, 1), (45, 80)])
def test_the_small_picture_is_at_most_45_by_80(size: tuple[int, int]) -> None:
    small = luma_of(yuv(np.full(size, 77, np.uint8)))
    assert small.shape == (min(size[0], LUMA_HEIGHT_PX), min(size[1], LUMA_WIDTH_PX))
    assert small.dtype == np.uint8
    assert np.all(small == 77)


@given(
    height_px=st.integers(1, 200),
    width_px=st.integers(1, 300),
    row=st.floats(0, 0.999),
    column=st.floats(0, 0.999),
)
def test_no_pixel_is_out_of_the_gate_s_sight(
    height_px: int, width_px: int, row: float, column: float
) -> None:
    y = np.zeros((height_px, width_px), np.uint8)
    y[int(row * height_px), int(column * width_px)] = 255
    assert np.count_nonzero(luma_of(yuv(y))) == 1


@given(size=st.tuples(st.integers(1, 120), st.integers(1, 200)), seed=st.integers(0, 100))
def test_each_cell_is_the_mean_of_its_block(size: tuple[int, int], seed: int) -> None:
    y = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    small = luma_of(yuv(y))
    assert abs(float(small.mean()) - float(y.mean())) < 8
    assert y.min() <= small.min()
    assert small.max() <= y.max()


def test_a_tall_picture_does_not_overflow() -> None:
    assert np.all(luma_of(yuv(np.full((45 * 300, 80), 255, np.uint8))) == 255)


def test_green_stands_for_luma_and_padding_is_not_read() -> None:
    padded = np.zeros((90, 200, 3), np.uint8)
    padded[:, :160, 1] = 50
    padded[:, 160:] = 255
    assert np.all(luma_of(Rgb(padded[:, :160])) == 50)


def test_a_mask_blacks_its_cells_out_and_leaves_the_frame_alone() -> None:
    frame = yuv(flat(200))
    mask = np.zeros((45, 80), np.bool_)
    mask[:, :40] = True
    small = luma_of(frame, mask)
    assert np.all(small[:, :40] == 0)
    assert np.all(small[:, 40:] == 200)
    assert np.all(frame.y == 200)


def test_the_first_picture_is_looked_at_and_the_same_one_is_not() -> None:
    state, verdict = judge(GateState(), flat(100), 0, False, SETTINGS)
    assert (verdict.is_open, verdict.reason) == (True, "first")
    after, verdict = judge(state, flat(100), 1, False, SETTINGS)
    assert (verdict.is_open, verdict.reason, verdict.changed_share) == (False, "still", 0.0)
    assert after is state


def test_a_step_of_exactly_the_limit_is_no_change_and_one_more_is() -> None:
    state, _ = judge(GateState(), flat(100), 0, False, SETTINGS)
    assert not judge(state, flat(112), 1, False, SETTINGS)[1].is_open
    assert judge(state, flat(113), 1, False, SETTINGS)[1].reason == "changed"
    assert judge(state, flat(87), 1, False, SETTINGS)[1].reason == "changed"


def test_black_to_white_is_a_change_though_bytes_wrap() -> None:
    state, _ = judge(GateState(), flat(0), 0, False, SETTINGS)
    assert judge(state, flat(255), 1, False, SETTINGS)[1].changed_share == 1.0


def test_what_creeps_in_adds_up_until_it_is_seen() -> None:
    state, _ = judge(GateState(), flat(100), 0, False, SETTINGS)
    opened = []
    for step in range(1, 30):
        state, verdict = judge(state, flat(100 + step), step, False, SETTINGS)
        if verdict.is_open:
            opened.append(step)
    assert opened == [13, 26]


def test_a_share_of_exactly_the_limit_is_no_change() -> None:
    state, _ = judge(GateState(), flat(100), 0, False, SETTINGS)
    picture = flat(100)
    picture.reshape(-1)[:36] = 200  # 36 of 3600 cells
    assert not judge(state, picture, 1, False, SETTINGS)[1].is_open
    picture.reshape(-1)[:37] = 200
    assert judge(state, picture, 1, False, SETTINGS)[1].is_open


def test_a_still_region_is_looked_at_when_it_is_due_or_busy() -> None:
    state, _ = judge(GateState(), flat(100), 0, False, SETTINGS)
    assert judge(state, flat(100), 999, False, SETTINGS)[1].reason == "still"
    assert judge(state, flat(100), 1000, False, SETTINGS)[1].reason == "due"
    assert judge(state, flat(100), 1, True, SETTINGS)[1].reason == "busy"


def test_another_size_begins_anew() -> None:
    state, _ = judge(GateState(), flat(100), 0, False, SETTINGS)
    small = np.full((30, 40), 100, np.uint8)
    assert judge(state, small, 1, False, SETTINGS)[1].reason == "first"
