"""The window, the live share and the backoff."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.delivery import (
    RECEIPT_FIRST_S,
    RECEIPT_MOST_S,
    SPARE_FIRST_ROW,
    DeliverySettings,
    DeliveryState,
    Room,
    backoff_s,
    receipt_wait_s,
    reconnect_within_s,
    room,
    yield_places,
)

SETTINGS = DeliverySettings(window=8, live_share=0.25)
windows = st.integers(min_value=1, max_value=1000)
shares = st.floats(min_value=0.0, max_value=1.0)


def test_an_empty_window_has_room_for_the_backlog_but_for_the_live_places() -> None:
    assert room(DeliveryState(), SETTINGS) == Room(backlog=6, live=8)


def test_a_full_backlog_leaves_the_live_places_to_new_events() -> None:
    state = DeliveryState(under_way=frozenset(range(1, 7)), live_from=100)
    assert room(state, SETTINGS) == Room(backlog=0, live=2)


def test_new_events_may_fill_the_whole_window() -> None:
    state = DeliveryState(under_way=frozenset(range(100, 107)), live_from=100)
    assert room(state, SETTINGS) == Room(backlog=1, live=1)


def test_a_window_of_one_serves_the_backlog_too() -> None:
    assert room(DeliveryState(), DeliverySettings(window=1)) == Room(backlog=1, live=1)


def test_a_settled_row_makes_room() -> None:
    state = DeliveryState().sent(1).sent(2)
    assert state.settled(1).under_way == frozenset({2})


@given(
    window=windows,
    share=shares,
    rows=st.frozensets(st.integers(1, 3000), max_size=1000),
    live=st.integers(0, 3000),
)
def test_what_is_under_way_never_exceeds_the_window(
    window: int, share: float, rows: frozenset[int], live: int
) -> None:
    found = room(
        DeliveryState(under_way=rows, live_from=live),
        DeliverySettings(window=window, live_share=share),
    )
    assert 0 <= found.backlog <= found.live
    assert len(rows) + found.live <= max(window, len(rows))


@given(window=st.integers(2, 1000), share=shares, backlog=st.integers(0, 5000))
def test_a_backlog_alone_always_leaves_a_place_for_a_new_event(
    window: int, share: float, backlog: int
) -> None:
    settings = DeliverySettings(window=window, live_share=share)
    state = DeliveryState(live_from=10_000)
    sent = min(room(state, settings).backlog, backlog)
    state = DeliveryState(under_way=frozenset(range(sent)), live_from=10_000)
    assert room(state, settings).live >= 1


@given(failures=st.integers(0, 10_000), jitter=st.floats(0.0, 1.0))
def test_a_backoff_stays_between_its_bounds(failures: int, jitter: float) -> None:
    assert 0.5 <= backoff_s(failures, jitter) <= 60.0


@given(failures=st.integers(0, 100), jitter=st.floats(0.0, 1.0))
def test_more_failures_never_wait_less(failures: int, jitter: float) -> None:
    assert backoff_s(failures + 1, jitter) >= backoff_s(failures, jitter)


@pytest.mark.parametrize(
    ("away_s", "within_s"), [(0.0, 2.0), (20.0, 2.0), (60.0, 6.0), (600.0, 60.0), (1e9, 60.0)]
)
def test_an_outage_is_made_longer_by_a_tenth_of_it_or_by_seconds(
    away_s: float, within_s: float
) -> None:
    assert reconnect_within_s(away_s) == pytest.approx(within_s)


def test_a_window_with_room_for_new_events_gives_up_nothing() -> None:
    state = DeliveryState(under_way=frozenset(range(1, 7)), live_from=1)
    assert yield_places(state, SETTINGS, state.under_way).state == state


def test_what_is_not_overdue_keeps_its_place() -> None:
    state = DeliveryState(under_way=frozenset(range(1, 9)), live_from=1)
    found = yield_places(state, SETTINGS, frozenset({2, 3}))
    assert (found.state, found.dropped) == (state, frozenset())


def test_overdue_new_events_become_backlog_and_its_excess_leaves_the_window() -> None:
    state = DeliveryState(under_way=frozenset(range(1, 9)), live_from=1)
    found = yield_places(state, SETTINGS, state.under_way)
    assert found.dropped == frozenset({7, 8})
    assert found.state == DeliveryState(under_way=frozenset(range(1, 7)), live_from=9)
    assert room(found.state, SETTINGS) == Room(backlog=0, live=2)


def test_events_of_a_spare_are_only_dropped() -> None:
    rows = frozenset(range(SPARE_FIRST_ROW, SPARE_FIRST_ROW + 8))
    state = DeliveryState(under_way=rows, live_from=1)
    found = yield_places(state, SETTINGS, rows)
    assert found.dropped == frozenset({SPARE_FIRST_ROW, SPARE_FIRST_ROW + 1})
    assert found.state.live_from == 1


@given(
    window=st.integers(2, 100),
    share=shares,
    rows=st.frozensets(st.integers(1, 300), max_size=100),
    live=st.integers(0, 300),
    overdue=st.frozensets(st.integers(1, 300)),
)
def test_what_gives_up_its_place_was_new_and_overdue_and_lies_behind_the_backlog(
    window: int, share: float, rows: frozenset[int], live: int, overdue: frozenset[int]
) -> None:
    settings = DeliverySettings(window=window, live_share=share)
    state = DeliveryState(under_way=rows, live_from=live)
    found = yield_places(state, settings, overdue)
    assert found.state.under_way | found.dropped == rows
    assert found.dropped <= overdue
    assert all(live <= row < found.state.live_from for row in found.dropped)
    assert found.state.live_from >= live
    kept = [row for row in found.state.under_way if live <= row < found.state.live_from]
    assert max(kept, default=0) < min(found.dropped, default=1000)


@given(window=st.integers(2, 1000), share=shares, count=st.integers(0, 1000))
def test_when_all_is_overdue_the_live_places_are_free(
    window: int, share: float, count: int
) -> None:
    settings = DeliverySettings(window=window, live_share=share)
    rows = frozenset(range(10, 10 + min(count, window)))
    found = yield_places(DeliveryState(under_way=rows, live_from=10), settings, rows)
    assert room(found.state, settings).live >= settings.live_places


@given(sends=st.integers(1, 10_000), jitter=st.floats(0.0, 1.0))
def test_a_receipt_is_waited_for_within_bounds(sends: int, jitter: float) -> None:
    wait_s = receipt_wait_s(sends, jitter)
    assert RECEIPT_FIRST_S <= wait_s <= RECEIPT_MOST_S * 1.25
    assert receipt_wait_s(sends + 1, jitter) >= wait_s
