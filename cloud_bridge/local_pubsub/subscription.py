"""A subscription while the service runs: its settings, its delivery, and who waits for messages."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from cloud_bridge.local_pubsub.delivery import Delivery, Entry
from cloud_bridge.local_pubsub.messages import Message, ReceivedMessage
from cloud_bridge.local_pubsub.refusals import invalid
from cloud_bridge.local_pubsub.store import Store

_ACK_ID = re.compile(r"([0-9a-f]{1,15})-([0-9a-f]{1,15})-([0-9a-f]{1,15})")
"""As `received` writes them: 60 bits, so that the disk can hold whatever somebody makes up."""

DEBT_AT_MOST = 1000
"""Of one commit: on a full disk it has to fit into the log as it is."""


@dataclass(slots=True, eq=False)
class Debt:
    """What memory knows of a subscription and the disk does not yet.

    removed: ids that were acknowledged. attempts: failed deliveries by id, where a dead-letter
    policy counts them.
    """

    subscription: int
    removed: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.removed or self.attempts)

    def pay(self, store: Store) -> None:
        if self.removed:
            store.remove(self.subscription, self.removed)
        if self.attempts:
            store.note_attempts(self.subscription, self.attempts.items())


@dataclass(slots=True, eq=False)
class Subscription:
    """number: its key on disk. settings: a Subscription message, complete."""

    number: int
    settings: Message
    delivery: Delivery
    is_deleted: bool = False
    is_refilling: bool = False
    wakers: set[asyncio.Event] = field(default_factory=set)
    """Of those who wait for messages, room, or the end of the subscription."""
    removed: set[int] = field(default_factory=set)
    """Acknowledged, and not yet removed on disk."""

    def wake(self) -> None:
        for waker in self.wakers:
            waker.set()

    def take_debt(self) -> Debt:
        """Some of what is owed, to be paid or owed again."""
        removed = set(islice(self.removed, DEBT_AT_MOST))
        self.removed -= removed
        return Debt(self.number, removed, self.delivery.take_failures())

    def owe(self, debt: Debt) -> None:
        self.removed |= debt.removed
        self.delivery.return_failures(debt.attempts)

    def received(self, entries: Iterable[Entry]) -> list[Message]:
        """What a subscriber is sent, a ReceivedMessage each."""
        has_policy = self.delivery.rules.max_attempts is not None
        found: list[Message] = []
        for entry in entries:
            received = ReceivedMessage(
                ack_id=f"{self.number:x}-{entry.id:x}-{entry.lease:x}",
                delivery_attempt=entry.attempts + 1 if has_policy else 0,
            )
            received.message.MergeFromString(entry.body)
            found.append(received)
        return found

    def parse_ack_ids(self, ack_ids: Sequence[str]) -> list[tuple[int, int]]:
        """(message, lease) of each.

        Raises:
            RefusedError: one of them was not made here, or for another subscription.
        """
        try:
            return [self._parse_ack_id(ack_id) for ack_id in ack_ids]
        except ValueError as exc:
            raise invalid(f"Invalid ack id: {exc}; want one that this subscription gave.") from exc

    def _parse_ack_id(self, ack_id: str) -> tuple[int, int]:
        found = _ACK_ID.fullmatch(ack_id)
        if found is None:
            raise ValueError(f"{ack_id[:80]!r}")
        number, message, lease = (int(digits, 16) for digits in found.groups())
        if number != self.number:
            raise ValueError(f"{ack_id[:80]} belongs to another subscription")
        return message, lease
