from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.local_pubsub.delivery import ENTRY_BYTES, SECOND_NS, Delivery, Entry, Holder
from cloud_bridge.local_pubsub.settings import Rules

PLAIN: dict[str, Any] = {
    "passes": lambda attributes: True,
    "ack_deadline_s": 10,
    "retention_s": 600.0,
    "dead_letter_topic": None,
    "max_attempts": None,
    "min_backoff_s": None,
    "max_backoff_s": None,
}


def rules(**changes: Any) -> Rules:  # noqa: ANN401 - fields of Rules
    return Rules(**{**PLAIN, **changes})


def stocked(*ids: int, **changes: Any) -> Delivery:  # noqa: ANN401 - fields of Rules
    """With messages of 10 bytes each, and nothing on disk alone."""
    delivery = Delivery(rules(**changes))
    delivery.refill([], are_all=True)
    delivery.offer([(identity, bytes(10)) for identity in ids])
    return delivery


def take(
    delivery: Delivery, now_s: float = 0.0, count: int = 100, holder: Holder | None = None
) -> list[Entry]:
    return delivery.take(round(now_s * SECOND_NS), count, 1 << 30, 10.0, holder or Holder())


def ids(entries: list[Entry]) -> list[int]:
    return [entry.id for entry in entries]


def turn(delivery: Delivery, now_s: float) -> list[int]:
    return ids(delivery.turn(round(now_s * SECOND_NS)))


def nack(delivery: Delivery, entry: Entry, now_s: float = 0.0) -> list[int]:
    failed = delivery.modify(entry.id, entry.lease, round(now_s * SECOND_NS), 0)
    return [] if failed is None else [failed.id]


def test_messages_go_out_in_the_order_of_their_ids() -> None:
    assert ids(take(stocked(1, 2, 3))) == [1, 2, 3]


def test_a_leased_message_is_not_handed_out_again() -> None:
    delivery = stocked(1, 2)
    assert ids(take(delivery, count=1)) == [1]
    assert ids(take(delivery)) == [2]
    assert not delivery.has_ready()


def test_a_lease_ends_at_its_deadline_and_not_before() -> None:
    delivery = stocked(1)
    take(delivery)
    turn(delivery, 9.99)
    assert take(delivery, 9.99) == []
    turn(delivery, 10.0)
    assert ids(take(delivery, 10.0)) == [1]


def test_an_extended_lease_ends_later_and_a_shortened_one_earlier() -> None:
    delivery = stocked(1, 2)
    long, short = take(delivery)
    delivery.modify(long.id, long.lease, 5 * SECOND_NS, 60)
    delivery.modify(short.id, short.lease, 5 * SECOND_NS, 1)
    turn(delivery, 6.0)
    assert ids(take(delivery, 6.0)) == [2]
    turn(delivery, 64.9)
    assert 1 not in ids(take(delivery, 64.9))
    turn(delivery, 65.0)
    assert 1 in ids(take(delivery, 65.0))


def test_a_nacked_message_goes_before_newer_ones() -> None:
    delivery = stocked(1, 2, 3)
    first, *_ = take(delivery, count=2)
    nack(delivery, first)
    assert ids(take(delivery)) == [1, 3]


def test_a_lease_that_has_ended_cannot_be_changed() -> None:
    delivery = stocked(1)
    [entry] = take(delivery)
    old = entry.lease
    turn(delivery, 10.0)
    [entry] = take(delivery, 10.0)
    assert delivery.modify(1, old, 10 * SECOND_NS, 0) is None
    assert take(delivery, 11.0) == []
    assert entry.attempts == 1


def test_an_acknowledgement_counts_even_when_the_lease_has_ended() -> None:
    delivery = stocked(1)
    take(delivery)
    turn(delivery, 10.0)
    delivery.forget(1)
    assert take(delivery, 10.0) == []


def test_what_a_holder_has_out_goes_down_by_ack_nack_and_deadline() -> None:
    delivery = stocked(1, 2, 3)
    holder = Holder()
    acked, nacked, _ = take(delivery, holder=holder)
    assert (holder.messages, holder.size_bytes) == (3, 30)
    delivery.forget(acked.id)
    assert (holder.messages, holder.size_bytes) == (2, 20)
    nack(delivery, nacked)
    assert (holder.messages, holder.size_bytes) == (1, 10)
    turn(delivery, 10.0)
    assert (holder.messages, holder.size_bytes) == (0, 0)


def test_one_message_is_handed_out_even_when_it_is_larger_than_the_room() -> None:
    delivery = stocked(1, 2)
    taken = delivery.take(0, 10, 5, 10.0, Holder())
    assert ids(taken) == [1]


def test_a_message_rests_longer_after_each_failure() -> None:
    delivery = stocked(1, min_backoff_s=1.0, max_backoff_s=3.0)
    now_s = 0.0
    for rest_s in (1.0, 2.0, 3.0, 3.0):
        [entry] = take(delivery, now_s)
        nack(delivery, entry, now_s)
        turn(delivery, now_s + rest_s - 0.01)
        assert take(delivery, now_s + rest_s - 0.01) == []
        now_s += rest_s
        turn(delivery, now_s)


def test_a_message_that_failed_too_often_is_given_up_once() -> None:
    delivery = stocked(1, max_attempts=5)
    for attempt in range(1, 6):
        [entry] = take(delivery, float(attempt * 10))
        assert entry.attempts == attempt - 1
        failed = turn(delivery, attempt * 10 + 10.0)
        assert failed == ([1] if attempt == 5 else [])
    assert take(delivery, 100.0) == []
    assert delivery.take_failures() == {1: 5}
    assert delivery.take_failures() == {}


def test_failures_are_not_noted_without_a_dead_letter_policy() -> None:
    delivery = stocked(1)
    nack(delivery, take(delivery)[0])
    assert delivery.take_failures() == {}


def test_what_does_not_fit_into_memory_stays_on_disk() -> None:
    delivery = Delivery(rules(), ready_bytes=3 * (10 + ENTRY_BYTES))
    delivery.refill([], are_all=True)
    delivery.offer([(identity, bytes(10)) for identity in range(1, 6)])
    delivery.offer([(6, bytes(10))])
    assert not delivery.is_caught_up
    assert delivery.last_id == 3
    assert not delivery.wants_more()
    assert ids(take(delivery)) == [1, 2, 3]
    assert delivery.wants_more()
    delivery.refill([(4, 2, bytes(10)), (5, 0, bytes(10))], are_all=False)
    delivery.offer([(7, bytes(10))])
    delivery.refill([(6, 0, bytes(10)), (7, 0, bytes(10))], are_all=True)
    assert ids(take(delivery)) == [4, 5, 6, 7]


def test_no_more_than_so_many_bytes_are_out_or_resting() -> None:
    delivery = Delivery(rules(), held_bytes=2 * (10 + ENTRY_BYTES))
    delivery.refill([(identity, 0, bytes(10)) for identity in range(1, 6)], are_all=True)
    first, second = take(delivery)
    assert not delivery.has_ready()
    nack(delivery, second)
    assert ids(take(delivery)) == [2]
    delivery.forget(first.id)
    assert ids(take(delivery)) == [3]


def test_long_leases_of_acknowledged_messages_take_no_memory() -> None:
    delivery = stocked()
    for identity in range(1, 20_001):
        delivery.offer([(identity, bytes(10))])
        [entry] = delivery.take(0, 1, 1 << 30, 600.0, Holder())
        delivery.forget(entry.id)
    assert len(delivery._deadlines) <= 1001


steps = st.lists(
    st.tuples(st.sampled_from(["offer", "take", "ack", "nack", "wait"]), st.integers(0, 30)),
    max_size=60,
)


@given(steps=steps)
def test_a_message_is_out_once_at_a_time_and_never_forgotten(steps: list[tuple[str, int]]) -> None:
    delivery = stocked()
    holder = Holder()
    now_s, newest = 0.0, 0
    waiting: set[int] = set()
    out: dict[int, tuple[Entry, float]] = {}
    for step, number in steps:
        if step == "offer":
            newest += 1
            delivery.offer([(newest, bytes(number))])
            waiting.add(newest)
        elif step == "take":
            taken = delivery.take(round(now_s * SECOND_NS), number, 1 << 30, 10.0, holder)
            assert set(ids(taken)) == set(sorted(waiting)[: len(taken)])
            assert len(taken) == min(number, len(waiting))
            for entry in taken:
                waiting.discard(entry.id)
                out[entry.id] = (entry, now_s + 10.0)
        elif step == "wait":
            now_s += number
            assert turn(delivery, now_s) == []
            for identity in [each for each, (_, end_s) in out.items() if end_s <= now_s]:
                del out[identity]
                waiting.add(identity)
        elif out:
            entry, _ = out.pop(sorted(out)[number % len(out)])
            if step == "ack":
                delivery.forget(entry.id)
            else:
                assert nack(delivery, entry, now_s) == []
                waiting.add(entry.id)
        assert delivery.leased() == holder.messages == len(out)
    assert set(ids(take(delivery, now_s, count=1000))) == waiting


@pytest.mark.parametrize("attempts", [1, 5, 100, 100_000])
def test_the_longest_rest_is_the_maximum(attempts: int) -> None:
    assert rules(min_backoff_s=10.0, max_backoff_s=600.0).backoff_s(attempts) <= 600.0
