"""Receipts name what was confirmed, no more, and heal those that were lost."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.clocks import HandClock
from cloud_bridge.forward.receipts import HEALING_RANGES, RANGES_AT_MOST, ReceiptBook, join
from device.wire.receipts import MAX_RECEIPT_BYTES, Receipt, decode_receipt
from tests.kit.bridge import RUN


def take(book: ReceiptBook) -> list[Receipt]:
    return [decode_receipt(payload) for _, payload in book.take()]


def test_receipts_are_gathered_for_a_while() -> None:
    clock = HandClock()
    book = ReceiptBook(clock, 0.1)
    assert book.due_in_s() is None
    book.confirm("home", "garden", RUN, [1, 2])
    clock.advance(0.04)
    book.confirm("home", "garden", RUN, [3])
    assert book.due_in_s() == 0.06
    clock.advance(0.06)
    assert book.due_in_s() == 0.0
    assert [(each.ok, each.refused) for each in take(book)] == [([(1, 3)], [])]
    assert book.due_in_s() is None
    assert take(book) == []


def test_a_later_receipt_heals_a_lost_one() -> None:
    book = ReceiptBook(HandClock(), 0.0)
    book.confirm("home", "garden", RUN, [1, 2])
    take(book)
    book.confirm("home", "garden", RUN, [5])
    assert [each.ok for each in take(book)] == [[(1, 2), (5, 5)]]


def test_only_so_many_earlier_ranges_are_repeated() -> None:
    book = ReceiptBook(HandClock(), 0.0)
    for seq in range(1, 101, 2):
        book.confirm("home", "garden", RUN, [seq])
        told = take(book)
    assert len(told[0].ok) == HEALING_RANGES + 1


def test_many_ranges_and_refusals_are_parted_into_messages_that_devices_take() -> None:
    book = ReceiptBook(HandClock(), 0.0)
    seqs = [10**17 + 2 * number for number in range(3 * RANGES_AT_MOST)]
    book.confirm("home", "garden", RUN, seqs)
    for number in range(200):
        book.refuse("home", "garden", RUN, 10**17 + 2 * number + 1, "ä" * 10_000)
    payloads = [payload for _, payload in book.take()]
    assert max(map(len, payloads)) <= MAX_RECEIPT_BYTES
    told = [decode_receipt(payload) for payload in payloads]
    assert sum(len(each.ok) for each in told) == len(seqs)
    assert sum(len(each.refused) for each in told) == 200


seqs = st.lists(st.integers(1, 200), max_size=30)


@given(st.lists(seqs, max_size=10))
def test_receipts_name_exactly_what_was_confirmed(rounds: list[list[int]]) -> None:
    book = ReceiptBook(HandClock(), 0.0)
    confirmed: set[int] = set()
    for fresh in rounds:
        book.confirm("home", "garden", RUN, fresh)
        confirmed.update(fresh)
        told = {
            seq for each in take(book) for first, last in each.ok for seq in range(first, last + 1)
        }
        assert set(fresh) <= told <= confirmed


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)), max_size=20))
def test_joined_ranges_cover_the_same_numbers(pairs: list[tuple[int, int]]) -> None:
    ranges = [(first, first + length) for first, length in pairs]

    def covered(some: list[tuple[int, int]]) -> set[int]:
        return {seq for first, last in some for seq in range(first, last + 1)}

    joined = join(ranges)
    assert covered(joined) == covered(ranges)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(joined))
