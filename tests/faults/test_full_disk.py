"""A disk that fills up under the outbox: ballast, expulsion, memory, and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.errors import TransientError
from device.messaging.sqlite_outbox import SqliteOutbox
from device.wire.bodies import Button, Gap, Telemetry
from device.wire.events import Draft, decode
from tests.kit.full_disk import SmallDisk
from tests.kit.outbox_reader import read_outbox

TELEMETRY = Draft(
    time_ns=1_764_000_000_000_000_000,
    mono_ns=1,
    body=Telemetry(uptime_s=1.0, frames=1, frames_replaced=0, looks=1, dismissed=0, waiting=0),
)
BUTTON = Draft(
    time_ns=1_764_000_000_000_000_000,
    mono_ns=1,
    body=Button(button="door", press="short", result="looked"),
)


def append_often(outbox: SqliteOutbox) -> None:
    for _ in range(1000):
        outbox.append_all([BUTTON] * 100)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", 6_000_000) as small:
        yield small


def test_a_full_disk_costs_telemetry_first_and_a_gap_names_it(disk: SmallDisk) -> None:
    path = disk.path / "outbox.db"
    outbox = SqliteOutbox(path, "garden", "home", 100_000_000)
    for _ in range(20):
        outbox.append_all([TELEMETRY] * 100)
    disk.fill()
    expelled = 0
    for _ in range(300):
        expelled += outbox.append_all([BUTTON] * 5).expelled
    assert expelled > 0
    assert not path.with_name("outbox.db.ballast").exists()
    there = [decode(each.payload) for each in outbox.oldest(100_000)]
    buttons = [event for event in there if event.subfolder == "button"]
    assert len(buttons) == 1500, "a button went while there was telemetry to expel"
    named = sum(
        each.count for event in there if isinstance(event.body, Gap) for each in event.body.ranges
    )
    assert len(there) + named == outbox.last_seq
    outbox.close()


def test_with_room_again_the_ballast_comes_back_and_the_bound_is_the_old_one(
    disk: SmallDisk,
) -> None:
    path = disk.path / "outbox.db"
    outbox = SqliteOutbox(path, "garden", "home", 100_000_000)
    for _ in range(20):
        outbox.append_all([TELEMETRY] * 100)
    disk.fill()
    while path.with_name("outbox.db.ballast").exists():
        outbox.append_all([BUTTON])
    disk.empty()
    assert outbox.append_all([TELEMETRY] * 10).expelled == 0
    assert path.with_name("outbox.db.ballast").exists()
    outbox.close()


def test_a_disk_with_nothing_to_expel_refuses_and_uses_no_number(disk: SmallDisk) -> None:
    path = disk.path / "outbox.db"
    outbox = SqliteOutbox(path, "garden", "home", 100_000_000)
    path.with_name("outbox.db.ballast").unlink()
    disk.fill()
    with pytest.raises(TransientError, match="free some room"):
        append_often(outbox)
    last_seq = outbox.last_seq
    assert read_outbox(path).runs == {str(outbox.run): last_seq}
    disk.empty()
    assert outbox.append_all([BUTTON]).events[0].id.seq == last_seq + 1
    outbox.close()


def test_events_can_leave_a_full_disk(disk: SmallDisk) -> None:
    """Acknowledged events must be forgotten though there is no room for anything new."""
    outbox = SqliteOutbox(disk.path / "outbox.db", "garden", "home", 100_000_000)
    stored = [each for _ in range(20) for each in outbox.append_all([TELEMETRY] * 100).stored]
    disk.fill()
    outbox.append_all([BUTTON])
    for start in range(0, len(stored), 100):
        outbox.remove([each.row for each in stored[start : start + 100]])
    assert outbox.waiting < 10
    outbox.close()


def test_a_disk_that_is_full_at_the_start_is_a_transient_error(disk: SmallDisk) -> None:
    disk.fill()
    with pytest.raises(TransientError, match="free some room"):
        SqliteOutbox(disk.path / "outbox.db", "garden", "home", 100_000_000)
    disk.empty()
    outbox = SqliteOutbox(disk.path / "outbox.db", "garden", "home", 100_000_000)
    assert outbox.append_all([BUTTON]).events[0].id.seq == 1
    outbox.close()
