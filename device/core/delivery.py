"""What is sent next: a bounded window over the outbox, and how long to wait after a failure."""

from dataclasses import dataclass, field, replace

SPARE_FIRST_ROW = 1 << 62
"""Where the rows of a spare outbox in memory begin: over every row that a file will ever give,
so that one number tells where an event lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """window: events under way at most. live_share: the part of it kept for new events, so that
    a month's backlog does not delay today's alarm; 0 to 1, at least one place each."""

    window: int = 64
    live_share: float = 0.25

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
