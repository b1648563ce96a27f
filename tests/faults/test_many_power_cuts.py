"""Three hundred power cuts at any moment of an outbox's lives: 0 lost, 0 ids reused, 0 corrupt."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.messaging.sqlite_outbox import Synchronous
from tests.faults.cutting import Damage, cut_many
from tests.kit.power_cut_folder import PowerCutFolder
from tests.tools import absent, require_tool

# No TFLite runtime has a part in it, and twenty cuts of `test_power_cut.py` are in `make test`.
pytestmark = pytest.mark.cloud

CUTS = 300
CUTS_A_LIFE = 15
BROKEN_CUTS = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerCutFolder]:
    require_tool("fusermount3")
    if not Path("/dev/fuse").exists():
        absent("/dev/fuse")
    with PowerCutFolder(tmp_path) as folder:
        yield folder


def seed() -> int:
    return int(os.environ.get("LOOKOUT_FAULT_SEED") or random.randrange(1 << 32))


def test_no_moment_for_a_power_cut_loses_an_event_or_reuses_an_id_or_harms_the_file(
    disk: PowerCutFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = seed()
    with capsys.disabled():
        sys.stdout.write(f"\nLOOKOUT_FAULT_SEED={number}\n")
    cutting = cut_many(disk, tmp_path, "FULL", random.Random(number), CUTS_A_LIFE)
    damage = Damage()
    for _ in range(CUTS):
        damage = next(cutting)
        assert (damage.lost, damage.reused, damage.corrupt) == (0, 0, 0), damage
    assert damage.told > 10 * CUTS, "too little was written to prove anything"
    with capsys.disabled():
        sys.stdout.write(f"{damage}\n")


@pytest.mark.parametrize(
    ("how", "harm"),
    [("NORMAL", ("lost", "reused")), ("OFF", ("lost", "corrupt"))],
)
def test_an_outbox_that_does_not_sync_goes_red(
    disk: PowerCutFolder, tmp_path: Path, how: Synchronous, harm: tuple[str, ...]
) -> None:
    """The teeth: without a sync a commit, events and run numbers go; without any, the file."""
    cutting = cut_many(disk, tmp_path, how, random.Random(seed()), CUTS_A_LIFE)
    damage = Damage()
    for _ in range(BROKEN_CUTS):
        damage = next(cutting)
        if all(getattr(damage, each) for each in harm):
            return
    raise AssertionError(f"no teeth: {damage}")
