"""Kills over device, broker, bridge and Pub/Sub, each while events are in flight: nothing is lost,
nothing stored twice; and chains that are broken on purpose go red."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.chain import Parts, plan, prove

SEED = int(os.environ.get("LOOKOUT_FAULT_SEED") or random.SystemRandom().randrange(1, 10**6))
COUNT = int(os.environ.get("COUNT", "20000"))
KILLS = int(os.environ.get("KILLS", "100"))
FREEZES = int(os.environ.get("FREEZES", "12"))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def say(words: str) -> None:
        with capsys.disabled():
            os.write(1, f"\n    {words}".encode())

    say(f"LOOKOUT_FAULT_SEED={SEED}")
    return say


def test_a_hundred_kills_lose_nothing_and_store_nothing_twice(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    faults = plan(random.Random(SEED), KILLS, FREEZES)
    verdict = prove(tmp_path, Parts(), faults, COUNT, rate=200.0, timeout_s=120.0, say=say)
    assert verdict.repeated_share < 0.05
