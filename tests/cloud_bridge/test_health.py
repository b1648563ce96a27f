"""How the bridge is: told once when it changes, and always in a file."""

import json
import logging
from pathlib import Path

import pytest

from cloud_bridge.clocks import HandClock
from cloud_bridge.health import Health
from tests.kit.full_disk import SmallDisk


def test_a_trouble_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    health = Health(HandClock())
    for _ in range(3):
        health.trouble("broker", "away")
    health.well("broker")
    health.well("broker")
    assert [record.getMessage() for record in caplog.records] == [
        "broker: away",
        "broker: well again",
    ]


def test_the_file_says_counts_and_troubles(tmp_path: Path) -> None:
    clock, path = HandClock(), tmp_path / "status.json"
    health = Health(clock, path)
    health.add("received", 3)
    health.add("received")
    health.trouble("broker", "away")
    health.tick({"in_flight": 7})
    assert not path.exists()
    clock.advance(6.0)
    health.tick({"in_flight": 7})
    said = json.loads(path.read_text())
    assert said["counts"] == {"received": 4}
    assert said["now"] == {"in_flight": 7}
    assert said["troubles"] == {"broker": "away"}


def test_once_a_minute_the_log_says_it_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = HandClock()
    health = Health(clock)
    health.add("received", 3)
    health.trouble("broker", "away")
    for _ in range(119):
        clock.advance(1.0)
        health.tick({"in_flight": 7})
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["broker: away", "status in_flight=7 received=3", "still: broker: away"]


def test_a_file_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health(HandClock(), tmp_path / "absent" / "status.json")
    health.write({})
    health.write({})
    assert len(caplog.records) == 1


def test_on_a_full_disk_the_file_is_written_over(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 1_000_000) as disk:
        health = Health(HandClock(), disk.path / "status.json")
        health.write({})
        disk.fill()
        health.trouble("publishing events", "the disk is full")
        health.write({"in_flight": 7})
        said = json.loads((disk.path / "status.json").read_text())
        assert said["troubles"] == {"publishing events": "the disk is full"}
        assert [each.name for each in disk.path.glob("status*")] == ["status.json"]
