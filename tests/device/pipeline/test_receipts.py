"""Delivery with receipts: the broker's acknowledgement frees nothing, a receipt does."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from device.clocks import HandClock
from device.core.delivery import SPARE_FIRST_ROW, DeliverySettings
from device.errors import TransientError
from device.messaging.fake_uplink import FakeUplink
from device.messaging.memory_outbox import MemoryOutbox
from device.pipeline.deliver import Delivery
from device.ports import Incoming, Outbox, PreviousRun
from device.wire.bodies import ClockAnchor, RunStarted
from device.wire.events import Draft, decode
from device.wire.names import EventId, RunId, Topics
from device.wire.receipts import Receipt, Refusal, encode_receipt, ranges_of

TOPICS = Topics("home", "garden")
WINDOW = 8


def draft(number: int) -> Draft:
    return Draft(time_ns=1_764_000_000_000_000_000, mono_ns=1, body=ClockAnchor(step_s=number))


def first(_previous: PreviousRun | None) -> Draft:
    body = RunStarted(reason="first", version="1", bundle="b", runtime="r")
    return Draft(time_ns=1_764_000_000_000_000_000, mono_ns=1, body=body)


class Stage:
    """A delivery that wants receipts, over an uplink whose broker takes everything."""

    def __init__(
        self,
        outbox: MemoryOutbox | None = None,
        is_disk_broken: bool = False,
        receive_maximum: int = 65535,
    ) -> None:
        """is_disk_broken: `outbox` is the spare one, in memory."""
        self._is_disk_broken = is_disk_broken
        self.clock = HandClock()
        self.uplink = FakeUplink(receive_maximum, acknowledges=True)
        self.outbox = outbox or MemoryOutbox(
            "garden", "home", 10_000_000, first_row=SPARE_FIRST_ROW if is_disk_broken else 1
        )
        self.messages: list[str] = []
        self.delivery = Delivery(
            outbox_factory=self._disk,
            spare_factory=lambda _: self.outbox,
            uplink_factory=lambda _: self.uplink,
            settings=DeliverySettings(mode="receipts", window=WINDOW, live_share=0.25),
            topics=TOPICS,
            group_ms=0,
            clock=self.clock,
            on_committed=lambda _: None,
            first=first,
            on_message=lambda message: self.messages.append(message.topic),
            jitter=lambda: 0.0,
            turn_s=0.0,
        )

    def _disk(self) -> Outbox:
        if self._is_disk_broken:
            raise TransientError("read-only file system")
        return self.outbox

    def report(self, *numbers: int) -> None:
        for number in numbers:
            assert self.delivery.report(draft(number))

    def turn(self, times: int = 1, step_s: float = 0.2) -> None:
        for _ in range(times):
            self.delivery.outbox_turn()
            self.uplink.wake()
            self.delivery.uplink_turn()
            self.clock.advance(step_s)

    @property
    def sent(self) -> list[int]:
        """The seq of everything that reached the broker, in order."""
        return [EventId.parse(event.id).seq for event in self.uplink.published]

    def receive(self, *ok: tuple[int, int], refused: Sequence[Refusal] = (), run: str = "") -> None:
        """A receipt comes, and its turn is taken."""
        receipt = Receipt(run=run or str(self.outbox.run), ok=list(ok), refused=list(refused))
        self.uplink.give(TOPICS.receipts, encode_receipt(receipt))
        self.turn(2)

    @property
    def left(self) -> list[int]:
        """Seqs in the outbox."""
        return [EventId.parse(each.id).seq for each in self.outbox.oldest(10_000)]


def test_the_brokers_acknowledgement_frees_nothing() -> None:
    stage = Stage()
    stage.report(1, 2, 3)
    stage.turn(5)
    assert stage.sent == [1, 2, 3, 4]
    assert stage.left == [1, 2, 3, 4]


@pytest.mark.parametrize("receive_maximum", [1, 2, 3])
def test_a_broker_that_takes_few_at_once_gets_new_events_past_one_that_nobody_confirms(
    receive_maximum: int,
) -> None:
    stage = Stage(receive_maximum=receive_maximum)
    stage.turn(3)
    stage.report(*range(4))
    stage.turn(30)
    assert stage.sent == [1, 2, 3, 4, 5]
    stage.receive((2, 5))
    assert stage.left == [1]
    for number in range(20):  # and so it goes on, without any receipt for what comes now
        stage.report(number)
        stage.turn(3, step_s=10.0)
    stage.turn(20)
    assert set(range(1, 26)) - set(stage.sent) == set()


def test_a_receipt_removes_what_it_names_and_nothing_else() -> None:
    stage = Stage()
    stage.report(1, 2, 3)
    stage.turn(5)
    stage.receive((1, 2), (4, 4))
    assert stage.left == [3]
    assert stage.delivery.status().send.receipts == 1
    assert stage.delivery.status().send.unknown == 0


def test_a_receipt_for_events_never_sent_deletes_nothing_and_is_counted() -> None:
    stage = Stage()
    stage.report(*range(20))
    stage.turn(5)
    assert stage.sent == [1, 2, 3, 4, 5, 6]  # the rest of the window is for new events
    stage.receive((1, 21))
    assert stage.left[:1] == [7]
    assert stage.delivery.status().send.unknown == 1
    assert 21 not in stage.sent
    forged = [(1, 10**18), (21, 21), (500, 501)]
    stage.receive(*forged, run="7-0badcafe")
    stage.receive(refused=[Refusal(seq=21, reason="no")])
    assert 21 in stage.left
    assert stage.delivery.status().send.unknown == 5
    assert stage.delivery.status().send.dead_letters == 0


def test_a_receipt_may_name_an_earlier_run_that_is_still_in_the_file() -> None:
    earlier = MemoryOutbox("garden", "home", 10_000_000, is_durable=True)
    earlier.append_all([first(None), draft(1)])
    stage = Stage(outbox=earlier)
    # The fake has one run; what matters is that the receipt names the run of the event's id.
    stage.turn(4)
    stage.receive((1, 2), run=str(earlier.run))
    assert 1 not in stage.left
    assert 2 not in stage.left


def test_a_later_receipt_heals_a_lost_one() -> None:
    stage = Stage()
    stage.report(1, 2, 3)
    stage.turn(5)
    stage.receive((3, 3))
    stage.receive((1, 4))
    assert stage.left == []
    assert stage.delivery.status().send.unknown == 0


def test_a_refused_event_leaves_the_box_counted_and_named() -> None:
    stage = Stage()
    stage.report(1)
    stage.turn(4)
    stage.receive((1, 1), refused=[Refusal(seq=2, reason="not a CloudEvent" * 100)])
    assert stage.left == []
    send = stage.delivery.status().send
    assert send.dead_letters == 1
    [(name, reason)] = send.last_dead_letters
    assert name == f"{stage.outbox.run}:2"
    assert reason.startswith("not a CloudEvent")
    assert len(reason) == 200


@pytest.mark.parametrize(
    "junk", [b"", b"{}", b"\xff", b"[" * 60_000, b'{"run":"1-x"}', b"x" * 70000]
)
def test_what_is_no_receipt_is_counted_and_changes_nothing(junk: bytes) -> None:
    stage = Stage()
    stage.turn(4)
    stage.uplink.give(TOPICS.receipts, junk)
    stage.turn(2)
    assert stage.delivery.status().send.unreadable == 1
    assert stage.left == [1]


def test_without_a_receipt_an_event_is_sent_again_later_and_later() -> None:
    stage = Stage()
    stage.turn(4)
    times = []
    for second in range(2000):
        before = len(stage.sent)
        stage.turn(1, step_s=1.0)
        if len(stage.sent) > before:
            times.append(second)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == pytest.approx(20, abs=3)
    assert waits[:4] == [pytest.approx(wait, abs=3) for wait in (40, 80, 160, 320)]
    assert all(wait <= 603 for wait in waits)
    assert stage.delivery.status().send.repeated == len(times)


def test_a_window_full_of_what_nobody_confirms_does_not_stop_new_events_for_ever() -> None:
    stage = Stage()
    stage.turn(4)
    stage.report(*range(WINDOW - 1))
    stage.turn(4)
    assert len(set(stage.sent)) == WINDOW
    for number in range(20):
        stage.report(number)
        stage.turn(25, step_s=1.0)
        assert len(stage.left) == WINDOW + number + 1
        assert stage.outbox.last_seq in stage.sent
    assert sorted(set(stage.sent)) == list(range(1, WINDOW + 21))


def test_no_more_than_the_window_is_sent_at_once_however_long_nobody_confirms() -> None:
    stage = Stage()
    stage.report(*range(500))
    stage.turn(100, step_s=1.0)
    # Everything new is in its turn old; the backlog's places stay taken.
    assert len(set(stage.sent)) < 60


def test_all_that_had_to_give_up_its_place_is_sent_again_and_confirmed() -> None:
    stage = Stage()
    for number in range(40):
        stage.report(number)
        stage.turn(10, step_s=1.0)
    seen: set[int] = set()
    for _ in range(200):
        fresh = set(stage.sent[len(stage.sent) - WINDOW * 3 :]) - seen
        seen |= fresh
        stage.receive(*ranges_of(sorted(set(stage.sent))))
        stage.turn(2, step_s=5.0)
    assert stage.left == []
    assert set(stage.sent) == set(range(1, 42))


def test_after_a_reconnect_what_the_broker_has_taken_waits_for_its_receipt() -> None:
    stage = Stage()
    stage.report(1, 2)
    stage.turn(4)
    stage.uplink.drop()
    stage.turn(2)
    stage.uplink.let_in()
    stage.turn(4)
    assert stage.sent == [1, 2, 3]
    stage.receive((1, 3))
    assert stage.left == []


def test_what_the_broker_had_not_taken_is_sent_again_after_a_reconnect() -> None:
    stage = Stage()
    stage.uplink = FakeUplink()
    stage.report(1, 2)
    stage.turn(4)
    stage.uplink.acknowledge(1)
    stage.turn(1)
    stage.uplink.drop()
    stage.turn(2)
    stage.uplink.let_in()
    stage.turn(6)
    assert stage.sent == [1, 2, 3, 2, 3]


def test_a_broker_that_forgot_what_it_had_taken_gets_it_again() -> None:
    stage = Stage()
    stage.turn(4)
    stage.uplink.drop()
    stage.turn(1)
    stage.uplink.let_in()
    stage.turn(30, step_s=1.0)
    assert stage.sent == [1, 1]


def test_a_receipt_that_was_lost_with_its_connection_is_missed_soon_and_only_once() -> None:
    stage = Stage()
    stage.report(*range(WINDOW))
    stage.turn(4)
    for _ in range(3):
        stage.uplink.drop()
        stage.turn(1)
        stage.uplink.let_in()
        stage.turn(2)
        stage.turn(8, step_s=1.0)
        # A line that comes and goes does not send all of it again each time.
        assert stage.sent.count(1) == 2


def test_a_backlog_goes_on_soon_after_a_connection_that_lost_its_receipts() -> None:
    """Its places are full of events whose receipts were lost."""
    stage = Stage()
    stage.report(*range(40))
    stage.turn(4)
    lost = len(stage.sent)
    stage.uplink.drop()
    stage.turn(1)
    stage.uplink.let_in()
    stage.turn(4)
    stage.turn(7, step_s=1.0)
    for _ in range(25):
        stage.receive(*ranges_of(sorted(set(stage.sent[lost:]))))
    assert stage.left == []


def test_ten_minutes_without_a_receipt_say_what_to_do() -> None:
    stage = Stage()
    stage.turn(4)
    stage.turn(500, step_s=1.0)
    assert stage.delivery.status().send.receipts_problem is None
    stage.turn(110, step_s=1.0)
    problem = stage.delivery.status().send.receipts_problem
    assert problem is not None
    assert "lookout-cloud bridge" in problem
    assert 'delivery = "broker"' in problem
    stage.receive((1, 1))
    assert stage.delivery.status().send.receipts_problem is None


def test_an_idle_box_misses_no_receipts() -> None:
    stage = Stage()
    stage.turn(4)
    stage.receive((1, 1))
    stage.turn(1000, step_s=1.0)
    assert stage.delivery.status().send.receipts_problem is None


def test_a_forged_receipt_does_not_silence_the_alarm() -> None:
    stage = Stage()
    stage.turn(4)
    for _ in range(610):
        stage.receive((1, 5), run="9-00000000")
        stage.turn(1, step_s=0.8)
    assert stage.delivery.status().send.receipts_problem is not None


def test_events_in_memory_want_receipts_too_and_do_not_stop_new_ones() -> None:
    stage = Stage(is_disk_broken=True)
    stage.turn(15)
    stage.report(*range(WINDOW - 1))
    stage.turn(4)
    for number in range(6):
        stage.report(number)
        stage.turn(25, step_s=1.0)
        assert stage.outbox.last_seq in stage.sent
    for _ in range(100):
        stage.receive((1, max(stage.sent)))
        stage.turn(2, step_s=5.0)
    assert stage.left == []


def test_other_messages_are_handed_on() -> None:
    stage = Stage()
    stage.turn(4)
    stage.uplink.give(TOPICS.config, b"{}")
    stage.uplink.give(TOPICS.commands("door"), b"{}")
    stage.turn(2)
    assert stage.messages == ["home/devices/garden/config", "home/devices/garden/commands/door"]


def test_with_broker_a_receipt_is_no_business_of_ours() -> None:
    stage = Stage()
    uplink = FakeUplink()
    delivery = Delivery(
        outbox_factory=lambda: stage.outbox,
        uplink_factory=lambda _: uplink,
        settings=DeliverySettings(),
        topics=TOPICS,
        group_ms=0,
        clock=stage.clock,
        on_committed=lambda _: None,
        first=first,
        jitter=lambda: 0.0,
        turn_s=0.0,
    )

    def turn(times: int) -> None:
        for _ in range(times):
            delivery.outbox_turn()
            uplink.wake()
            delivery.uplink_turn()
            stage.clock.advance(0.2)

    turn(4)
    uplink.give(TOPICS.receipts, encode_receipt(Receipt(run=str(stage.outbox.run), ok=[(1, 1)])))
    turn(3)
    assert stage.left == [1]
    uplink.acknowledge()
    turn(3)
    assert stage.left == []


def test_ids_of_rows_read_back_name_the_run_that_a_receipt_names() -> None:
    outbox: Outbox = MemoryOutbox("garden", "home", 1_000_000, digits=lambda: "00000001")
    outbox.append_all([draft(1)])
    [stored] = outbox.oldest(1)
    assert EventId.parse(stored.id).run == RunId(1, "00000001")
    assert decode(stored.payload).id.run == RunId(1, "00000001")


def test_a_listener_that_raises_costs_no_receipt_and_no_other_message() -> None:
    stage = Stage()
    stage.turn(4)
    heard: list[str] = []

    def fail(message: Incoming) -> None:
        heard.append(message.topic)
        raise ValueError("a listener failed")

    stage.delivery._on_message = fail
    stage.uplink.give(TOPICS.config, b"{}")
    stage.uplink.give(TOPICS.commands("x"), b"{}")
    stage.receive((1, 1))
    assert heard == [TOPICS.config, TOPICS.commands("x")]
    assert stage.left == []


def test_repeats_wait_for_the_places_that_the_broker_has() -> None:
    stage = Stage()
    stage.uplink = FakeUplink()
    stage.report(1, 2, 3)
    stage.turn(4)
    stage.uplink.acknowledge()
    stage.turn(2)
    assert stage.sent == [1, 2, 3, 4]
    stage.uplink._receive_maximum = 1  # the rest is taken by other packets
    stage.clock.advance(30.0)
    for sent in range(5, 9):
        stage.turn(3)
        assert len(stage.sent) == sent, "one at a time"
        stage.uplink.acknowledge()
    assert stage.sent[4:] == [1, 2, 3, 4]
