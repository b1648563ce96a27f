"""What only a file can do: be opened again, be damaged, be on a disk that refuses."""

import os
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from device.errors import TransientError
from device.messaging.ballast import BALLAST_BYTES, Ballast
from device.messaging.memory_outbox import MemoryOutbox
from device.messaging.outbox_file import DAMAGED_KEPT
from device.messaging.sqlite_outbox import SqliteOutbox
from device.ports import PreviousRun
from device.wire.bodies import ClockAnchor, Gap, LostRange
from device.wire.events import Draft, decode
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


def test_a_short_ballast_does_not_count_as_one(tmp_path: Path) -> None:
    """Whoever was killed while writing it left less than is wanted."""
    ballast = Ballast(tmp_path / "ballast", 5000)
    (tmp_path / "ballast").write_bytes(b"cut")
    assert not ballast.is_there
    assert ballast.restore()
    assert (tmp_path / "ballast").stat().st_size == 5000


# --- damage ---------------------------------------------------------------------------------------


def left_as_killed(path: Path, runs: int = 5) -> None:
    """A file with some runs behind it and 200 events, whose last process was killed; everything
    is in the main file."""
    for _ in range(runs - 1):
        opened(path).close()
    outbox = opened(path)
    outbox.append_all([DRAFT] * 200)
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._db.close()


def ruin_events(path: Path) -> None:
    """All pages of the events and their index; runs and totals stay readable."""
    with closing(sqlite3.connect(path)) as db:
        roots = [
            row[0]
            for row in db.execute("SELECT rootpage FROM sqlite_schema WHERE name LIKE 'events%'")
        ]
        page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        for root in roots:
            file.seek((root - 1) * page_bytes)
            file.write(os.urandom(page_bytes))


def test_damage_is_told_of_again_until_an_event_tells_of_it(path: Path) -> None:
    left_as_killed(path)
    ruin_events(path)
    killed = opened(path)  # it found the damage, and ends before it stores anything
    assert (killed.run.number, killed.damage is None) == (6, False)
    killed._db.close()
    outbox = opened(path)
    assert outbox.damage is not None
    assert "damaged-1" in outbox.damage
    assert outbox.run.number == 7
    assert outbox.previous == PreviousRun(RunId(5, "0badcafe"), 200, ended_cleanly=False)
    outbox.append_all([DRAFT])
    outbox._db.close()
    told = opened(path)
    assert told.damage is None
    assert told.previous == PreviousRun(RunId(7, "0badcafe"), 1, ended_cleanly=False)
    told.close()


def test_a_run_that_follows_damage_in_use_knows_the_run_before(path: Path) -> None:
    outbox = opened(path)
    outbox.append_all([DRAFT] * 300)
    before = PreviousRun(outbox.run, 300, ended_cleanly=False)
    ruin_in_use(outbox, path)
    with pytest.raises(TransientError, match="damaged"):
        append_often(outbox)
    assert outbox.previous == before
    outbox.close()


def ruin_in_use(outbox: SqliteOutbox, path: Path) -> None:
    outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    outbox._db.execute("PRAGMA shrink_memory")  # else its cache hides the damage
    path.write_bytes(os.urandom(path.stat().st_size))


def test_rows_of_an_earlier_run_that_are_under_way_keep_their_numbers_after_damage(
    path: Path,
) -> None:
    left_as_killed(path)
    outbox = opened(path)
    rows = [each.row for each in outbox.oldest(1000)]
    ruin_in_use(outbox, path)
    with pytest.raises(TransientError, match="damaged"):
        append_often(outbox)
    assert outbox.append_all([DRAFT]).stored[0].row > rows[-1]
    outbox.close()


def test_an_outbox_whose_file_could_not_be_replaced_tries_again(path: Path) -> None:
    outbox = opened(path)
    stored = outbox.append_all([DRAFT] * 300).stored
    ruin_in_use(outbox, path)
    # Nothing can be made in a folder that is a file: so a disk that refuses looks from here.
    folder = path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.touch()
    for _ in range(3):
        with pytest.raises(TransientError):
            append_often(outbox)
    path.parent.unlink()
    folder.rename(path.parent)
    [event] = outbox.append_all([DRAFT]).events
    assert (event.id.run.number, event.id.seq) == (2, 1)
    assert outbox.oldest(10)[0].row > stored[-1].row
    outbox.close()


BAD_ROWS = {
    "run that is no text": "UPDATE events SET run = CAST(x'31ad3132' AS TEXT) WHERE row = 3",
    "run that is none": "UPDATE events SET run = '1-nothex' WHERE row = 3",
    "subfolder that is no text": "UPDATE events SET subfolder = CAST(x'63ec' AS TEXT)"
    " WHERE row = 3",
    "subfolder with a wildcard": "UPDATE events SET subfolder = 'a/#' WHERE row = 3",
    "seq that is none": "UPDATE events SET seq = -4 WHERE row = 3",
    "payload with a flipped bit": "UPDATE events SET payload = CAST(substr(payload, 1, 60) || x'00'"
    " || substr(payload, 62) AS BLOB) WHERE row = 3",
    "payload that is cut": "UPDATE events SET payload = CAST(substr(payload, 1, 60) AS BLOB)"
    " WHERE row = 3",
    "payload that is none": "UPDATE events SET payload = zeroblob(200) WHERE row = 3",
}


@pytest.mark.parametrize("damage", BAD_ROWS)
def test_one_row_that_cannot_be_read_costs_itself_alone_and_a_gap_tells(
    path: Path, damage: str
) -> None:
    outbox = opened(path)
    outbox.append_all([DRAFT] * 5)
    outbox._db.execute(BAD_ROWS[damage])
    assert [each.row for each in outbox.oldest(10)] == [1, 2, 4, 5]
    assert [each.row for each in outbox.oldest(2, after_row=2)] == [4, 5]
    appended = outbox.append_all([DRAFT])
    [gap] = appended.gaps
    assert isinstance(gap.body, Gap)
    assert gap.body.reason == "disk"
    assert sum(gap.body.counts.values()) == 1
    if "subfolder" in damage or "payload" in damage:
        run = str(outbox.run)
        assert gap.body.ranges == [LostRange(run=run, first=3, last=3, count=1)]
    assert outbox.append_all([DRAFT]).gaps == []
    assert len(outbox.oldest(10)) == outbox.waiting == 7
    outbox.close()


def test_a_gap_event_that_cannot_be_read_can_still_be_expelled(path: Path) -> None:
    outbox = SqliteOutbox(path, "garden", "home", 20_000)
    for _ in range(200):
        outbox.append_all([DRAFT])
    outbox._db.execute(
        "UPDATE events SET payload = CAST(x'ff' || substr(payload, 2) AS BLOB)"
        " WHERE subfolder = 'gap'"
    )
    gaps = [gap for _ in range(40) for gap in outbox.append_all([DRAFT]).gaps]
    assert gaps
    outbox.close()


BAD_SUMS = {
    "no run": "DELETE FROM runs",
    "sums of an empty outbox": "UPDATE runs SET waiting = 0, size_bytes = 0",
    "negative sums": "UPDATE runs SET waiting = -5",
    "a last row that is too low": "UPDATE runs SET last_row = 0",
    "digits that are no text": "UPDATE runs SET digits = CAST(x'ffffffff' AS TEXT)",
    "a run number of no box": "INSERT INTO runs VALUES (9223372036854775807, '00000000', 0, 0,"
    " 0, 0, 0)",
}


def as_in_format_1(path: Path) -> None:
    """What an earlier program left: plain payloads, rows numbered by SQLite, sums of their own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.create_function("plain", 1, zlib.decompress)
        db.executescript(
            """
            BEGIN;
            CREATE TABLE old (
                row INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, seq INTEGER NOT NULL,
                subfolder TEXT NOT NULL, rank INTEGER NOT NULL, payload BLOB NOT NULL
            ) STRICT;
            INSERT INTO old SELECT row, run, seq, subfolder, rank, plain(payload) FROM events;
            DROP TABLE events;
            ALTER TABLE old RENAME TO events;
            UPDATE sqlite_sequence SET seq = (SELECT last_row FROM runs);
            CREATE INDEX events_by_rank ON events (rank, row);
            CREATE TABLE totals (
                only INTEGER PRIMARY KEY CHECK (only = 1), waiting INTEGER NOT NULL,
                size_bytes INTEGER NOT NULL
            ) STRICT;
            INSERT INTO totals
                SELECT 1, count(*), sum(length(payload)) + 120 * count(*) FROM events;
            ALTER TABLE runs DROP COLUMN last_row;
            ALTER TABLE runs DROP COLUMN waiting;
            ALTER TABLE runs DROP COLUMN size_bytes;
            PRAGMA user_version = 1;
            COMMIT;
            """
        )


def test_a_file_of_the_format_before_keeps_its_events_and_its_numbers(path: Path) -> None:
    outbox = opened(path)
    outbox.append_all([DRAFT] * 5)
    theirs = outbox.oldest(10)
    outbox.remove([theirs[-1].row])
    outbox._db.close()
    as_in_format_1(path)
    for _ in range(2):
        outbox = opened(path)
        assert outbox.damage is None
        assert [each.payload for each in outbox.oldest(4)] == [each.payload for each in theirs[:4]]
        [new] = outbox.append_all([DRAFT]).stored
        assert new.row > theirs[-1].row
        outbox.remove([new.row])
        assert outbox.waiting == 4
        outbox.close()
    outbox = opened(path)
    assert outbox.run.number == 4
    outbox.remove([each.row for each in outbox.oldest(10)])
    assert (outbox.waiting, outbox.size_bytes) == (0, 0)
    outbox.close()


def test_a_run_whose_row_is_gone_gets_it_again_with_the_next_event(path: Path) -> None:
    outbox = opened(path)
    outbox.append_all([DRAFT] * 3)
    outbox._db.execute("UPDATE runs SET number = 77")
    outbox.append_all([DRAFT])
    run = outbox.run
    outbox.close()
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT last_seq, ended FROM runs WHERE number = 1").fetchone()
    assert (run.number, found) == (1, (4, 1))


@pytest.mark.parametrize("damage", BAD_SUMS)
def test_sums_that_cannot_be_right_cost_no_event(path: Path, damage: str) -> None:
    left_as_killed(path, runs=1)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(BAD_SUMS[damage])
    outbox = opened(path)
    assert outbox.damage is None
    assert len(outbox.oldest(1000)) == outbox.waiting == 200
    outbox.remove([each.row for each in outbox.oldest(1000)])
    assert (outbox.waiting, outbox.size_bytes) == (0, 0)
    assert outbox.run.number <= 2
    outbox.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE runs",
        "DROP TABLE events",
        "ALTER TABLE runs DROP COLUMN waiting",
        "UPDATE runs SET last_row = 9223372036854775807",
    ],
)
def test_a_file_that_lacks_what_it_needs_is_put_aside(path: Path, damage: str) -> None:
    left_as_killed(path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(damage)
    outbox = opened(path)
    assert "damaged-1" in (outbox.damage or "")
    assert outbox.append_all([DRAFT]).stored[0].row < 1000
    assert outbox.run.number == (1 if "DROP TABLE runs" in damage else 6)
    outbox.close()


def test_a_table_that_goes_while_in_use_is_damage(path: Path) -> None:
    outbox = opened(path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TABLE events")
    with pytest.raises(TransientError, match="damaged-1"):
        outbox.oldest(5)
    assert outbox.append_all([DRAFT]).events[0].id.seq == 1
    outbox.close()


def test_adopted_events_keep_ids_and_bytes_and_use_no_number(path: Path) -> None:
    spare = MemoryOutbox(
        "garden", "home", 10_000, previous=PreviousRun(RunId(1, "0badcafe"), 2, False)
    )
    theirs = spare.append_all([DRAFT] * 2).stored
    outbox = opened(path)
    outbox.append_all([DRAFT])
    outbox.adopt(theirs)
    outbox.append_all([DRAFT])
    outbox.close()
    again = opened(path)
    there = again.oldest(10)
    assert [(each.id, each.payload) for each in there[1:3]] == [
        (each.id, each.payload) for each in theirs
    ]
    assert not decode(there[1].payload).is_durable
    assert again.previous is not None
    assert again.previous.last_seq == 2
    again.close()
