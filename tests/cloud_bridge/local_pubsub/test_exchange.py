"""The exchange, the directory and the upkeep on a real store, with a clock turned by hand."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from cloud_bridge.local_pubsub.clocks import Clocks
from cloud_bridge.local_pubsub.committing import Committer
from cloud_bridge.local_pubsub.delivery import SECOND_NS, Entry, Holder
from cloud_bridge.local_pubsub.directory import Directory
from cloud_bridge.local_pubsub.exchange import Exchange
from cloud_bridge.local_pubsub.messages import PubsubMessage, Topic
from cloud_bridge.local_pubsub.messages import Subscription as SubscriptionSettings
from cloud_bridge.local_pubsub.refusals import RefusedError
from cloud_bridge.local_pubsub.settings import complete_subscription
from cloud_bridge.local_pubsub.store import IDS_A_RUN, Store
from cloud_bridge.local_pubsub.subscription import Subscription
from cloud_bridge.local_pubsub.upkeep import Upkeep

TOPIC = "projects/p/topics/topic"
DEAD = "projects/p/topics/dead"


class Hand:
    """Both clocks, moved by a test."""

    def __init__(self) -> None:
        self.mono_ns = 5 * SECOND_NS
        self.wall_ns = 1_764_000_000 * SECOND_NS

    def advance(self, seconds: float) -> None:
        self.mono_ns += round(seconds * SECOND_NS)
        self.wall_ns += round(seconds * SECOND_NS)


class House:
    """One run of the service without its gRPC."""

    def __init__(self, path: Path, hand: Hand) -> None:
        store = Store(path, 1 << 30)
        self.committer = Committer(store)
        clocks = Clocks(lambda: hand.mono_ns, lambda: hand.wall_ns, store.served_s)
        last = store.run * IDS_A_RUN
        self.directory = Directory(self.committer, last_lease=last)
        self.exchange = Exchange(self.committer, self.directory, clocks, last_id=last)
        self.upkeep = Upkeep(self.committer, self.directory, self.exchange, clocks)

    async def topic(self, name: str = TOPIC) -> None:
        await self.directory.put_topic(Topic(name=name), is_new=True)

    async def subscribe(self, name: str, topic: str = TOPIC, **settings: Any) -> Subscription:  # noqa: ANN401
        wanted = SubscriptionSettings(
            name=f"projects/p/subscriptions/{name}", topic=topic, **settings
        )
        rules = complete_subscription(wanted)
        return await self.directory.create_subscription(wanted, rules)

    async def publish(self, *bodies: bytes, topic: str = TOPIC) -> list[str]:
        return await self.exchange.publish(topic, [PubsubMessage(data=each) for each in bodies])

    async def take(self, subscription: Subscription, count: int = 100) -> list[Entry]:
        waker = asyncio.Event()
        subscription.wakers.add(waker)
        self.exchange.stock(subscription)
        while subscription.is_refilling:
            await waker.wait()
            waker.clear()
        subscription.wakers.discard(waker)
        return subscription.delivery.take(self.exchange.now_ns(), count, 1 << 30, 10.0, Holder())

    async def end(self) -> None:
        await self.upkeep.finish()
        self.exchange.close()
        await self.committer.close()

    async def kill(self) -> None:
        """Nothing that is owed is written."""
        self.exchange.close()
        await self.committer.close()


Work = Callable[[House], Awaitable[None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pubsub.db"


def run(path: Path, work: Work, hand: Hand | None = None, is_killed: bool = False) -> None:
    async def whole() -> None:
        house = House(path, hand or Hand())
        await house.directory.load()
        try:
            await work(house)
        finally:
            await (house.kill() if is_killed else house.end())

    asyncio.run(whole())


def bodies(entries: Iterable[Entry]) -> list[bytes]:
    return [bytes(PubsubMessage.FromString(entry.body).data) for entry in entries]


def ack_ids(subscription: Subscription, entries: Iterable[Entry]) -> list[str]:
    return [each.ack_id for each in subscription.received(entries)]


def test_what_waits_survives_a_restart_and_what_is_acknowledged_does_not(path: Path) -> None:
    async def before(house: House) -> None:
        await house.topic()
        one = await house.subscribe("one")
        await house.publish(b"1", b"2", b"3")
        taken = await house.take(one, count=2)
        house.exchange.acknowledge(one, ack_ids(one, taken[:1]))

    async def after(house: House) -> None:
        one = house.directory.subscription("projects/p/subscriptions/one")
        assert bodies(await house.take(one)) == [b"2", b"3"]

    run(path, before)
    run(path, after)


def test_no_id_is_given_twice_even_to_messages_that_nobody_wants(path: Path) -> None:
    ids: list[str] = []

    async def first(house: House) -> None:
        await house.topic()
        ids.extend(await house.publish(b"1", b"2"))

    async def again(house: House) -> None:
        ids.extend(await house.publish(b"3"))

    run(path, first, is_killed=True)
    run(path, again, is_killed=True)
    run(path, again)
    assert len(set(ids)) == 4


def test_an_acknowledgement_from_before_a_restart_still_counts(path: Path) -> None:
    kept: list[str] = []

    async def before(house: House) -> None:
        await house.topic()
        one = await house.subscribe("one")
        await house.publish(b"1", b"2")
        kept.extend(ack_ids(one, await house.take(one, count=1)))

    async def after(house: House) -> None:
        one = house.directory.subscription("projects/p/subscriptions/one")
        house.exchange.acknowledge(one, kept)
        assert bodies(await house.take(one)) == [b"2"]

    run(path, before, is_killed=True)
    run(path, after)


def test_a_nack_from_before_a_restart_ends_no_new_lease(path: Path) -> None:
    kept: list[str] = []

    async def before(house: House) -> None:
        await house.topic()
        one = await house.subscribe("one")
        await house.publish(b"1")
        kept.extend(ack_ids(one, await house.take(one)))

    async def after(house: House) -> None:
        one = house.directory.subscription("projects/p/subscriptions/one")
        await house.take(one)
        house.exchange.modify(one, kept, [0])
        assert await house.take(one) == []

    run(path, before, is_killed=True)
    run(path, after)


def test_an_ack_id_of_another_subscription_is_refused(path: Path) -> None:
    async def work(house: House) -> None:
        await house.topic()
        one, two = await house.subscribe("one"), await house.subscribe("two")
        await house.publish(b"1")
        [good] = ack_ids(one, await house.take(one))
        huge = f"{one.number:x}-{'f' * 4000}-1"
        others = (*ack_ids(two, await house.take(two)), "", "a-b", "1-2-3-4", "x-y-z")
        for bad in (*others, huge, "1-+5-1", "0x1-5-1", "1- 5-1", "1-1_1-1", "1-5-1\n"):
            with pytest.raises(RefusedError) as caught:
                house.exchange.acknowledge(one, [good, bad])
            assert caught.value.code == StatusCode.INVALID_ARGUMENT
        assert one.removed == set()

    run(path, work)


def test_a_debt_that_cannot_be_paid_is_not_forgotten(path: Path) -> None:
    async def work(house: House) -> None:
        await house.topic()
        one = await house.subscribe("one")
        await house.publish(b"1")
        [good] = ack_ids(one, await house.take(one))
        house.exchange.acknowledge(one, [good])
        one.removed.add(10**5000)  # no number that JSON, and so the disk, takes
        with pytest.raises(ValueError, match="digits"):
            await house.upkeep.turn()
        assert len(one.removed) == 2
        one.removed.remove(10**5000)
        await house.upkeep.turn()
        assert one.removed == set()

    run(path, work)


def test_a_backlog_larger_than_memory_comes_whole_and_in_order(path: Path) -> None:
    async def work(house: House) -> None:
        await house.topic()
        one = await house.subscribe("one")
        for start in range(0, 12_000, 1000):
            await house.publish(*(f"{start + each}".encode().ljust(1000) for each in range(1000)))
        assert not one.delivery.is_caught_up
        got: list[bytes] = []
        while taken := await house.take(one, count=500):
            house.exchange.acknowledge(one, ack_ids(one, taken))
            got += [body.rstrip() for body in bodies(taken)]
            await house.publish(b"later") if len(got) == 6000 else None
        assert got == [*(f"{each}".encode() for each in range(12_000)), b"later"]
        assert one.delivery.is_caught_up

    run(path, work)


def test_messages_expire_by_the_time_that_the_service_has_run(path: Path) -> None:
    hand = Hand()

    async def first(house: House) -> None:
        await house.topic()
        one = await house.subscribe("one", message_retention_duration={"seconds": 600})
        await house.subscribe("keeps")
        await house.publish(b"old")
        hand.advance(400.0)
        await house.publish(b"new")
        await house.upkeep.sweep()
        assert len(await house.take(one)) == 2

    async def second(house: House) -> None:
        one = house.directory.subscription("projects/p/subscriptions/one")
        # A clock that jumps a year makes no message older.
        hand.wall_ns += 365 * 24 * 3600 * SECOND_NS
        await house.upkeep.sweep()
        assert len(await house.take(one)) == 2
        hand.advance(201.0)
        await house.upkeep.sweep()
        assert house.exchange.counts.expired == 1
        hand.advance(10.0)
        house.exchange.turn(one)
        assert bodies(await house.take(one)) == [b"new"]
        keeps = house.directory.subscription("projects/p/subscriptions/keeps")
        assert bodies(await house.take(keeps)) == [b"old", b"new"]

    run(path, first, hand)
    run(path, second, hand)


def test_failed_deliveries_are_counted_across_a_restart(path: Path) -> None:
    policy = {"dead_letter_topic": DEAD, "max_delivery_attempts": 5}

    async def fail(house: House) -> None:
        if not house.directory.topics:
            await house.topic()
            await house.topic(DEAD)
            await house.subscribe("one", dead_letter_policy=policy)
            await house.subscribe("aside", topic=DEAD)
            await house.publish(b"poison")
        one = house.directory.subscription("projects/p/subscriptions/one")
        house.exchange.modify(one, ack_ids(one, await house.take(one)), [0])

    async def last(house: House) -> None:
        await fail(house)
        aside = house.directory.subscription("projects/p/subscriptions/aside")
        while not (found := await house.take(aside)):
            await asyncio.sleep(0)
        message = PubsubMessage.FromString(found[0].body)
        assert message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
        assert house.exchange.counts.dead_lettered == 1

    for _ in range(4):
        run(path, fail)
    run(path, last)


def test_a_dead_letter_without_a_topic_stays_and_is_tried_again(path: Path) -> None:
    hand = Hand()

    async def work(house: House) -> None:
        await house.topic()
        await house.topic(DEAD)
        policy = {"dead_letter_topic": DEAD, "max_delivery_attempts": 5}
        one = await house.subscribe("one", dead_letter_policy=policy)
        await house.publish(b"poison")
        await house.directory.delete_topic(DEAD)
        for attempt in range(6):
            [entry] = await house.take(one)
            assert entry.attempts == attempt
            house.exchange.modify(one, ack_ids(one, [entry]), [0])
            await asyncio.sleep(0)
            hand.advance(10.0)
            house.exchange.turn(one)

    run(path, work, hand)


def test_a_message_that_only_some_want_is_kept_for_them_alone(path: Path) -> None:
    async def work(house: House) -> None:
        await house.topic()
        cats = await house.subscribe("cats", filter='attributes.label = "cat"')
        every = await house.subscribe("every")
        cat = PubsubMessage(data=b"cat", attributes={"label": "cat"})
        await house.exchange.publish(TOPIC, [cat, PubsubMessage(data=b"dog")])
        assert bodies(await house.take(cats)) == [b"cat"]
        assert bodies(await house.take(every)) == [b"cat", b"dog"]

    run(path, work)


def test_what_nobody_wants_is_counted(path: Path) -> None:
    async def work(house: House) -> None:
        await house.topic()
        await house.publish(b"1", b"2")
        await house.subscribe("cats", filter='attributes.label = "cat"')
        await house.publish(b"3")
        assert house.exchange.counts.unsubscribed == 3
        assert house.exchange.counts.published == 3

    run(path, work)
