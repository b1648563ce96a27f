"""What every outbox promises."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.messaging.memory_outbox import MemoryOutbox
from device.messaging.sqlite_outbox import SqliteOutbox
from device.ports import Outbox
from device.wire.bodies import Body, Button, ClockAnchor, Gap, RunStarted, Telemetry
from device.wire.events import MAX_EVENT_BYTES, Draft, decode
from device.wire.names import EventId

MAX_BYTES = 20_000

Make = Callable[[Path], Outbox]

OUTBOXES: dict[str, Make] = {
    "memory": lambda folder: MemoryOutbox("garden", "home", MAX_BYTES, is_durable=True),
    "sqlite": lambda folder: SqliteOutbox(folder / "outbox.db", "garden", "home", MAX_BYTES),
}


@pytest.fixture(params=OUTBOXES)
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    made = OUTBOXES[request.param](tmp_path)
    yield made
    made.close()


def draft(body: Body) -> Draft:
    return Draft(time_ns=1_764_000_000_000_000_000, mono_ns=5, body=body)


TELEMETRY = draft(
    Telemetry(uptime_s=1.0, frames=1, frames_replaced=0, looks=1, dismissed=0, waiting=0)
)
BUTTON = draft(Button(button="door", press="short", result="looked"))
CLOCK = draft(ClockAnchor(step_s=1.0))
HUGE = draft(Button(button="x" * MAX_EVENT_BYTES, press="short", result="looked"))


def test_a_run_starts_at_number_one_without_a_previous_run(outbox: Outbox) -> None:
    assert outbox.run.number == 1
    assert outbox.previous is None
    assert outbox.damage is None


def test_events_are_numbered_from_one_without_holes(outbox: Outbox) -> None:
    first = outbox.append_all([BUTTON, TELEMETRY]).events
    second = outbox.append_all([CLOCK]).events
    assert [event.id.seq for event in (*first, *second)] == [1, 2, 3]
    assert {event.id.run for event in (*first, *second)} == {outbox.run}
    assert outbox.last_seq == 3


def test_an_event_is_stored_as_it_will_be_sent(outbox: Outbox) -> None:
    appended = outbox.append_all([BUTTON])
    [stored] = outbox.oldest(10)
    assert [stored] == list(appended.stored)
    assert decode(stored.payload) == appended.events[0]
    assert stored.id == str(appended.events[0].id)
    assert stored.subfolder == "button"


def test_an_event_stays_until_it_is_removed(outbox: Outbox) -> None:
    appended = outbox.append_all([BUTTON, CLOCK])
    assert outbox.waiting == 2
    outbox.remove([appended.stored[0].row])
    assert [each.id for each in outbox.oldest(10)] == [str(appended.events[1].id)]
    assert outbox.waiting == 1


def test_removing_rows_that_are_not_there_changes_nothing(outbox: Outbox) -> None:
    [stored] = outbox.append_all([BUTTON]).stored
    size_bytes = outbox.size_bytes
    outbox.remove([stored.row + 1000])
    assert (outbox.waiting, outbox.size_bytes) == (1, size_bytes)
    outbox.remove([stored.row])
    outbox.remove([stored.row])
    assert (outbox.waiting, outbox.size_bytes) == (0, 0)


def test_numbers_of_events_and_rows_are_not_used_again_after_removal(outbox: Outbox) -> None:
    first = outbox.append_all([BUTTON])
    outbox.remove([first.stored[0].row])
    second = outbox.append_all([BUTTON])
    assert second.events[0].id.seq == 2
    assert second.stored[0].row > first.stored[0].row


def test_within_a_run_rows_grow_with_seqs_one_by_one(outbox: Outbox) -> None:
    # `device/pipeline/sent.py` finds the row of a receipt's seq by it.
    for count in range(30):
        stored = outbox.append_all([(BUTTON, TELEMETRY, HUGE)[count % 3]] * (1 + count % 3)).stored
        if count % 4 == 0:
            outbox.remove([each.row for each in stored])
    found = outbox.oldest(10_000)
    assert len({each.row - EventId.parse(each.id).seq for each in found}) == 1


def test_the_oldest_come_first_and_after_a_row(outbox: Outbox) -> None:
    stored = outbox.append_all([BUTTON] * 5).stored
    assert outbox.oldest(2) == list(stored[:2])
    assert outbox.oldest(2, after_row=stored[1].row) == list(stored[2:4])
    assert outbox.oldest(10, after_row=stored[4].row) == []


def test_nothing_to_append_is_nothing_stored(outbox: Outbox) -> None:
    appended = outbox.append_all([])
    assert (list(appended.events), list(appended.stored), outbox.last_seq) == ([], [], 0)


def test_a_full_outbox_expels_the_oldest_of_the_lowest_rank_and_says_so(outbox: Outbox) -> None:
    outbox.append_all([BUTTON] * 5)
    outbox.append_all([TELEMETRY] * 20)
    appended = outbox.append_all([BUTTON])
    while appended.expelled == 0:
        appended = outbox.append_all([BUTTON])
    [gap] = appended.gaps
    body = gap.body
    assert isinstance(body, Gap)
    assert body.reason == "full"
    assert body.counts == {"telemetry": appended.expelled}
    [lost] = body.ranges
    assert (lost.run, lost.first, lost.count) == (str(outbox.run), 6, appended.expelled)
    assert lost.last == 5 + appended.expelled
    assert gap.id.seq == appended.events[0].id.seq - 1
    # The gap event is itself on disk, before the event that needed the room.
    assert [each.id for each in appended.stored] == [str(gap.id), str(appended.events[0].id)]
    assert outbox.size_bytes <= MAX_BYTES


def test_a_second_gap_takes_in_the_first_while_that_still_waits(outbox: Outbox) -> None:
    outbox.append_all([TELEMETRY] * 20)
    gaps, expelled = 0, 0
    while gaps < 5:
        appended = outbox.append_all([BUTTON])
        gaps += len(appended.gaps)
        expelled += appended.expelled
    there = [decode(each.payload).body for each in outbox.oldest(1000)]
    [gap] = [body for body in there if isinstance(body, Gap)]
    assert gap.counts == {"telemetry": expelled, "gap": 4}
    assert sum(each.count for each in gap.ranges) == expelled + 4


def test_every_number_is_stored_or_named_in_a_gap_that_is_stored(outbox: Outbox) -> None:
    for count in range(60):
        outbox.append_all([(BUTTON, TELEMETRY, CLOCK)[count % 3]] * (1 + count % 4))
        assert outbox.size_bytes <= MAX_BYTES
    there = [decode(each.payload) for each in outbox.oldest(10_000)]
    assert len(there) == outbox.waiting
    counted = sum(
        each.count for event in there if isinstance(event.body, Gap) for each in event.body.ranges
    )
    assert counted > 0
    assert len(there) + counted == outbox.last_seq


def test_a_draft_too_large_to_send_becomes_a_gap_under_its_own_number(outbox: Outbox) -> None:
    appended = outbox.append_all([BUTTON, HUGE, CLOCK])
    assert appended.oversize == 1
    assert [event.id.seq for event in appended.events] == [1, 2, 3]
    assert appended.events[1].body == Gap(reason="oversize", counts={"button": 1})
    assert len(outbox.oldest(10)) == 3


def test_run_started_is_not_expelled_for_telemetry(outbox: Outbox) -> None:
    started = RunStarted(reason="first", version="1", bundle="b", runtime="r")
    outbox.append_all([draft(started)])
    for _ in range(200):
        outbox.append_all([TELEMETRY])
    assert [each.subfolder for each in outbox.oldest(1000)].count("run") == 1


def test_events_of_another_outbox_are_adopted_as_they_are(outbox: Outbox) -> None:
    other = MemoryOutbox("garden", "home", MAX_BYTES, first_row=1 << 62)
    theirs = other.append_all([BUTTON, CLOCK]).stored
    outbox.append_all([TELEMETRY])
    adopted = outbox.adopt(theirs)
    there = outbox.oldest(10)
    assert [each.id for each in adopted.stored] == [each.id for each in theirs]
    assert [(each.id, each.payload) for each in there[1:]] == [
        (each.id, each.payload) for each in theirs
    ]
    assert [each.row for each in there] == sorted(each.row for each in there)
    assert outbox.waiting == 3
    assert outbox.last_seq == 1, "their numbers are their own run's"
    assert outbox.append_all([CLOCK]).events[0].id.seq == 2


def test_adopted_events_push_out_others_when_there_is_no_room(outbox: Outbox) -> None:
    other = MemoryOutbox("garden", "home", MAX_BYTES)
    theirs = other.append_all([BUTTON] * 20).stored
    for _ in range(40):
        outbox.append_all([TELEMETRY])
    adopted = outbox.adopt(theirs)
    assert adopted.expelled > 0
    assert outbox.size_bytes <= MAX_BYTES
    assert [each.id for each in outbox.oldest(1000)][-20:] == [each.id for each in theirs]


def test_nothing_to_adopt_is_nothing_stored(outbox: Outbox) -> None:
    assert list(outbox.adopt([]).stored) == []


def test_closing_twice_is_closing_once(outbox: Outbox) -> None:
    outbox.append_all([BUTTON])
    outbox.close()
    outbox.close()
