"""Delivery between outboxes and uplinks that behave, turned by hand on one thread."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from device.clocks import HandClock
from device.core.delivery import SPARE_FIRST_ROW, DeliverySettings
from device.errors import TransientError
from device.messaging.fake_uplink import FakeUplink
from device.messaging.memory_outbox import MemoryOutbox
from device.messaging.sqlite_outbox import SqliteOutbox
from device.pipeline.deliver import QUEUE_AT_MOST, Delivery
from device.ports import Appended, Outbox, PreviousRun
from device.wire.bodies import Body, Button, ClockAnchor, Gap, RunStarted
from device.wire.events import Draft, Event, decode
from device.wire.names import RunId, Topics


def draft(body: Body) -> Draft:
    return Draft(time_ns=1_764_000_000_000_000_000, mono_ns=1, body=body)


def first(previous: PreviousRun | None) -> Draft:
    reason = "first" if previous is None else "stopped" if previous.ended_cleanly else "died"
    return draft(RunStarted(reason=reason, version="1", bundle="b", runtime="r"))


def anchor(number: int) -> Draft:
    return draft(ClockAnchor(step_s=float(number)))


class FailingDisk:
    """A real outbox behind a disk that refuses while `is_broken`."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.is_broken = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._outbox, name)

    def append_all(self, drafts: Sequence[Draft]) -> Appended:
        self._refuse()
        return self._outbox.append_all(drafts)

    def remove(self, rows: Sequence[int]) -> None:
        self._refuse()
        self._outbox.remove(rows)

    def _refuse(self) -> None:
        if self.is_broken:
            raise TransientError("disk full")


class Stage:
    """A delivery, its two ends, and its clock."""

    def __init__(
        self,
        outbox: Callable[[], Outbox] | None = None,
        uplink: FakeUplink | None = None,
        window: int = 8,
        has_spare: bool = False,
    ) -> None:
        self.clock = HandClock()
        self.uplink = uplink or FakeUplink(acknowledges=True)
        self.outbox = MemoryOutbox("garden", "home", 10_000_000, is_durable=True)
        self.told: list[Event] = []
        self.runs: list[RunId] = []
        self.is_deaf = False
        self.delivery = Delivery(
            outbox_factory=outbox or (lambda: self.outbox),
            uplink_factory=self._uplink_of,
            settings=DeliverySettings(window=window, live_share=0.25),
            topics=Topics("home", "garden"),
            group_ms=0,
            clock=self.clock,
            on_committed=self._hear,
            first=first,
            spare_factory=self._spare if has_spare else None,
            jitter=lambda: 0.0,
            turn_s=0.0,
        )

    def _hear(self, pairs: Sequence[tuple[Event, object]]) -> None:
        self.told.extend(event for event, _ in pairs)
        if self.is_deaf:
            raise ValueError("a listener failed")

    def _uplink_of(self, run: RunId) -> FakeUplink:
        self.runs.append(run)
        return self.uplink

    def _spare(self, previous: PreviousRun | None) -> Outbox:
        return MemoryOutbox("garden", "home", 100_000, previous=previous, first_row=SPARE_FIRST_ROW)

    def turn(self, times: int = 1) -> None:
        """Both threads' turns; nothing waits, because time is the test's."""
        for _ in range(times):
            self.delivery.outbox_turn()
            self.uplink.wake()
            self.delivery.uplink_turn()
            self.clock.advance(0.2)

    @property
    def sent(self) -> list[float]:
        """The step of each anchor that reached the broker, in order."""
        bodies = [decode(event.payload).body for event in self.uplink.published]
        return [body.step_s for body in bodies if isinstance(body, ClockAnchor)]


def test_run_started_comes_before_anything_that_was_reported_earlier() -> None:
    stage = Stage()
    stage.delivery.report(anchor(1))
    stage.turn(4)
    assert [event.subfolder for event in stage.told] == ["run", "clock"]
    assert [event.id.seq for event in stage.told] == [1, 2]
    assert [event.subfolder for event in stage.uplink.published] == ["run", "clock"]


def test_the_uplink_is_made_with_the_run_that_the_outbox_has_committed() -> None:
    stage = Stage()
    stage.turn(2)
    assert stage.runs == [stage.outbox.run]


def test_nobody_hears_of_an_event_before_it_is_committed() -> None:
    stage = Stage()
    stage.turn(2)
    stage.delivery.report(anchor(1))
    assert [event.subfolder for event in stage.told] == ["run"]
    assert stage.delivery.status().queued == 1


def test_acknowledged_events_leave_the_outbox() -> None:
    stage = Stage()
    for number in range(20):
        stage.delivery.report(anchor(number))
    stage.turn(12)
    assert stage.sent == [float(number) for number in range(20)]
    assert stage.outbox.waiting == 0
    assert stage.delivery.status().waiting == 0


def test_without_a_broker_events_wait_and_arrive_later_in_order() -> None:
    stage = Stage()
    stage.uplink.drop()
    for number in range(50):
        stage.delivery.report(anchor(number))
        stage.turn()
    assert stage.uplink.published == []
    assert stage.delivery.status().waiting == 51
    assert stage.delivery.status().problem is not None
    stage.uplink.let_in()
    stage.turn(30)
    assert stage.sent == [float(number) for number in range(50)]
    assert stage.outbox.waiting == 0


def test_no_more_is_under_way_than_the_window_and_the_broker_take() -> None:
    stage = Stage(uplink=FakeUplink(receive_maximum=3), window=8)
    for number in range(20):
        stage.delivery.report(anchor(number))
    stage.turn(6)
    assert len(stage.uplink.published) == 2  # the third place is for a new event
    stage.delivery.report(anchor(20))
    stage.delivery.report(anchor(21))
    stage.turn(3)
    assert stage.sent == [0.0, 20.0]
    stage.uplink.acknowledge(2)
    stage.turn(3)
    assert len(stage.uplink.published) == 5


def test_no_event_is_sent_twice_on_one_connection() -> None:
    stage = Stage(uplink=FakeUplink(), window=8)
    for number in range(60):
        stage.delivery.report(anchor(number))
        stage.turn()
        if number % 3 == 0:
            stage.uplink.acknowledge(2)
    for _ in range(40):
        stage.uplink.acknowledge()
        stage.turn()
    rows = [event.row for event in stage.uplink.published]
    assert len(rows) == len(set(rows)) == 61


def test_what_was_under_way_when_the_connection_went_is_sent_again_from_the_oldest() -> None:
    stage = Stage(uplink=FakeUplink(), window=8)
    for number in range(6):
        stage.delivery.report(anchor(number))
    stage.turn(4)
    stage.uplink.acknowledge(3)  # run.started, 0 and 1
    stage.turn(2)
    before = len(stage.uplink.published)
    stage.uplink.drop()
    stage.turn()
    stage.uplink.let_in()
    stage.turn(4)
    again = [decode(event.payload).body for event in stage.uplink.published[before:]]
    assert again == [anchor(number).body for number in range(2, 6)]


def test_a_new_event_overtakes_the_backlog() -> None:
    stage = Stage(uplink=FakeUplink(), window=8)
    stage.uplink.drop()
    for number in range(100):
        stage.delivery.report(anchor(number))
    stage.turn(3)
    stage.uplink.let_in()
    stage.turn(3)
    assert len(stage.uplink.published) == 6  # the rest of the window is for new events
    stage.delivery.report(draft(Button(button="door", press="short", result="looked")))
    stage.turn(2)
    assert stage.uplink.published[-1].subfolder == "button"


def test_a_refused_event_stays_and_is_sent_again_later() -> None:
    stage = Stage(uplink=FakeUplink(), window=8)
    stage.delivery.report(anchor(1))
    stage.turn(3)
    stage.uplink.refuse()
    stage.turn()
    assert stage.delivery.status().refused == 2
    assert stage.delivery.status().problem == "the fake broker refuses"
    assert len(stage.uplink.published) == 2
    stage.clock.advance(60.0)
    stage.turn(2)
    assert len(stage.uplink.published) == 4
    stage.uplink.acknowledge()
    stage.turn(3)
    assert stage.outbox.waiting == 0


def test_a_full_queue_refuses_and_a_gap_counts_what_it_refused() -> None:
    stage = Stage()
    for number in range(QUEUE_AT_MOST):
        assert stage.delivery.report(anchor(number))
    assert not stage.delivery.report(anchor(-1))
    assert not stage.delivery.report(draft(Button(button="b", press="short", result="looked")))
    assert stage.delivery.status().queue_lost == 2
    stage.turn(20)
    gaps = [event.body for event in stage.told if isinstance(event.body, Gap)]
    assert gaps == [Gap(reason="disk", counts={"clock": 1, "button": 1})]
    assert len(stage.told) == QUEUE_AT_MOST + 2


def test_a_disk_that_refuses_for_a_moment_costs_nothing() -> None:
    disk = FailingDisk(MemoryOutbox("garden", "home", 10_000_000, is_durable=True))
    stage = Stage(outbox=lambda: disk, has_spare=True)  # type: ignore[arg-type, return-value]
    stage.turn(2)
    disk.is_broken = True
    stage.delivery.report(anchor(1))
    stage.turn(3)
    assert stage.delivery.status().disk_problem == "disk full"
    assert len(stage.told) == 1
    disk.is_broken = False
    stage.turn(6)
    assert stage.delivery.status().disk_problem is None
    assert [event.is_durable for event in stage.told] == [True, True]
    assert stage.sent == [1.0]


def test_while_the_disk_refuses_events_go_on_in_memory_in_a_run_of_their_own() -> None:
    disk = FailingDisk(MemoryOutbox("garden", "home", 10_000_000, is_durable=True))
    stage = Stage(outbox=lambda: disk, has_spare=True)  # type: ignore[arg-type, return-value]
    stage.turn(2)
    disk.is_broken = True
    stage.delivery.report(anchor(1))
    stage.turn(20)
    stage.delivery.report(anchor(2))
    stage.turn(10)
    assert stage.sent == [1.0, 2.0]
    spare = [event for event in stage.told if not event.is_durable]
    assert [event.subfolder for event in spare] == ["run", "clock", "clock"]
    assert len({event.id.run for event in stage.told}) == 2
    assert stage.delivery.status().not_durable == 3
    disk.is_broken = False
    stage.clock.advance(2.0)
    stage.delivery.report(anchor(3))
    stage.turn(6)
    assert stage.told[-1].is_durable
    assert stage.told[-1].id.seq == 2
    assert stage.sent == [1.0, 2.0, 3.0]
    assert len({str(event.id) for event in stage.told}) == len(stage.told)


def test_an_outbox_that_opens_late_keeps_every_draft() -> None:
    tries: list[int] = []
    outbox = MemoryOutbox("garden", "home", 10_000_000, is_durable=True)

    def factory() -> Outbox:
        tries.append(1)
        if len(tries) < 3:
            raise TransientError("read-only file system")
        return outbox

    stage = Stage(outbox=factory)
    stage.delivery.report(anchor(1))
    for _ in range(8):
        stage.delivery.outbox_turn()
        stage.clock.advance(1.0)
    assert [event.subfolder for event in stage.told] == ["run", "clock"]


def test_a_damaged_file_is_followed_by_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"no database " * 1000)
    outbox = SqliteOutbox(path, "garden", "home", 10_000_000)
    stage = Stage(outbox=lambda: outbox)
    stage.turn(3)
    assert [event.body for event in stage.told][1:] == [Gap(reason="disk", counts={})]
    assert "damaged" in (stage.delivery.status().disk_problem or "")
    outbox.close()


def test_state_reaches_the_uplink_and_the_newest_wins() -> None:
    stage = Stage()
    stage.delivery.set_state(b"1")
    stage.delivery.set_state(b"2")
    stage.turn(3)
    assert stage.uplink.states == [b"2"]


def test_close_commits_what_is_queued_ends_the_run_and_the_connection() -> None:
    stage = Stage()
    stage.turn(2)
    for number in range(600):
        stage.delivery.report(anchor(number))
    stage.delivery.close()
    stage.delivery.close()
    assert stage.outbox.waiting == 601
    assert stage.outbox.ended_cleanly
    assert stage.uplink.is_closed
    assert not stage.delivery.report(anchor(1))


def test_the_backlog_of_an_earlier_run_is_sent_before_it_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    earlier = SqliteOutbox(path, "garden", "home", 10_000_000)
    earlier.append_all([anchor(number) for number in range(30)])
    stage = Stage(outbox=lambda: SqliteOutbox(path, "garden", "home", 10_000_000))
    stage.turn(30)
    assert stage.sent == [float(number) for number in range(30)]
    assert stage.delivery.status().waiting == 0
    stage.delivery.close()


def test_a_listener_that_raises_brings_no_draft_to_disk_twice() -> None:
    stage = Stage()
    stage.turn(2)
    stage.is_deaf = True
    stage.delivery.report(anchor(1))
    with pytest.raises(ValueError, match="a listener failed"):
        stage.delivery.outbox_turn()
    stage.is_deaf = False
    stage.turn(4)
    assert stage.sent == [1.0]
    assert stage.outbox.last_seq == 2
