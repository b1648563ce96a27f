"""Power cuts under a writing outbox: nothing that it told of is lost, no id comes twice."""

import gc
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device.messaging.outbox_file import sync_folder
from device.messaging.sqlite_outbox import SqliteOutbox
from tests.kit.outbox_reader import read_outbox
from tests.kit.power_cut_folder import PowerCutFolder
from tests.kit.waiting import pause
from tests.tools import REPOSITORY, absent, require_tool

CUTS = 20

Key = tuple[str, int]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerCutFolder]:
    require_tool("fusermount3")
    if not Path("/dev/fuse").exists():
        absent("/dev/fuse")
    with PowerCutFolder(tmp_path) as folder:
        yield folder


@dataclass
class Damage:
    """What cuts have done. told: of the events that were told to be committed."""

    told: int = 0
    lost: int = 0
    reused: int = 0
    cuts: int = 0
    here: set[Key] = field(default_factory=set)
    ever: set[Key] = field(default_factory=set)


def write_and_cut(
    disk: PowerCutFolder, synchronous: str, chance: random.Random
) -> Iterator[Damage]:
    """One more cut each time: a writer is killed at some moment, then the power goes."""
    damage = Damage()
    path = disk.path / "outbox.db"
    while True:
        told = _write_for(path, synchronous, chance.uniform(0.02, 0.25))
        disk.cut(chance.choice([None, chance.randrange(1 << 30)]))
        new = {key for sign, key in told if sign == "+"}
        asked = {key for sign, key in told if sign == "-"}
        there = _events(path)
        must = (damage.here | new) - asked
        damage.cuts += 1
        damage.told += len(new)
        damage.reused += len(new & damage.ever)
        damage.lost += len(must - there)
        damage.ever |= new
        # What was lost is counted once; what was removed may have come back, and stays or goes.
        damage.here = there - asked
        yield damage


def _events(path: Path) -> set[Key]:
    """None of a file that has lost its tables: without a sync, a cut can take them too."""
    try:
        return set(read_outbox(path).events)
    except sqlite3.OperationalError as exc:
        if "no such table" not in str(exc):
            raise
        return set()


def _write_for(path: Path, synchronous: str, seconds: float) -> list[tuple[str, Key]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.writing", str(path), synchronous],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    if process.stdout is None:
        raise AssertionError("no pipe")
    with process.stdout:
        first = process.stdout.readline()
        pause(seconds)
        process.kill()
        lines = [first, *process.stdout.read().splitlines(keepends=True)]
    process.wait(timeout=10.0)
    whole = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(sign, (run, int(seq))) for sign, run, seq in whole]


def seed() -> int:
    return int(os.environ.get("LOOKOUT_FAULT_SEED") or random.randrange(1 << 32))


def test_no_power_cut_loses_an_event_or_gives_its_id_to_another(
    disk: PowerCutFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    number = seed()
    with capsys.disabled():
        sys.stdout.write(f"\nLOOKOUT_FAULT_SEED={number}\n")
    cutting = write_and_cut(disk, "FULL", random.Random(number))
    damage = Damage()
    for _ in range(CUTS):
        damage = next(cutting)
        assert (damage.lost, damage.reused) == (0, 0), f"after {damage.cuts} cuts"
    assert damage.told > 10 * CUTS, "too little was written to prove anything"
    with capsys.disabled():
        sys.stdout.write(f"cuts={damage.cuts} told={damage.told} lost=0 reused=0\n")


def test_the_same_check_goes_red_when_commits_are_not_synced(disk: PowerCutFolder) -> None:
    """The teeth: an outbox with `synchronous=NORMAL` tells of events that a cut takes."""
    cutting = write_and_cut(disk, "NORMAL", random.Random(seed()))
    for _ in range(CUTS):
        damage = next(cutting)
        if damage.lost > 0:
            return
    raise AssertionError(f"no loss in {CUTS} cuts of an outbox that does not sync: no teeth")


def test_a_new_files_name_survives_a_cut_once_its_folder_is_synced(disk: PowerCutFolder) -> None:
    names = [disk.path / "kept", disk.path / "lost"]
    for path in names:
        with path.open("wb") as file:
            file.write(b"content")
            file.flush()
            os.fsync(file.fileno())
        if path.name == "kept":
            sync_folder(disk.path)
    disk.cut()
    assert [path.name for path in names if path.exists()] == ["kept"], "no teeth, or no sync"
    assert names[0].read_bytes() == b"content"


def test_a_new_outbox_and_one_put_aside_survive_a_cut_at_once(disk: PowerCutFolder) -> None:
    path = disk.path / "outbox.db"
    path.write_bytes(b"no database " * 1000)
    outbox = SqliteOutbox(path, "garden", "home", 10_000_000)
    run = str(outbox.run)
    del outbox  # nothing is closed as asked
    gc.collect()
    disk.cut()
    assert read_outbox(path).runs == {run: 0}
    assert path.with_name("outbox.db.damaged-1").exists()
