"""Nothing is acknowledged, and no receipt given, before Pub/Sub or the disk has it."""

import random
from collections.abc import Callable

import pytest

from cloud_bridge.errors import BlockedError, CloudError, TransientError
from cloud_bridge.forward.fake_dead_letters import FakeDeadLetters
from cloud_bridge.forward.fake_link import FakeLink
from cloud_bridge.forward.fake_publisher import FakePublisher
from cloud_bridge.forward.forwarding import Forwarding
from cloud_bridge.forward.keeping import Keeping
from cloud_bridge.forward.outcomes import KeepJob, Kept
from cloud_bridge.ports import Arrival
from tests.cloud_bridge.forward.stage import TOPIC, Stage
from tests.kit.bridge import EVENTS, RUN, event_payload


def test_an_event_reaches_pubsub_is_acknowledged_and_gets_a_receipt() -> None:
    stage = Stage()
    stage.link.arrive(TOPIC, event_payload(1))
    stage.run()
    assert stage.stored == [1]
    assert stage.link.acknowledged == 1
    [sent] = stage.link.sent
    assert (sent.topic, sent.qos, sent.retain) == ("home/devices/garden/receipts", 0, False)
    assert stage.receipts == [{"run": RUN, "ok": [[1, 1]], "refused": []}]


def test_nothing_is_acknowledged_or_receipted_while_pubsub_has_not_answered() -> None:
    stage = Stage()
    for seq in range(1, 11):
        stage.link.arrive(TOPIC, event_payload(seq))
    for _ in range(5):
        stage.take()
    assert (stage.link.acknowledged, stage.link.sent) == (0, [])
    stage.run()
    assert stage.link.acknowledged == 10


def test_acknowledgements_keep_the_order_when_a_later_batch_is_confirmed_first() -> None:
    stage = Stage(batch_messages=1)
    for seq in (1, 2, 3):
        stage.link.arrive(TOPIC, event_payload(seq))
        stage.take()
    first = stage.forwarding.to_publish.get()
    stage.publish()
    stage.take()
    stage.take()
    assert stage.link.acknowledged == 0
    assert stage.confirmed == {2, 3}  # receipts need no order
    stage.forwarding.to_publish.put(first)
    stage.run()
    assert stage.link.acknowledged == 3


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b"{", event_payload(2, device="door"), event_payload(2, specversion="2.0")],
)
def test_what_nobody_can_read_becomes_a_dead_letter_and_blocks_nothing(payload: bytes) -> None:
    stage = Stage()
    for each in (event_payload(1), payload, event_payload(3)):
        stage.link.arrive(TOPIC, each)
    stage.run()
    assert stage.stored == [1, 3]
    [kept] = stage.letters.letters()
    assert kept.letter.payload == payload
    assert kept.letter.reason
    assert stage.link.acknowledged == 3


def test_a_refusal_comes_after_the_dead_letter_is_on_disk_with_its_reason() -> None:
    stage = Stage()
    stage.link.arrive(TOPIC, event_payload(7, specversion="2.0"))
    stage.take()
    stage.take()
    assert (stage.link.acknowledged, stage.link.sent) == (0, [])
    stage.run()
    assert stage.refusals == {7: "specversion '2.0': want 1.0"}


def test_a_full_store_of_dead_letters_stops_the_acknowledging_and_says_so() -> None:
    stage = Stage(letters=FakeDeadLetters(100, Stage().clock))
    stage.link.arrive(TOPIC, event_payload(1))
    stage.link.arrive(TOPIC, b"{")
    for _ in range(5):
        stage.take()
        stage.publish()
        if not stage.forwarding.to_keep.empty() or stage.keeping.waiting:
            stage.keeping.turn()
    assert stage.link.acknowledged == 0
    assert stage.confirmed == {1}
    assert "nothing is acknowledged" in stage.health.troubles["dead letters"]
    letters = stage.letters
    assert isinstance(letters, FakeDeadLetters)
    letters.max_bytes = 10**6
    stage.keeping.turn()
    stage.run()
    assert stage.link.acknowledged == 2
    assert not stage.health.troubles


def test_dead_letters_of_one_batch_need_not_have_room_together() -> None:
    letters = FakeDeadLetters(1_000, Stage().clock)  # for two
    stage = Stage(letters=letters)
    payloads = [b"{%d" % number for number in range(7)]
    for payload in payloads:
        stage.link.arrive(TOPIC, payload)
    stage.take()
    kept: list[bytes] = []
    for _ in range(6):  # a person looks at them, and makes room again and again
        stage.keeping.turn()
        kept += [each.letter.payload for each in letters.letters()]
        letters.remove([each.number for each in letters.letters()])
    assert kept == payloads
    stage.run()
    assert stage.link.acknowledged == 7
    assert not stage.health.troubles


def test_one_message_that_pubsub_refuses_is_found_and_the_others_arrive() -> None:
    stage = Stage()
    for seq in range(1, 101):
        stage.link.arrive(TOPIC, event_payload(seq))
    stage.publisher.poison = lambda message: b'"seq":37,' in message.body
    stage.run()
    assert sorted(stage.stored) == [seq for seq in range(1, 101) if seq != 37]
    assert len(stage.stored) == 99
    assert stage.confirmed == set(stage.stored)
    assert "poison" in stage.refusals[37]
    [kept] = stage.letters.letters()
    assert kept.letter.payload == event_payload(37)
    assert stage.publisher.calls <= 2 * 7 + 1  # halves, not one by one


def test_unreadable_and_refused_messages_of_one_batch_are_all_kept() -> None:
    stage = Stage()
    for payload in (event_payload(1), b"{", event_payload(2), b"["):
        stage.link.arrive(TOPIC, payload)
    stage.publisher.poison = lambda message: b'"seq":2,' in message.body
    stage.take()
    stage.publish()  # its outcome is there before the keeper has begun
    stage.run()
    assert {each.letter.payload for each in stage.letters.letters()} == {
        b"{",
        b"[",
        event_payload(2),
    }
    assert stage.link.acknowledged == 4


@pytest.mark.parametrize("error", [TransientError("away"), BlockedError("no topic")])
def test_an_error_that_may_pass_is_tried_again_for_ever(error: CloudError) -> None:
    stage = Stage()
    stage.link.arrive(TOPIC, event_payload(1))
    stage.publisher.errors.extend([error] * 50)
    stage.run()
    assert stage.stored == [1]
    assert stage.confirmed == {1}
    assert len(stage.stop.waits) == 50
    assert max(stage.stop.waits) <= 60.0
    assert not stage.health.troubles


def test_what_blocks_is_said_and_nothing_is_acknowledged() -> None:
    stage = Stage(stop_after=10)
    stage.link.arrive(TOPIC, event_payload(1))
    stage.publisher.errors.extend([BlockedError("you may not publish")] * 50)
    stage.take()
    stage.publish()
    stage.take()
    assert stage.health.troubles == {"publishing events": "you may not publish"}
    assert (stage.link.acknowledged, stage.link.sent) == (0, [])


def test_an_answer_lost_after_success_is_a_repeat_and_no_loss() -> None:
    stage = Stage()
    stage.link.arrive(TOPIC, event_payload(1))
    stage.publisher.errors.append(TransientError("deadline exceeded"))
    stage.publisher.answers_lost = 1
    stage.run()
    assert stage.stored == [1, 1]
    assert stage.link.acknowledged == 1


def test_reading_stops_when_the_queue_is_full() -> None:
    stage = Stage(held_messages=50, batch_messages=10)
    for seq in range(1, 201):
        stage.link.arrive(TOPIC, event_payload(seq))
    for _ in range(50):
        stage.take()
    assert stage.forwarding.held == 50
    stage.run()
    assert len(set(stage.stored)) == 200
    assert stage.forwarding.held == 0


def test_a_full_queue_is_free_again_for_the_next_connection() -> None:
    stage = Stage(held_messages=50, batch_messages=10)
    for seq in range(1, 201):
        stage.link.arrive(TOPIC, b"{" if seq % 20 == 0 else event_payload(seq))
    for _ in range(3):
        while stage.forwarding.held < 50:
            stage.take()
        stage.link.drop()
        stage.take()
        stage.link.let_in()
        stage.take()
        assert stage.forwarding.held == 0
    stage.run()
    assert sorted(stage.stored) == [seq for seq in range(1, 201) if seq % 20]
    assert (stage.forwarding.held, stage.link.acknowledged) == (0, 200)


def test_what_pubsub_refused_of_a_lost_connection_is_not_kept_twice() -> None:
    stage = Stage()
    stage.link.arrive(TOPIC, event_payload(1))
    stage.publisher.poison = lambda message: True
    stage.take()
    stage.publish()
    stage.link.drop()
    stage.take()
    stage.link.let_in()
    stage.run()
    [kept] = stage.letters.letters()
    assert (kept.times, stage.forwarding.held) == (1, 0)
    assert stage.refusals.keys() == {1}


def test_what_came_on_a_lost_connection_is_not_acknowledged_on_the_next() -> None:
    stage = Stage()
    for seq in (1, 2):
        stage.link.arrive(TOPIC, event_payload(seq))
    stage.take()
    stage.link.drop()
    stage.take()
    stage.link.let_in()
    stage.publish()
    stage.run()  # the fake raises for an acknowledgement that nobody owes it
    assert set(stage.stored) == {1, 2}
    assert stage.link.acknowledged == 2
    assert stage.forwarding.held == 0


def test_what_was_confirmed_on_a_lost_connection_gets_its_receipt_on_the_next() -> None:
    stage = Stage()
    stage.link.arrive(TOPIC, event_payload(1))
    stage.take()
    stage.publish()
    stage.link.drop()
    stage.take()
    assert stage.link.sent == []
    stage.link.let_in()
    stage.take()
    stage.take()
    assert stage.confirmed == {1}


def test_states_are_acknowledged_at_once_and_the_newest_wins() -> None:
    stage = Stage()
    for second in range(5):
        payload = f'{{"run":"{RUN}","last_seq":{second}}}'.encode()
        stage.link.arrive("home/devices/garden/state", payload)
    stage.link.arrive("home/devices/garden/state", b"{")
    stage.link.arrive("home/devices/garden/availability", b"")
    stage.take()
    stage.take()
    assert stage.link.acknowledged == 7
    [message] = stage.states.take(10, 10**6, 0.0).values()
    assert b'"last_seq":4' in message.body
    assert stage.link.sent == []
    assert stage.health.counts["states_refused"] == 1


def test_a_state_without_room_is_counted_and_acknowledged() -> None:
    stage = Stage()
    payload = f'{{"run":"{RUN}","words":"{"x" * 250_000}"}}'.encode()
    for number in range(300):  # 75 MB
        stage.link.arrive(f"home/devices/box{number}/state", payload)
    stage.run()
    counts = stage.health.counts
    assert counts["states"] + counts["states_dropped"] == 300
    assert 0 < counts["states_dropped"] < 100
    assert stage.link.acknowledged == 300


def test_events_of_several_devices_and_runs_get_a_receipt_each() -> None:
    stage = Stage()
    for device in ("garden", "door"):
        for run in ("1-9f2c1a7b", "2-00000000"):
            payload = event_payload(5, device=device, run=run)
            stage.link.arrive(f"home/devices/{device}/events/detection", payload)
    stage.run()
    assert {(sent.topic, sent.payload) for sent in stage.link.sent} == {
        (
            f"home/devices/{device}/receipts",
            f'{{"run":"{run}","ok":[[5,5]],"refused":[]}}'.encode(),
        )
        for device in ("garden", "door")
        for run in ("1-9f2c1a7b", "2-00000000")
    }


class Stumbling(Forwarding):
    """Its code has a mistake that one message brings out."""

    def _read(self, arrival: Arrival, parcel: object) -> None:
        if b'"seq":2,' in arrival.payload:
            raise KeyError("a mistake")
        super()._read(arrival, parcel)  # type: ignore[arg-type]


def test_a_message_that_brings_out_a_mistake_is_kept_and_stops_nobody() -> None:
    stage = Stage(forwarding=Stumbling)
    for seq in (1, 2, 3):
        stage.link.arrive(TOPIC, event_payload(seq))
    stage.run()
    assert stage.stored == [1, 3]
    [kept] = stage.letters.letters()
    assert "KeyError" in kept.letter.reason
    assert stage.refusals.keys() == {2}


# --- the same checks on bridges that are broken on purpose ----------------------------------------


class AcknowledgingOnArrival(Forwarding):
    """Takes the broker's copy away before Pub/Sub has one."""

    def _take(self, arrival: Arrival) -> None:
        super()._take(arrival)
        self._parcel.mids.pop()
        self._link.acknowledge([arrival.mid])


class ReceiptBeforeConfirmation(Forwarding):
    """Tells the device to forget what nobody has confirmed."""

    def _hand_over(self) -> None:
        self._confirm(self._parcel.readings)
        super()._hand_over()


class DroppingLetters(Keeping):
    """Says that it kept what it threw away."""

    def turn(self) -> None:
        job: KeepJob = self._jobs.get()
        self._tell(Kept(job.parcel, job.letters))


def prove_by_kills(forwarding: type[Forwarding], keeping: type[Keeping], seed: int) -> None:
    """300 events, every tenth unreadable, through bridges that die at any moment."""
    chance = random.Random(seed)
    link, publisher = FakeLink(window=60), FakePublisher({EVENTS: 1})
    letters = FakeDeadLetters(10**6, Stage().clock)
    for seq in range(1, 301):
        broken = {"specversion": "9"} if seq % 10 == 0 else {}
        link.arrive(TOPIC, event_payload(seq, **broken))  # type: ignore[arg-type]
    lives = 0
    while link.waiting and lives < 500:
        lives += 1
        stage = Stage(link, publisher, letters, forwarding, keeping, batch_messages=7)
        steps: list[Callable[[], None]] = [stage.take, stage.publish, stage.keep, stage.take]
        for _ in range(chance.randint(1, 12)):
            chance.choice(steps)()
            kept = {each.letter.seq for each in letters.letters(limit=10**6)}
            assert stage.confirmed <= set(stage.stored), f"receipt too early seed={seed}"
            assert set(stage.refusals) <= kept, f"refusal too early seed={seed}"
        link.drop()
        link.let_in()
    kept = {each.letter.seq for each in letters.letters(limit=10**6)}
    assert set(stage.stored) | kept == set(range(1, 301)), f"lost seed={seed}"


@pytest.mark.parametrize("seed", range(5))
def test_bridges_that_die_at_any_moment_lose_nothing(seed: int) -> None:
    prove_by_kills(Forwarding, Keeping, seed)


@pytest.mark.parametrize(
    ("forwarding", "keeping", "words"),
    [
        (AcknowledgingOnArrival, Keeping, "lost"),
        (ReceiptBeforeConfirmation, Keeping, "receipt too early"),
        (Forwarding, DroppingLetters, "refusal too early"),
    ],
)
def test_a_bridge_that_is_broken_on_purpose_is_found_out(
    forwarding: type[Forwarding], keeping: type[Keeping], words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        prove_by_kills(forwarding, keeping, seed=1)
