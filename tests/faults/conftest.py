"""Kills, cuts, partitions and full disks: every test here is marked `system`."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.nursery import Nursery
from tests.kit.processes import Spawn

FOLDER = Path(__file__).parent
MODULES = (
    "cloud_bridge.commands.bridge",
    "cloud_bridge.commands.pubsub",
    "cloud_bridge.forward.google_pubsub",
    "tests.faults.bridge_doubles",
    "tests.faults.delivering",
    "tests.faults.publishing",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def seed() -> int:
    """`LOOKOUT_FAULT_SEED`, or any."""
    return int(os.environ.get("LOOKOUT_FAULT_SEED") or random.SystemRandom().randrange(1, 10**6))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], seed: int) -> Callable[[str], None]:
    """Shows a line to whoever runs the tests; the seed first."""

    def say(words: str) -> None:
        with capsys.disabled():
            os.write(1, f"\n    {words}".encode())

    say(f"LOOKOUT_FAULT_SEED={seed}")
    return say


@pytest.fixture(scope="session")
def spawn() -> Iterator[Spawn]:
    """Starts the chain's processes quickly."""
    with Nursery(MODULES) as nursery:
        yield nursery.spawn
