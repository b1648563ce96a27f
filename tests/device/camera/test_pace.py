import pytest

from device.camera.pace import FrameRate


def admitted(source_per_s: float, wanted_per_s: float, seconds: float = 10.0) -> int:
    rate = FrameRate(wanted_per_s)
    return sum(
        rate.admits(round(step * 1e9 / source_per_s))
        for step in range(round(seconds * source_per_s))
    )


@pytest.mark.parametrize(
    ("source_per_s", "wanted_per_s", "expected"),
    [(30, 10, 100), (25, 10, 100), (10, 10, 100), (10.02, 10, 100), (5, 10, 50), (24, 1, 10)],
)
def test_of_a_faster_source_the_asked_rate_comes_through(
    source_per_s: float, wanted_per_s: float, expected: int
) -> None:
    assert admitted(source_per_s, wanted_per_s) == pytest.approx(expected, abs=1)


def test_after_a_silence_there_is_no_burst() -> None:
    rate = FrameRate(10.0)
    assert rate.admits(0)
    assert rate.admits(60_000_000_000)
    assert not rate.admits(60_010_000_000)
    assert not rate.admits(60_050_000_000)
    assert rate.admits(60_100_000_000)
