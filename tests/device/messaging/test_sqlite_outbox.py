"""What only a file can do: be opened again, be damaged, be on a disk that refuses."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from device.errors import TransientError
from device.messaging.ballast import BALLAST_BYTES
from device.messaging.outbox_file import DAMAGED_KEPT
from device.messaging.sqlite_outbox import SqliteOutbox
from device.ports import PreviousRun
from device.wire.bodies import ClockAnchor
from device.wire.events import Draft
from device.wire.names import RunId
from tests.kit.outbox_reader import read_outbox

DRAFT = Draft(time_ns=1_764_000_000_000_000_000, mono_ns=1, body=ClockAnchor(step_s=1.0))


def opened(path: Path, digits: str = "0badcafe") -> SqliteOutbox:
    return SqliteOutbox(path, "garden", "home", 10_000_000, lambda: digits)


def append_often(outbox: SqliteOutbox) -> None:
    for _ in range(100):
        outbox.append_all([DRAFT] * 100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.db"


def test_the_run_number_is_in_the_file_before_its_first_event(path: Path) -> None:
    outbox = opened(path)
    assert read_outbox(path).runs == {"1-0badcafe": 0}
    outbox.close()


def test_each_opening_is_a_new_run_that_knows_how_the_last_one_ended(path: Path) -> None:
    first = opened(path, "00000001")
    first.append_all([DRAFT] * 3)
    first.close()
    second = opened(path, "00000002")
    assert second.run == RunId(2, "00000002")
    assert second.previous == PreviousRun(RunId(1, "00000001"), 3, ended_cleanly=True)
    third = opened(path, "00000003")  # the second was not closed: as after a kill
    assert third.previous == PreviousRun(RunId(2, "00000002"), 0, ended_cleanly=False)
    second.close()
    third.close()


def test_events_of_an_earlier_run_are_still_there_under_their_own_ids(path: Path) -> None:
    first = opened(path)
    stored = first.append_all([DRAFT]).stored
    size_bytes = first.size_bytes
    first.close()
    second = opened(path)
    assert second.oldest(10) == list(stored)
    assert (second.waiting, second.size_bytes, second.last_seq) == (1, size_bytes, 0)
    second.close()


def test_the_last_seq_survives_the_removal_of_its_event(path: Path) -> None:
    first = opened(path)
    first.remove([each.row for each in first.append_all([DRAFT] * 5).stored])
    first.close()
    second = opened(path)
    assert second.previous is not None
    assert second.previous.last_seq == 5
    second.close()


def test_commits_are_synced_in_full(path: Path) -> None:
    outbox = opened(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert outbox._db.execute("PRAGMA synchronous").fetchone() == (2,)
    outbox.close()


@pytest.mark.parametrize(
    "content", [b"no database at all " * 500, b"SQLite format 3\0" + os.urandom(8000)]
)
def test_a_file_that_is_no_database_is_put_aside_and_reported(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    outbox = opened(path)
    assert outbox.damage is not None
    assert "outbox.db.damaged-1" in outbox.damage
    assert path.with_name("outbox.db.damaged-1").read_bytes() == content
    outbox.append_all([DRAFT])
    outbox.close()


def test_after_damage_the_run_number_goes_on_where_the_file_still_tells_it(path: Path) -> None:
    for _ in range(4):
        outbox = opened(path)
        outbox.append_all([DRAFT] * 200)
        outbox.close()
    with closing(sqlite3.connect(path)) as db:
        page = db.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'events_by_rank'"
        ).fetchone()[0]
        page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(os.urandom(page_bytes))
    outbox = opened(path)
    assert outbox.damage is not None
    assert outbox.run.number == 5
    outbox.close()


def test_a_file_that_is_damaged_while_it_is_in_use_is_replaced_by_a_new_run(path: Path) -> None:
    outbox = opened(path)
    rows = [each.row for each in outbox.append_all([DRAFT] * 300).stored]
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._db.execute("PRAGMA shrink_memory")  # else its cache hides the damage
    path.write_bytes(os.urandom(path.stat().st_size))
    with pytest.raises(TransientError, match="damaged"):
        append_often(outbox)
    assert outbox.run.number == 2
    assert outbox.damage is not None
    # Rows of the old file may still be under way: none of their numbers is given again.
    assert outbox.append_all([DRAFT]).stored[0].row > rows[-1]
    outbox.close()


def test_only_the_newest_damaged_files_are_kept(path: Path) -> None:
    path.parent.mkdir()
    for _ in range(DAMAGED_KEPT + 3):
        path.write_bytes(b"garbage " * 1000)
        opened(path).close()
        path.unlink()
    names = sorted(each.name for each in path.parent.glob("*.damaged-?"))
    assert names == [f"outbox.db.damaged-{number}" for number in (4, 5, 6)]


def test_a_folder_that_cannot_be_made_is_a_transient_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TransientError, match="want a folder to write to"):
        opened(tmp_path / "file" / "outbox.db")


def test_a_file_that_another_program_locks_is_a_transient_error(path: Path) -> None:
    outbox = opened(path)
    outbox._db.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransientError, match="another program holds the file"):
            outbox.append_all([DRAFT])
        other.execute("ROLLBACK")
    [event] = outbox.append_all([DRAFT]).events
    assert event.id.seq == 1
    outbox.close()


def test_ballast_lies_beside_the_file(path: Path) -> None:
    outbox = opened(path)
    assert path.with_name("outbox.db.ballast").stat().st_size == BALLAST_BYTES
    outbox.close()
