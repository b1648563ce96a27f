"""What is sent next: a bounded window over the outbox, and how long to wait after a failure."""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

DeliveryMode: TypeAlias = Literal["receipts", "broker"]

RECEIPT_FIRST_S = 20.0
RECEIPT_MOST_S = 600.0
RECEIPT_AFTER_CONNECT_S = 4.0
"""A receipt that was on its way when a connection ended is lost: no broker keeps it. One that was
not, comes as soon after the next connect as any."""

SPARE_FIRST_ROW = 1 << 62
"""Where the rows of a spare outbox in memory begin: over every row that a file will ever give,
so that one number tells where an event lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """window: events under way at most. live_share: the part of it kept for new events, so that
    a month's backlog does not delay today's alarm; 0 to 1, at least one place each. mode: whether
    a receipt settles an event, or the broker's acknowledgement. receipt_first_s: how long the
    first receipt is waited for, about."""

    mode: DeliveryMode = "broker"
    window: int = 64
    live_share: float = 0.25
    receipt_first_s: float = RECEIPT_FIRST_S

    @property
    def live_places(self) -> int:
        return min(max(1, round(self.window * self.live_share)), self.window - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryState:
    """rows under way, each an outbox row number; `live_from` is the first row that counts as new:
    committed since the connection stands."""

    under_way: frozenset[int] = field(default_factory=frozenset)
    live_from: int = 0

    def sent(self, row: int) -> "DeliveryState":
        return replace(self, under_way=self.under_way | {row})

    def settled(self, row: int) -> "DeliveryState":
        return replace(self, under_way=self.under_way - {row})


@dataclass(frozen=True, slots=True)
class Yielded:
    """What rows that nobody confirms have given up.

    live_from: where new events begin now. dropped: rows that have left the window; they are
    read from the outbox, and sent, again when the backlog comes to them.
    """

    state: DeliveryState
    dropped: frozenset[int]


@dataclass(frozen=True, slots=True)
class Room:
    """How many events may be sent now: of the backlog, and of the new ones."""

    backlog: int
    live: int


def room(state: DeliveryState, settings: DeliverySettings) -> Room:
    """What may be sent. New events may use every free place, the backlog all but those kept."""
    live_under_way = sum(row >= state.live_from for row in state.under_way)
    backlog_under_way = len(state.under_way) - live_under_way
    free = max(settings.window - len(state.under_way), 0)
    backlog_places = settings.window - settings.live_places
    return Room(backlog=min(free, max(backlog_places - backlog_under_way, 0)), live=free)


def backoff_s(failures: int, jitter: float, least_s: float = 0.5, most_s: float = 60.0) -> float:
    """How long to wait after so many failures in a row; `jitter` is random, 0 to 1.

    Full jitter between `least_s` and a ceiling that doubles: a hundred boxes that lost one
    broker together do not come back together. Source: AWS Architecture Blog, "Exponential
    Backoff And Jitter".
    """
    ceiling_s = min(most_s, least_s * 2.0 ** min(failures, 16))
    return least_s + jitter * max(ceiling_s - least_s, 0.0)


RECONNECT_MOST_S = 60.0
RECONNECT_SOON_S = 2.0


def reconnect_within_s(away_s: float) -> float:
    """How long a box may wait at most before it tries the broker again, when it has been without
    a good connection for so long: a tenth of it, so that an outage costs a tenth more and a live
    event comes within seconds after a short one; within bounds."""
    return min(max(away_s / 10.0, RECONNECT_SOON_S), RECONNECT_MOST_S)


def yield_places(
    state: DeliveryState, settings: DeliverySettings, overdue: frozenset[int]
) -> Yielded:
    """Make room for new events in a window full of what nobody confirms.

    overdue: rows under way whose receipt should have come by now. The oldest new events that are
    overdue count as backlog from here on, and what the backlog then has too many leaves the
    window. It goes in order: what is dropped lies behind all that the backlog has sent, so that
    the backlog comes to it. Rows of a spare outbox have no backlog: they are only dropped.
    """
    missing = settings.live_places - max(settings.window - len(state.under_way), 0)
    if missing <= 0:
        return Yielded(state, frozenset())
    live_from = state.live_from
    live = sorted(row for row in state.under_way if row >= live_from)
    for row in live:
        if row not in overdue or row >= SPARE_FIRST_ROW:
            break
        live_from = row + 1
    backlog_places = settings.window - settings.live_places
    backlog = sorted(row for row in state.under_way if row < live_from)
    too_many = [row for row in backlog[backlog_places:] if row >= state.live_from]
    spare = [row for row in live if row >= SPARE_FIRST_ROW and row in overdue]
    dropped = frozenset([*too_many, *spare[: max(missing - len(too_many), 0)]])
    kept = DeliveryState(under_way=state.under_way - dropped, live_from=live_from)
    return Yielded(kept, dropped)


def receipt_wait_s(sends: int, jitter: float, first_s: float = RECEIPT_FIRST_S) -> float:
    """How long to wait for the receipt of an event that was sent so many times (from 1) before
    it is sent again; `jitter` is random, 0 to 1, and adds a quarter at most: events that were
    sent together do not all come again together."""
    wait_s = min(RECEIPT_MOST_S, first_s * 2.0 ** min(max(sends - 1, 0), 16))
    return wait_s * (1.0 + 0.25 * jitter)
