"""The topics and subscriptions there are: in memory, and on disk before a call is answered."""

import asyncio

from cloud_bridge.local_pubsub.committing import Committer
from cloud_bridge.local_pubsub.delivery import Delivery
from cloud_bridge.local_pubsub.messages import Message
from cloud_bridge.local_pubsub.messages import Subscription as SubscriptionSettings
from cloud_bridge.local_pubsub.messages import Topic as TopicSettings
from cloud_bridge.local_pubsub.names import DELETED_TOPIC
from cloud_bridge.local_pubsub.refusals import already_exists, not_found
from cloud_bridge.local_pubsub.settings import Rules, complete_subscription
from cloud_bridge.local_pubsub.store import Store
from cloud_bridge.local_pubsub.subscription import Subscription


class Directory:
    """`load` comes first; changes come one after another."""

    def __init__(self, committer: Committer, last_lease: int) -> None:
        """last_lease: see Delivery."""
        self.topics: dict[str, Message] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self._by_topic: dict[str, list[Subscription]] = {}
        self._committer = committer
        self._last_lease = last_lease
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Raises RefusedError: the disk, or this version refuses what an earlier one took."""
        topics = await self._committer.ask(lambda store: store.topics())
        subscriptions = await self._committer.ask(lambda store: store.subscriptions())
        for blob in topics:
            topic = TopicSettings.FromString(blob)
            self.topics[topic.name] = topic
        for number, blob in subscriptions:
            settings = SubscriptionSettings.FromString(blob)
            self._add(number, settings, complete_subscription(settings))

    def subscribers(self, topic: str) -> list[Subscription]:
        return list(self._by_topic.get(topic, ()))

    def _add(self, number: int, settings: Message, rules: Rules) -> Subscription:
        delivery = Delivery(rules, last_lease=self._last_lease)
        subscription = Subscription(number, settings, delivery)
        self.subscriptions[settings.name] = subscription
        self._by_topic.setdefault(settings.topic, []).append(subscription)
        return subscription

    def topic(self, name: str) -> Message:
        """Raises RefusedError."""
        found = self.topics.get(name)
        if found is None:
            raise not_found(name)
        return found

    def subscription(self, name: str) -> Subscription:
        """Raises RefusedError."""
        found = self.subscriptions.get(name)
        if found is None:
            raise not_found(name)
        return found

    async def put_topic(self, settings: Message, is_new: bool) -> None:
        """Raises RefusedError: it is there already, or is not, or the disk refused."""
        async with self._changing:
            if is_new and settings.name in self.topics:
                raise already_exists(settings.name)
            if not is_new:
                self.topic(settings.name)
            blob = settings.SerializeToString()
            await self._committer.ask(lambda store: store.put_topic(settings.name, blob))
            self.topics[settings.name] = settings

    async def delete_topic(self, name: str) -> None:
        """Its subscriptions stay, with what waits in them.

        Raises:
            RefusedError: there is none, or the disk refused.
        """
        async with self._changing:
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
            del self.topics[name]

    async def create_subscription(self, settings: Message, rules: Rules) -> Subscription:
        """Raises RefusedError: it is there already, its topic is not, or the disk refused."""
        async with self._changing:
            if settings.name in self.subscriptions:
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
        async with self._changing:
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
        async with self._changing:
            subscription = self.subscription(name)
            await self._committer.ask(lambda store: store.delete_subscription(subscription.number))
            del self.subscriptions[name]
            self._by_topic[subscription.settings.topic].remove(subscription)
            subscription.is_deleted = True
            subscription.wake()
