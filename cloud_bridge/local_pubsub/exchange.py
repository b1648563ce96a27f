"""Topics to subscriptions: what Publish, Pull and Acknowledge do, between memory and disk.

Everything here runs in one event loop and never blocks it; the committer's thread writes.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from cloud_bridge.local_pubsub.clocks import Clocks
from cloud_bridge.local_pubsub.committing import Committer
from cloud_bridge.local_pubsub.dead_letters import dead_letter
from cloud_bridge.local_pubsub.delivery import SECOND_NS, Entry
from cloud_bridge.local_pubsub.directory import Directory
from cloud_bridge.local_pubsub.messages import Message, Timestamp
from cloud_bridge.local_pubsub.refusals import RefusedError
from cloud_bridge.local_pubsub.store import Batch, Store, Stored
from cloud_bridge.local_pubsub.subscription import Subscription

log = logging.getLogger(__name__)

READ_AT_ONCE = 1000
READ_BYTES = 2_000_000
REST_S = 10.0
"""How long a message rests that could not be moved to its dead-letter topic."""


@dataclass(slots=True)
class Counts:
    """Since the start. unsubscribed: published to a topic without a subscription that wants it."""

    published: int = 0
    unsubscribed: int = 0
    acknowledged: int = 0
    dead_lettered: int = 0
    expired: int = 0


class Exchange:
    """Made in the event loop that it then belongs to."""

    def __init__(
        self, committer: Committer, directory: Directory, clocks: Clocks, last_id: int
    ) -> None:
        """last_id: messages are numbered from here on; no two runs may share a number."""
        self.counts = Counts()
        self._committer = committer
        self._directory = directory
        self._clocks = clocks
        self._last_id = last_id
        self._tasks: set[asyncio.Task[None]] = set()
        self._unreadable: set[int] = set()
        """Subscriptions whose backlog could not be read, as the log knows them."""
        self._deaf_topics: set[str] = set()
        """Topics that somebody publishes to and nobody subscribes, as the log knows them."""

    def now_ns(self) -> int:
        return self._clocks.monotonic_ns()

    # --- publishing -----------------------------------------------------------------------------

    async def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """The ids of `messages`, whose id and time are filled in; durable by now.

        Raises:
            RefusedError: no such topic, no room, or the disk refused; then none of them was stored.
        """
        self._directory.topic(topic)
        batch, fresh = self._batch(topic, messages)
        if batch.bodies:
            await self._committer.ask(
                lambda store: store.append(batch), lambda _: _offer(fresh), batch.size_bytes()
            )
        self.counts.published += len(messages)
        return [message.message_id for message in messages]

    def _batch(
        self, topic: str, messages: Sequence[Message], may_exceed: bool = False
    ) -> tuple[Batch, "_Fresh"]:
        """Number the messages and find out where each of them goes."""
        subscriptions = self._directory.subscribers(topic)
        if not subscriptions:
            self._say_deaf(topic)
        seconds, nanos = divmod(self._clocks.wall_ns(), SECOND_NS)
        published = Timestamp(seconds=seconds, nanos=nanos)
        bodies: list[tuple[int, bytes]] = []
        fresh: _Fresh = [(subscription, []) for subscription in subscriptions]
        for message in messages:
            self._last_id += 1
            message.message_id = str(self._last_id)
            message.publish_time.CopyFrom(published)
            wanted = [
                waiting
                for subscription, waiting in fresh
                if subscription.delivery.rules.passes(message.attributes)
            ]
            if not wanted:
                self.counts.unsubscribed += 1
                continue
            body = (self._last_id, message.SerializeToString())
            bodies.append(body)
            for waiting in wanted:
                waiting.append(body)
        backlogs = [
            (subscription.number, [identity for identity, _ in waiting])
            for subscription, waiting in fresh
            if waiting
        ]
        return Batch(self._clocks.served_s(), bodies, backlogs, may_exceed), fresh

    def _say_deaf(self, topic: str) -> None:
        if topic not in self._deaf_topics:
            self._deaf_topics.add(topic)
            log.warning("messages dropped, nobody subscribes topic=%s", topic)

    # --- handing out ----------------------------------------------------------------------------

    def stock(self, subscription: Subscription) -> None:
        """Read ahead from the disk where memory runs low; whoever waits is woken."""
        if subscription.is_refilling or not subscription.delivery.wants_more():
            return
        subscription.is_refilling = True
        self._start(self._refill(subscription))

    async def _refill(self, subscription: Subscription) -> None:
        last_id = subscription.delivery.last_id

        def read(store: Store) -> tuple[list[Stored], bool]:
            return store.after(subscription.number, last_id, READ_AT_ONCE, READ_BYTES)

        def accept(result: tuple[list[Stored], bool]) -> None:
            found, are_all = result
            # Acknowledged a moment ago, before it was ever in memory; soon off the disk too.
            wanted = [
                (each.id, each.attempts, each.body)
                for each in found
                if each.id not in subscription.removed
            ]
            subscription.delivery.refill(wanted, are_all, found[-1].id if found else 0)

        try:
            await self._committer.ask(read, accept)
        except RefusedError as refusal:
            # Whoever waits is not woken, else they would ask again at once; the next turn does.
            self._say_unreadable(subscription, refusal)
            return
        finally:
            subscription.is_refilling = False
        self._unreadable.discard(subscription.number)
        subscription.wake()

    def _say_unreadable(self, subscription: Subscription, refusal: RefusedError) -> None:
        if subscription.number not in self._unreadable:
            self._unreadable.add(subscription.number)
            log.error("backlog not read subscription=%s: %s", subscription.settings.name, refusal)

    def acknowledge(self, subscription: Subscription, ack_ids: Sequence[str]) -> None:
        """In memory at once, on disk within the next `settle`: a lost one is a redelivery.

        Raises:
            RefusedError: an ack id that was not made here; none of them counts.
        """
        parsed = subscription.parse_ack_ids(ack_ids)
        for message, _ in parsed:
            subscription.delivery.forget(message)
            subscription.removed.add(message)
        self.counts.acknowledged += len(parsed)
        subscription.wake()

    def modify(
        self, subscription: Subscription, ack_ids: Sequence[str], seconds: Sequence[int]
    ) -> None:
        """Extend leases, or end them (0 s).

        Raises:
            RefusedError: an ack id that was not made here; none of them counts.
        """
        now_ns = self.now_ns()
        for (message, lease), each_s in zip(
            subscription.parse_ack_ids(ack_ids), seconds, strict=True
        ):
            exhausted = subscription.delivery.modify(message, lease, now_ns, each_s)
            if exhausted is not None:
                self._start(self._forward(subscription, exhausted))
        if 0 in seconds:
            subscription.wake()

    def turn(self, subscription: Subscription) -> None:
        """Leases end, what has rested goes again, those who wait are woken for it."""
        for exhausted in subscription.delivery.turn(self.now_ns()):
            self._start(self._forward(subscription, exhausted))
        if subscription.wakers:
            self.stock(subscription)
            if subscription.delivery.has_ready():
                subscription.wake()

    async def _forward(self, subscription: Subscription, entry: Entry) -> None:
        """Move a message that failed too often to the dead-letter topic, in one commit."""
        topic = subscription.delivery.rules.dead_letter_topic or ""
        retry_ns = self.now_ns() + round(REST_S * SECOND_NS)
        if topic not in self._directory.topics:
            log.warning("dead-letter topic is absent, tried again topic=%s", topic)
            subscription.delivery.rest(entry, retry_ns)
            return
        copy = dead_letter(entry, subscription.settings.name)
        batch, fresh = self._batch(topic, [copy], may_exceed=True)

        def move(store: Store) -> None:
            store.append(batch)
            store.remove(subscription.number, [entry.id])

        try:
            await self._committer.ask(move, lambda _: _offer(fresh))
        except RefusedError as refusal:
            log.warning("dead letter not moved, tried again topic=%s: %s", topic, refusal)
            subscription.delivery.rest(entry, retry_ns)
            return
        subscription.delivery.forget(entry.id)
        subscription.wake()
        self.counts.dead_lettered += 1
        log.warning(
            "message moved aside subscription=%s topic=%s", subscription.settings.name, topic
        )

    def close(self) -> None:
        """Give up what runs beside the calls."""
        for task in list(self._tasks):
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_Fresh = list[tuple[Subscription, list[tuple[int, bytes]]]]
"""Each subscription of a topic with the new messages that it wants."""


def _offer(fresh: _Fresh) -> None:
    for subscription, messages in fresh:
        if messages:
            subscription.delivery.offer(messages)
            subscription.wake()
