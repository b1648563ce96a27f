"""A minute of what `make soak` does for ten: sound processes stay flat, leaky ones do not."""

import sys
from pathlib import Path

import pytest

from tests.faults.soaking import RATE, soak
from tests.kit.memory import Growth, Sample, slope

SECONDS = 60.0
WARM_UP_S = 20.0


def test_a_leak_of_a_kilobyte_an_event_shows_and_sound_processes_are_flat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    soaked = soak(tmp_path, SECONDS, WARM_UP_S, lines.append, has_leaks=True)
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"    {line}\n" for line in lines))
    # Both devices' events come, each at least once.
    assert soaked.rate > RATE, "too little happened to prove anything"
    red = {name for name in soaked.growth if "leaky" in name and soaked.grows(name)}
    assert red == {"leaky bridge", "leaky device"}, "no teeth"
    assert not soaked.grows("bridge")
    assert not soaked.grows("device")


def test_a_fit_sees_growth_through_jumps_and_no_growth_in_them() -> None:
    flat = [(float(at), 100.0 + 50.0 * (at in (3, 7, 8))) for at in range(20)]
    growing = [(float(at), 2.0 * at + 50.0 * (at in (3, 7, 8))) for at in range(20)]
    assert slope(flat) == 0.0
    assert slope(growing) == pytest.approx(2.0)


def test_what_a_process_took_while_it_began_is_no_growth() -> None:
    samples = [Sample(float(at), 1000 * min(at, 10), 0) for at in range(30)]
    assert Growth.of(samples, warm_up_s=10.0).rss_bytes_a_second == 0.0
    assert Growth.of(samples, warm_up_s=0.0).rss_bytes_a_second > 0.0
