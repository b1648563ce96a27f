"""Delivery while its disk refuses, its threads die, its connection goes at the worst moment."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread

import pytest

from device.clocks import SystemClock
from device.core.delivery import DeliverySettings
from device.errors import TransientError
from device.messaging.fake_uplink import FakeUplink
from device.messaging.memory_outbox import MemoryOutbox
from device.messaging.sqlite_outbox import SqliteOutbox
from device.pipeline.deliver import Delivery
from device.ports import Appended, Outbox, StoredEvent
from device.wire.bodies import ClockAnchor
from device.wire.events import Draft, decode
from device.wire.names import Topics
from tests.device.pipeline.delivery_stage import FailingDisk, Stage, anchor, first


def disk_of(max_bytes: int = 10_000_000) -> FailingDisk:
    return FailingDisk(MemoryOutbox("garden", "home", max_bytes, is_durable=True))


def steps(events: Sequence[StoredEvent]) -> list[float]:
    """The step of each anchor among these."""
    bodies = [decode(each.payload).body for each in events]
    return [body.step_s for body in bodies if isinstance(body, ClockAnchor)]


def in_memory(stage: Stage, disk: FailingDisk, numbers: Sequence[int]) -> None:
    """Break the disk for so long that events go to memory."""
    disk.is_broken = True
    for number in numbers:
        stage.delivery.report(anchor(number))
    stage.turn(20)
    assert stage.delivery.status().not_durable == len(numbers) + 1


# --- memory alone ---------------------------------------------------------------------------------


def test_events_in_memory_go_to_the_disk_once_that_takes_them_under_their_own_ids() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, has_spare=True)
    stage.turn(2)
    stage.uplink.drop()
    in_memory(stage, disk, [1, 2])
    told = [str(event.id) for event in stage.told if not event.is_durable]
    disk.is_broken = False
    stage.turn(10)  # nothing new is reported: the disk is tried all the same
    there = disk.oldest(10)
    assert [each.id for each in there if not decode(each.payload).is_durable] == told
    assert stage.delivery.status().disk_problem is None
    stage.uplink.let_in()
    stage.turn(10)
    assert stage.sent == [1.0, 2.0]
    assert disk.waiting == 0


def test_events_in_memory_go_to_the_disk_at_the_end() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, has_spare=True, uplink=FakeUplink())
    stage.turn(4)
    in_memory(stage, disk, [1, 2])
    assert stage.sent == [1.0, 2.0]  # under way from memory, and never acknowledged
    disk.is_broken = False
    stage.delivery.close()
    assert steps(disk.oldest(10)) == [1.0, 2.0]
    assert stage.delivery.status().queue_lost == 0


def test_events_under_way_from_memory_are_not_sent_again_from_disk() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, has_spare=True, uplink=FakeUplink())
    stage.turn(4)
    in_memory(stage, disk, [1, 2])
    disk.is_broken = False
    stage.delivery.report(anchor(3))
    stage.turn(10)
    assert stage.sent == [1.0, 2.0, 3.0]
    stage.uplink.acknowledge()
    stage.turn(5)
    assert stage.delivery.status().waiting == 0


def test_events_in_memory_that_were_under_way_are_sent_again_on_the_next_connection() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, has_spare=True, uplink=FakeUplink())
    stage.turn(4)
    stage.uplink.acknowledge()
    in_memory(stage, disk, [1, 2])
    stage.uplink.drop()
    stage.turn(2)
    stage.uplink.let_in()
    stage.turn(6)
    assert stage.sent == [1.0, 2.0, 1.0, 2.0]
    stage.uplink.acknowledge()
    stage.turn(3)
    assert stage.delivery.status().waiting == 1  # the disk's own run.started, not removable yet


def test_what_no_disk_takes_at_the_end_is_counted_and_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, has_spare=True)
    stage.turn(2)
    stage.uplink.drop()
    in_memory(stage, disk, [1])
    for number in range(5):
        stage.delivery.report(anchor(10 + number))
    told = len(stage.told)
    stage.delivery.close()
    assert len(stage.told) == told, "memory alone is no commit at the end"
    assert stage.delivery.status().queue_lost == 5 + 2
    assert "no disk at the end, lost: events=5" in caplog.text
    assert "lost with the memory: events=2 run=2-" in caplog.text


def test_the_end_does_not_wait_out_the_pause_after_a_refusal() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, has_spare=True)
    stage.turn(2)
    disk.is_broken = True
    stage.delivery.report(anchor(7))
    stage.delivery.outbox_turn()
    disk.is_broken = False
    stage.delivery.close()
    assert steps(disk.oldest(10)) == [7.0]


def test_the_end_tries_more_than_once() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk)
    stage.turn(2)
    tries: list[int] = []

    def refuse_twice(drafts: Sequence[Draft]) -> Appended:
        tries.append(1)
        if len(tries) < 3:
            raise TransientError("busy")
        return disk._outbox.append_all(drafts)

    disk.append_all = refuse_twice  # type: ignore[method-assign]
    stage.delivery.report(anchor(7))
    stage.delivery.close()
    assert steps(disk.oldest(10)) == [7.0]


def test_status_and_availability_speak_of_the_run_that_goes_on_in_memory() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, has_spare=True)
    stage.turn(2)
    in_memory(stage, disk, [1])
    spare = stage.told[-1].id
    status = stage.delivery.status()
    assert (status.run, status.last_seq) == (spare.run, spare.seq)
    disk.is_broken = False
    stage.clock.advance(2.0)
    stage.delivery.report(anchor(2))
    stage.turn(3)
    assert stage.delivery.status().run == disk.run
    assert stage.uplink.runs == [spare.run, disk.run]


def test_availability_follows_the_run_that_begins_after_damage(tmp_path: Path) -> None:
    box: list[SqliteOutbox] = []

    def opened() -> Outbox:
        box.append(SqliteOutbox(tmp_path / "outbox.db", "garden", "home", 10_000_000))
        return box[-1]

    stage = Stage(outbox=opened)
    stage.turn(3)
    box[0]._db.execute("DROP TABLE events")
    stage.delivery.report(anchor(1))
    stage.turn(8)
    assert stage.sent == [1.0]
    assert [run.number for run in stage.uplink.runs] == [2]
    stage.delivery.close()


# --- a disk that can be written and not read, or read and not written -----------------------------


def test_a_disk_that_cannot_be_read_still_takes_events() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, has_spare=True)
    stage.turn(3)
    disk.is_unreadable = True
    for number in range(20):
        stage.delivery.report(anchor(number))
        stage.turn(3)
    status = stage.delivery.status()
    assert status.not_durable == 0
    assert status.last_seq == 21
    assert status.disk_problem == "input/output error"
    disk.is_unreadable = False
    stage.turn(20)
    assert stage.sent == [float(number) for number in range(20)]
    assert stage.delivery.status().disk_problem is None


def test_one_bad_row_stops_nothing_and_sends_nothing_to_memory(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    earlier = SqliteOutbox(path, "garden", "home", 200_000)
    earlier.append_all([anchor(number) for number in range(5)])
    earlier._db.execute("UPDATE events SET run = CAST(x'31ad3132' AS TEXT) WHERE row = 3")
    earlier.close()
    stage = Stage(outbox=lambda: SqliteOutbox(path, "garden", "home", 200_000), has_spare=True)
    for number in range(5, 15):
        stage.delivery.report(anchor(number))
        stage.turn(5)
    assert sorted(stage.sent) == [float(number) for number in range(15) if number != 2]
    assert stage.delivery.status().not_durable == 0
    assert stage.delivery.status().waiting == 0
    stage.delivery.close()


def test_what_has_arrived_and_cannot_be_removed_is_not_sent_again() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk)
    for number in range(5):
        stage.delivery.report(anchor(number))
    stage.turn(1)
    disk.is_broken = True
    stage.turn(6)
    assert stage.sent == [0.0, 1.0, 2.0, 3.0, 4.0]
    stage.uplink.drop()
    stage.turn(2)
    stage.uplink.let_in()
    stage.turn(6)
    assert stage.sent == [0.0, 1.0, 2.0, 3.0, 4.0]
    disk.is_broken = False
    stage.turn(12)
    assert disk.waiting == 0, "the removal is tried again by itself"


def test_after_a_reconnect_the_backlog_does_not_wait_for_what_has_arrived_already() -> None:
    disk = disk_of()
    disk._outbox.append_all([anchor(number) for number in range(3000)])
    stage = Stage(outbox=lambda: disk, window=64)
    stage.turn(1)
    disk.is_broken = True
    while len(stage.sent) < 2500:
        stage.turn()
    stage.uplink.drop()
    stage.turn(2)
    before = len(stage.sent)
    stage.uplink.let_in()
    stage.turn(4)
    assert len(stage.sent) > before
    stage.turn(60)
    assert sorted(stage.sent) == [float(number) for number in range(3000)]


# --- the connection goes at the worst moment ------------------------------------------------------


def reconnect(stage: Stage) -> None:
    """The uplink's thread loses its connection and has a new one, in one go."""
    stage.uplink.drop()
    stage.uplink.let_in()
    stage.uplink.wake()
    stage.delivery.uplink_turn()


def wished(uplink: FakeUplink, window: int = 8) -> tuple[Stage, FailingDisk]:
    """A stage whose uplink waits for events, and whose outbox has ten."""
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, uplink=uplink, window=window)
    stage.turn(4)
    stage.uplink.acknowledge()
    stage.turn(2)
    for number in range(10):
        stage.delivery.report(anchor(number))
    return stage, disk


def finish(stage: Stage) -> None:
    """Turn until all has arrived; the fake fails when something is sent twice at a time."""
    for _ in range(40):
        stage.uplink.acknowledge()
        stage.turn()
    assert stage.delivery.status().waiting == 0
    assert set(stage.sent) == {float(number) for number in range(10)}


def test_what_was_read_for_a_connection_that_has_gone_is_not_handed_to_the_next() -> None:
    stage, disk = wished(FakeUplink(), window=64)
    moments: list[Callable[[], None]] = [lambda: reconnect(stage)]
    disk.on_read = lambda: moments.pop()() if moments else None
    stage.turn(1)
    disk.on_read = lambda: None
    assert not moments
    stage.turn(4)
    finish(stage)


def test_what_was_handed_over_for_a_connection_that_has_gone_is_not_sent_on_the_next() -> None:
    stage, _ = wished(FakeUplink(), window=64)
    stage.delivery.outbox_turn()
    reconnect(stage)
    assert stage.sent == []
    finish(stage)


def test_places_that_are_being_filled_are_not_asked_for_again() -> None:
    stage, disk = wished(FakeUplink())
    moments: list[Callable[[], None]] = [stage.delivery.uplink_turn]
    stage.uplink.wake()
    disk.on_read = lambda: moments.pop()() if moments else None
    stage.delivery.outbox_turn()
    stage.delivery.outbox_turn()
    stage.uplink.wake()
    stage.delivery.uplink_turn()
    assert len(stage.sent) == 8
    finish(stage)


def test_what_has_arrived_just_before_the_connection_went_is_not_sent_again() -> None:
    stage, _ = wished(FakeUplink())
    stage.turn(2)
    assert stage.sent == [float(number) for number in range(8)]
    stage.uplink.acknowledge()
    stage.delivery.uplink_turn()  # acknowledged, and not removed yet
    reconnect(stage)
    stage.delivery.outbox_turn()
    stage.uplink.wake()
    stage.delivery.uplink_turn()
    assert stage.sent == [float(number) for number in range(10)]


# --- threads that die -----------------------------------------------------------------------------


class Stumbling(FakeUplink):
    """Raises once in `publish` or `set_state`, when it is told to."""

    def __init__(self) -> None:
        super().__init__(acknowledges=True)
        self.publishes_left: int | None = None
        self.is_state_bad = False

    def publish(self, event: StoredEvent) -> None:
        if self.publishes_left is not None:
            self.publishes_left -= 1
            if self.publishes_left < 0:
                self.publishes_left = None
                raise ValueError("stumbled")
        super().publish(event)

    def set_state(self, payload: bytes) -> None:
        if self.is_state_bad:
            self.is_state_bad = False
            raise ValueError("stumbled")
        super().set_state(payload)


def die_once(turn: Callable[[], None]) -> None:
    with pytest.raises(ValueError, match="stumbled"):
        turn()


def test_a_death_while_publishing_strands_no_event() -> None:
    uplink = Stumbling()
    stage, _ = wished(uplink)
    uplink.publishes_left = 2
    stage.delivery.outbox_turn()
    uplink.wake()
    die_once(stage.delivery.uplink_turn)
    stage.turn(6)
    assert stage.sent == [float(number) for number in range(10)]
    assert stage.delivery.status().waiting == 0


def test_a_death_while_the_state_is_set_strands_neither_state_nor_event() -> None:
    uplink = Stumbling()
    stage, _ = wished(uplink)
    uplink.is_state_bad = True
    stage.delivery.set_state(b"1")
    stage.delivery.outbox_turn()
    die_once(stage.delivery.uplink_turn)
    stage.turn(6)
    assert uplink.states == [b"1"]
    assert stage.sent == [float(number) for number in range(10)]


def test_a_death_of_the_outbox_thread_strands_no_event() -> None:
    stage, disk = wished(FakeUplink(acknowledges=True))

    def stumble() -> None:
        disk.on_read = lambda: None
        raise ValueError("stumbled")

    disk.on_read = stumble
    die_once(stage.delivery.outbox_turn)
    stage.turn(8)
    assert stage.sent == [float(number) for number in range(10)]


def test_a_death_before_reading_begins_anew_does_not_forget_to() -> None:
    disk = disk_of()
    stage = Stage(outbox=lambda: disk, uplink=FakeUplink(), window=64)
    for number in range(10):
        stage.delivery.report(anchor(number))
    stage.turn(4)
    stage.uplink.acknowledge(3)
    stage.delivery.uplink_turn()
    reconnect(stage)
    remove = disk.remove

    def stumble(rows: Sequence[int]) -> None:
        disk.remove = remove  # type: ignore[method-assign]
        raise ValueError("stumbled")

    disk.remove = stumble  # type: ignore[method-assign]
    die_once(stage.delivery.outbox_turn)
    stage.turn(4)
    finish(stage)


# --- the end comes while a commit goes on ---------------------------------------------------------


class SlowDisk(FailingDisk):
    """Each commit after the first waits until it is let go on."""

    def __init__(self) -> None:
        super().__init__(MemoryOutbox("garden", "home", 10_000_000, is_durable=True))
        self.has_begun = Event()
        self.may_end = Event()
        self.is_slow = False

    def append_all(self, drafts: Sequence[Draft]) -> Appended:
        if self.is_slow:
            self.has_begun.set()
            assert self.may_end.wait(10.0)
        return super().append_all(drafts)


def test_an_end_during_a_commit_stores_nothing_twice() -> None:
    disk = SlowDisk()
    delivery = Delivery(
        outbox_factory=lambda: disk,
        uplink_factory=lambda _: FakeUplink(),
        settings=DeliverySettings(),
        topics=Topics("home", "garden"),
        group_ms=0,
        clock=SystemClock(),
        on_committed=lambda _: None,
        first=first,
        turn_s=0.0,
    )
    delivery.outbox_turn()
    disk.is_slow = True
    delivery.report(anchor(1))
    turning = Thread(target=delivery.outbox_turn)
    closing = Thread(target=delivery.close)
    turning.start()
    assert disk.has_begun.wait(10.0)
    closing.start()
    closing.join(timeout=0.2)
    assert closing.is_alive(), "it does not touch the disk while the other thread does"
    disk.may_end.set()
    closing.join(timeout=10.0)
    turning.join(timeout=10.0)
    assert steps(disk.oldest(10)) == [1.0]
