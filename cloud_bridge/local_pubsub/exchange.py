"""Topics to subscriptions: what Publish, Pull and Acknowledge do, between memory and disk.

Everything here runs in one event loop and never blocks it; the committer's thread writes.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloud_bridge.local_pubsub.committing import Committer
from cloud_bridge.local_pubsub.dead_letters import dead_letter
from cloud_bridge.local_pubsub.delivery import SECOND_NS, Delivery, Entry
from cloud_bridge.local_pubsub.messages import Message, Timestamp
from cloud_bridge.local_pubsub.messages import Subscription as SubscriptionSettings
from cloud_bridge.local_pubsub.messages import Topic as TopicSettings
from cloud_bridge.local_pubsub.names import DELETED_TOPIC
from cloud_bridge.local_pubsub.refusals import RefusedError, already_exists, not_found
from cloud_bridge.local_pubsub.settings import Rules, complete_subscription
from cloud_bridge.local_pubsub.store import IDS_A_RUN, Batch, Store, Stored
from cloud_bridge.local_pubsub.subscription import Subscription

log = logging.getLogger(__name__)

READ_AT_ONCE = 1000
READ_BYTES = 2_000_000
SWEPT_AT_ONCE = 2000
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
        self, store: Store, monotonic_ns: Callable[[], int], wall_ns: Callable[[], int]
    ) -> None:
        self.counts = Counts()
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._started_ns = monotonic_ns()
        self._served_before_s = store.served_s
        self._first_lease = store.run * IDS_A_RUN
        self._last_id = store.run * IDS_A_RUN
        self._topics: dict[str, Message] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._by_topic: dict[str, list[Subscription]] = {}
        self._load(store)
        self._committer = Committer(store)
        self._administration = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf_topics: set[str] = set()
        """Topics that somebody publishes to and nobody subscribes, as the log knows them."""

    def _load(self, store: Store) -> None:
        with store.transaction():
            for blob in store.topics():
                topic = TopicSettings.FromString(blob)
                self._topics[topic.name] = topic
            for number, blob in store.subscriptions():
                settings = SubscriptionSettings.FromString(blob)
                self._add(number, settings, complete_subscription(settings))

    def _add(self, number: int, settings: Message, rules: Rules) -> Subscription:
        delivery = Delivery(rules, last_lease=self._first_lease)
        subscription = Subscription(number, settings, delivery)
        self._subscriptions[settings.name] = subscription
        self._by_topic.setdefault(settings.topic, []).append(subscription)
        self._deaf_topics.discard(settings.topic)
        return subscription

    def now_ns(self) -> int:
        return self._monotonic_ns()

    def served_s(self) -> float:
        """How long the service has run in its life: the clock of retention.

        A wall clock that is set, or was wrong at the start, must not make messages too old.
        """
        return self._served_before_s + (self._monotonic_ns() - self._started_ns) / SECOND_NS

    # --- publishing -----------------------------------------------------------------------------

    async def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """The ids of `messages`, whose id and time are filled in; durable by now.

        Raises:
            RefusedError: no such topic, no room, or the disk refused; then none of them was stored.
        """
        self.topic(topic)
        batch, fresh = self._batch(topic, messages)
        if batch.bodies:
            await self._committer.ask(lambda store: store.append(batch), lambda _: _offer(fresh))
        self.counts.published += len(messages)
        return [message.message_id for message in messages]

    def _batch(
        self, topic: str, messages: Sequence[Message], may_exceed: bool = False
    ) -> tuple[Batch, "_Fresh"]:
        """Number the messages and find out where each of them goes."""
        subscriptions = list(self._by_topic.get(topic, ()))
        if not subscriptions:
            self._say_deaf(topic)
        seconds, nanos = divmod(self._wall_ns(), SECOND_NS)
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
        return Batch(self.served_s(), bodies, backlogs, may_exceed), fresh

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
        delivery = subscription.delivery
        last_id = delivery.last_id
        removed, attempts = self._take_owed(subscription)

        def read(store: Store) -> tuple[list[Stored], bool]:
            # Else what was acknowledged a moment ago, before it was ever in memory, comes again.
            _settle(store, subscription.number, removed, attempts)
            return store.after(subscription.number, last_id, READ_AT_ONCE, READ_BYTES)

        def accept(result: tuple[list[Stored], bool]) -> None:
            found, are_all = result
            delivery.refill(((each.id, each.attempts, each.body) for each in found), are_all)

        try:
            await self._committer.ask(read, accept)
        except RefusedError as refusal:
            _owe(subscription, removed, attempts)
            log.warning("backlog not read subscription=%s: %s", subscription.settings.name, refusal)
            # Not at once again: whoever waits asks when the next turn wakes them.
            subscription.is_refilling = False
            return
        subscription.is_refilling = False
        subscription.wake()

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

    def turn(self) -> None:
        """To be called several times a second: leases end, what has rested goes again."""
        now_ns = self.now_ns()
        for subscription in self._subscriptions.values():
            for exhausted in subscription.delivery.turn(now_ns):
                self._start(self._forward(subscription, exhausted))
            if subscription.wakers:
                self.stock(subscription)
                if subscription.delivery.has_ready():
                    subscription.wake()

    async def _forward(self, subscription: Subscription, entry: Entry) -> None:
        """Move a message that failed too often to the dead-letter topic, in one commit."""
        topic = subscription.delivery.rules.dead_letter_topic or ""
        retry_ns = self.now_ns() + round(REST_S * SECOND_NS)
        if topic not in self._topics:
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

    # --- upkeep ---------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Write down what was acknowledged, and how often deliveries failed."""
        for subscription in list(self._subscriptions.values()):
            subscription.attempts.update(subscription.delivery.take_failures())
            removed, attempts = self._take_owed(subscription)
            if not removed and not attempts:
                continue
            try:
                await self._committer.ask(_settling(subscription.number, removed, attempts))
            except RefusedError as refusal:
                _owe(subscription, removed, attempts)
                log.warning("acknowledgements not stored, tried again: %s", refusal)

    @staticmethod
    def _take_owed(subscription: Subscription) -> tuple[set[int], dict[int, int]]:
        removed, subscription.removed = subscription.removed, set()
        attempts, subscription.attempts = subscription.attempts, {}
        return removed, attempts

    async def sweep(self) -> None:
        """Drop messages that are older than their subscription keeps them, counted.

        Raises:
            RefusedError: the disk refused; to be tried again later.
        """
        served_s = self.served_s()
        await self._committer.ask(lambda store: store.note_served(served_s))
        for subscription in list(self._subscriptions.values()):
            await self._expire(subscription, served_s - subscription.delivery.rules.retention_s)
        while await self._committer.ask(lambda store: store.remove_orphans(SWEPT_AT_ONCE)):
            pass

    async def _expire(self, subscription: Subscription, born_before_s: float) -> None:
        expired = 0
        while ids := await self._committer.ask(
            lambda store: store.remove_older(subscription.number, born_before_s, SWEPT_AT_ONCE)
        ):
            for identity in ids:
                subscription.delivery.forget(identity)
            expired += len(ids)
        if expired:
            self.counts.expired += expired
            log.warning(
                "messages expired, nobody acknowledged them subscription=%s count=%d",
                subscription.settings.name,
                expired,
            )

    async def close(self) -> None:
        """Commit all that is owed, and close the store."""
        for task in list(self._tasks):
            task.cancel()
        await self.settle()
        served_s = self.served_s()
        try:
            await self._committer.ask(lambda store: store.note_served(served_s))
        except RefusedError as refusal:
            log.warning("served time not noted: %s", refusal)
        await self._committer.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- topics and subscriptions ---------------------------------------------------------------

    def topic(self, name: str) -> Message:
        """Raises RefusedError."""
        found = self._topics.get(name)
        if found is None:
            raise not_found(name)
        return found

    def subscription(self, name: str) -> Subscription:
        """Raises RefusedError."""
        found = self._subscriptions.get(name)
        if found is None:
            raise not_found(name)
        return found

    def topics(self) -> Mapping[str, Message]:
        return self._topics

    def subscriptions(self) -> Mapping[str, Subscription]:
        return self._subscriptions

    async def put_topic(self, settings: Message, is_new: bool) -> None:
        """Raises RefusedError: it is there already, or is not, or the disk refused."""
        async with self._administration:
            if is_new and settings.name in self._topics:
                raise already_exists(settings.name)
            if not is_new:
                self.topic(settings.name)
            blob = settings.SerializeToString()
            await self._committer.ask(lambda store: store.put_topic(settings.name, blob))
            self._topics[settings.name] = settings

    async def delete_topic(self, name: str) -> None:
        """Its subscriptions stay, with what waits in them.

        Raises:
            RefusedError: there is none, or the disk refused.
        """
        async with self._administration:
            self.topic(name)
            orphans = self._by_topic.get(name, [])
            changed: list[tuple[Subscription, Message]] = []
            for subscription in orphans:
                settings = SubscriptionSettings()
                settings.CopyFrom(subscription.settings)
                settings.topic = DELETED_TOPIC
                changed.append((subscription, settings))

            def delete(store: Store) -> None:
                store.delete_topic(name)
                for subscription, settings in changed:
                    store.change_subscription(subscription.number, settings.SerializeToString())

            await self._committer.ask(delete)
            for subscription, settings in changed:
                subscription.settings = settings
            self._by_topic.setdefault(DELETED_TOPIC, []).extend(self._by_topic.pop(name, []))
            del self._topics[name]

    async def create_subscription(self, settings: Message, rules: Rules) -> Subscription:
        """Raises RefusedError: it is there already, its topic is not, or the disk refused."""
        async with self._administration:
            if settings.name in self._subscriptions:
                raise already_exists(settings.name)
            self.topic(settings.topic)
            if rules.dead_letter_topic is not None:
                self.topic(rules.dead_letter_topic)
            blob = settings.SerializeToString()
            number = await self._committer.ask(
                lambda store: store.add_subscription(settings.name, blob)
            )
            return self._add(number, settings, rules)

    async def change_subscription(
        self, subscription: Subscription, settings: Message, rules: Rules
    ) -> None:
        """Raises RefusedError."""
        async with self._administration:
            if subscription.is_deleted:
                raise not_found(settings.name)
            if rules.dead_letter_topic is not None:
                self.topic(rules.dead_letter_topic)
            blob = settings.SerializeToString()
            await self._committer.ask(
                lambda store: store.change_subscription(subscription.number, blob)
            )
            subscription.settings = settings
            subscription.delivery.rules = rules

    async def delete_subscription(self, name: str) -> None:
        """What waits in it is dropped, bit by bit. Raises RefusedError."""
        async with self._administration:
            subscription = self.subscription(name)
            await self._committer.ask(lambda store: store.delete_subscription(subscription.number))
            del self._subscriptions[name]
            self._by_topic[subscription.settings.topic].remove(subscription)
            subscription.is_deleted = True
            subscription.wake()


_Fresh = list[tuple[Subscription, list[tuple[int, bytes]]]]
"""Each subscription of a topic with the new messages that it wants."""


def _offer(fresh: _Fresh) -> None:
    for subscription, messages in fresh:
        if messages:
            subscription.delivery.offer(messages)
            subscription.wake()


def _settle(store: Store, number: int, removed: set[int], attempts: Mapping[int, int]) -> None:
    if removed:
        store.remove(number, removed)
    if attempts:
        store.note_attempts(number, attempts.items())


def _settling(
    number: int, removed: set[int], attempts: Mapping[int, int]
) -> Callable[[Store], None]:
    return lambda store: _settle(store, number, removed, attempts)


def _owe(subscription: Subscription, removed: set[int], attempts: Mapping[int, int]) -> None:
    subscription.removed |= removed
    subscription.attempts = {**attempts, **subscription.attempts}
