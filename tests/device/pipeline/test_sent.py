"""What was sent, against a plain set."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from device.pipeline.sent import PAGE_SEQS, PAGES_AT_MOST, SentEvents

RUN = "3-0badcafe"
seqs = st.integers(1, 3 * PAGE_SEQS)


def event_id(seq: int, run: str = RUN) -> str:
    return f"garden:{run}:{seq}"


@given(
    sent=st.frozensets(seqs, max_size=60),
    ranges=st.lists(st.tuples(seqs, st.integers(1, 10**18)), max_size=20),
)
def test_a_range_takes_what_was_sent_in_it_once(
    sent: frozenset[int], ranges: list[tuple[int, int]]
) -> None:
    events = SentEvents()
    for seq in sorted(sent):
        events.add(event_id(seq), seq + 500)
    left = set(sent)
    for first, length in ranges:
        last = first + length - 1
        taken = events.take(RUN, first, last)
        wanted = {seq for seq in left if first <= seq <= last}
        assert sorted(taken.rows) == sorted(seq + 500 for seq in wanted)
        assert taken.is_known == (last <= max(sent, default=0))
        left -= wanted


def test_a_range_of_one_run_takes_nothing_of_another() -> None:
    events = SentEvents()
    events.add(event_id(5), 105)
    events.add(event_id(1, "4-0badcafe"), 106)
    assert events.take(RUN, 1, 10**18).rows == [105]
    assert events.take("4-0badcafe", 1, 10).rows == [106]
    assert not events.take("5-0badcafe", 1, 1).is_known


def test_a_run_whose_rows_jump_is_still_told_apart() -> None:
    events = SentEvents()
    events.add(event_id(1), 101)
    events.add(event_id(2), 900)
    assert sorted(events.take(RUN, 1, 2).rows) == [101, 900]


class Counted(dict[int, int]):
    """Counts how often it is gone through."""

    walks = 0

    def __iter__(self) -> Iterator[int]:
        self.walks += 1
        return super().__iter__()


def test_ten_thousand_small_ranges_do_not_look_at_all_that_was_sent_for_each() -> None:
    events = SentEvents()
    for page in range(100):
        events.add(event_id(page * PAGE_SEQS + 1), page * PAGE_SEQS + 1)
    [run] = events._runs[RUN].values()
    run.pages = pages = Counted(run.pages)
    for number in range(10_000):
        events.take(RUN, number * 7 + 2, number * 7 + 5)
    assert pages.walks == 0
    assert len(events.take(RUN, 1, 10**18).rows) >= 80


def test_what_nobody_ever_confirms_is_forgotten_in_the_end() -> None:
    events = SentEvents()
    for page in range(PAGES_AT_MOST + 5):
        events.add(event_id(page * PAGE_SEQS + 1), page * PAGE_SEQS + 1)
    rows = events.take(RUN, 1, 10**18).rows
    assert len(rows) == PAGES_AT_MOST
    assert rows[0] == 5 * PAGE_SEQS + 1
