"""What a stand-in of Pub/Sub owes its callers, asked through Google's client library.

Ours, and Google's emulator where the machine has one. Where the emulator differs from the real
service it is expected to fail, so that a newer one is noticed.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    GoogleAPICallError,
    InvalidArgument,
    NotFound,
)
from google.pubsub_v1 import types

from cloud_bridge.local_pubsub.server import LocalPubsub
from tests.kit.google_emulator import GoogleEmulator, find_emulator
from tests.kit.pubsub_clients import PROJECT, Pubsub, Taker
from tests.kit.waiting import pause, wait_until

EMULATOR = find_emulator()
STAND_INS = ["ours", *(["google"] if EMULATOR is not None else [])]

_LAX = "the emulator does not check it"
_REFUSES = "test_what_the_real_service_refuses_is_refused"
_WRONGLY = "test_a_stream_that_is_asked_wrongly_is_refused"

DIFFERENCES = {
    "test_a_filter_lets_through_what_it_names[]": "the emulator ignores filters",
    "test_a_stream_of_no_subscription_is_refused[]": "the emulator ends such a stream in silence",
    f"{_WRONGLY}[limits too late]": _LAX,
    f"{_REFUSES}[a short deadline]": _LAX,
    f"{_REFUSES}[too long a value]": _LAX,
    f"{_REFUSES}[too long a key]": _LAX,
    f"{_REFUSES}[too many attributes]": _LAX,
    f"{_REFUSES}[too large a request]": _LAX,
    f"{_REFUSES}[a bad filter]": "the emulator ignores filters",
    f"{_REFUSES}[few attempts]": "the emulator says OUT_OF_RANGE, ours INVALID_ARGUMENT; both 400",
}
"""Tests that Google's emulator fails."""


@pytest.fixture(scope="module", params=STAND_INS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "ours":
        folder: Path = tmp_path_factory.mktemp("pubsub")
        with LocalPubsub(folder) as ours:
            yield f"127.0.0.1:{ours.port}"
    else:
        if EMULATOR is None:
            raise AssertionError("there is no emulator")
        with GoogleEmulator(EMULATOR) as google:
            yield google.host


@pytest.fixture
def pubsub(host: str, request: pytest.FixtureRequest) -> Iterator[Pubsub]:
    stand_in, _, rest = request.node.callspec.id.partition("-")
    reason = DIFFERENCES.get(f"{request.node.originalname}[{rest}]")
    if reason is not None and stand_in == "google":
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    with Pubsub(host) as clients:
        yield clients


def numbered(count: int) -> list[bytes]:
    return [f"{number}".encode() for number in range(count)]


# --- delivery -----------------------------------------------------------------------------------


def test_a_message_arrives_whole(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    [identity] = pubsub.publish(topic, b"\x00\xff", attributes={"deviceId": "gärten"})
    taker = Taker()
    with pubsub.taking(subscription, taker):
        taker.wait_for(1)
    [message] = taker.messages
    assert message.data == b"\x00\xff"
    assert dict(message.attributes) == {"deviceId": "gärten"}
    assert message.message_id == identity
    assert message.publish_time.year >= 2025
    assert message.delivery_attempt is None


def test_every_subscription_receives_every_message(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscriptions = [pubsub.subscription(topic) for _ in range(2)]
    ids = pubsub.publish(topic, *numbered(20))
    assert len(set(ids)) == 20
    for subscription in subscriptions:
        taker = Taker()
        with pubsub.taking(subscription, taker):
            taker.wait_for(20)
        assert sorted(taker.bodies) == sorted(numbered(20))


def test_an_acknowledged_message_does_not_come_again(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"1", b"2")
    received = pubsub.pull_some(subscription, count=1)
    pubsub.acknowledge(subscription, received)
    pubsub.acknowledge(subscription, received)
    [other] = pubsub.pull_some(subscription)
    assert {bytes(received[0].message.data), bytes(other.message.data)} == {b"1", b"2"}
    pubsub.nack(subscription, [other])
    again = pubsub.pull_some(subscription)
    assert [each.message.data for each in again] == [other.message.data]


def test_a_nacked_message_comes_again(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"again")
    seen: list[str] = []

    def refuse_twice(message: Any) -> None:  # noqa: ANN401 - the library's own
        seen.append(message.message_id)
        if len(seen) < 3:
            message.nack()
        else:
            message.ack()

    taker = Taker(refuse_twice)
    with pubsub.taking(subscription, taker):
        taker.wait_for(3)
    assert len(set(seen)) == 1


def test_a_message_that_nobody_acknowledges_comes_again_after_its_deadline(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    first = pubsub.pull_some(subscription)
    assert pubsub.pull(subscription) == []
    pubsub.nack(subscription, first, seconds=1)
    second = pubsub.pull_some(subscription)
    assert second[0].message.message_id == first[0].message.message_id
    assert second[0].ack_id != first[0].ack_id


def test_an_extended_lease_keeps_a_message_away_from_others(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    received = pubsub.pull_some(subscription)
    pubsub.nack(subscription, received, seconds=1)
    pubsub.nack(subscription, received, seconds=60)
    pause(1.5)
    assert pubsub.pull(subscription) == []


def test_a_filter_lets_through_what_it_names(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(
        topic, filter='attributes.kind = "person" AND NOT attributes:test'
    )
    pubsub.publish(topic, b"car", attributes={"kind": "car"})
    pubsub.publish(topic, b"test", attributes={"kind": "person", "test": "y"})
    pubsub.publish(topic, b"person", attributes={"kind": "person"})
    received = pubsub.pull_some(subscription)
    assert [bytes(each.message.data) for each in received] == [b"person"]


def test_a_message_that_fails_too_often_goes_to_the_dead_letter_topic(pubsub: Pubsub) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    aside = pubsub.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    subscription = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.publish(topic, b"poison", attributes={"deviceId": "box"})
    taker = Taker(lambda message: message.nack())
    with pubsub.taking(subscription, taker):
        received = pubsub.pull_some(aside, timeout_s=20.0)
    assert [message.delivery_attempt for message in taker.messages] == [1, 2, 3, 4, 5]
    [message] = [each.message for each in received]
    assert message.data == b"poison"
    published = message.attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime")
    assert published.endswith("Z")
    assert dict(message.attributes) == {
        "deviceId": "box",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": subscription.rpartition("/")[2],
        "CloudPubSubDeadLetterSourceSubscriptionProject": PROJECT.rpartition("/")[2],
    }
    assert pubsub.pull(subscription) == []


def test_what_is_published_to_nobody_is_taken_and_dropped(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    assert len(pubsub.publish(topic, b"nobody hears")) == 1
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"heard")
    received = pubsub.pull_some(subscription)
    assert [bytes(each.message.data) for each in received] == [b"heard"]


def test_a_waiting_pull_returns_when_a_message_comes(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    futures = [pubsub.publisher.publish(topic, b"soon")]
    response = pubsub.subscriber.pull(subscription=subscription, max_messages=1, timeout=20.0)
    assert [bytes(each.message.data) for each in response.received_messages] == [b"soon"]
    futures[0].result(timeout=10.0)


# --- streams ------------------------------------------------------------------------------------


def test_no_more_is_out_than_the_subscriber_allows(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, *numbered(50))
    taker = Taker(lambda message: None)
    with pubsub.taking(subscription, taker, max_messages=10):
        taker.wait_for(10)
        pause(0.5)
        first = taker.messages
        assert len(first) == 10
        for message in first:
            message.ack()
        taker.wait_for(20)
        pause(0.3)
        assert len(taker.messages) == 20
        for message in taker.messages:
            message.ack()


def test_two_subscribers_share_a_subscription(pubsub: Pubsub, host: str) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    left, right = Taker(), Taker()
    with (
        Pubsub(host) as other,
        pubsub.taking(subscription, left, max_messages=20),
        other.taking(subscription, right, max_messages=20),
    ):
        published = 0

        def both_had_some() -> bool:
            nonlocal published
            pubsub.publish(topic, *numbered(100))
            published += 100
            return bool(left.messages and right.messages)

        wait_until(both_had_some, "both subscribers had messages", timeout_s=20.0)
        wait_until(lambda: len(left.messages) + len(right.messages) >= published, "all came", 20.0)
        ids = [message.message_id for message in chain(left.messages, right.messages)]
    assert len(set(ids)) == published


def test_a_long_backlog_comes_through(pubsub: Pubsub, request: pytest.FixtureRequest) -> None:
    # Google's emulator needs ten seconds for the larger one.
    count = 2_000 if "google" in request.node.callspec.id else 20_000
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    for start in range(0, count, 1000):
        pubsub.publish_at_once(
            topic, [{"data": f"{start + each}".encode()} for each in range(1000)]
        )
    taker = Taker()
    with pubsub.taking(subscription, taker):
        taker.wait_for(count, timeout_s=60.0)
    assert len(set(taker.bodies)) == count


Requests = Callable[[str], list[types.StreamingPullRequest]]

BAD_STREAMS: dict[str, Requests] = {
    "deadline too short": lambda name: [
        types.StreamingPullRequest(subscription=name, stream_ack_deadline_seconds=1)
    ],
    "one deadline for two": lambda name: [
        types.StreamingPullRequest(
            subscription=name,
            stream_ack_deadline_seconds=10,
            modify_deadline_ack_ids=["a", "b"],
            modify_deadline_seconds=[10],
        )
    ],
    "limits too late": lambda name: [
        types.StreamingPullRequest(subscription=name, stream_ack_deadline_seconds=10),
        types.StreamingPullRequest(max_outstanding_messages=5),
    ],
}


@pytest.mark.parametrize("requests", BAD_STREAMS.values(), ids=BAD_STREAMS)
def test_a_stream_that_is_asked_wrongly_is_refused(pubsub: Pubsub, requests: Requests) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    responses = pubsub.subscriber.streaming_pull(requests=iter(requests(subscription)))
    with pytest.raises(InvalidArgument):
        list(responses)


def test_a_stream_of_no_subscription_is_refused(pubsub: Pubsub) -> None:
    request = types.StreamingPullRequest(
        subscription=f"{PROJECT}/subscriptions/absent", stream_ack_deadline_seconds=10
    )
    with pytest.raises(NotFound):
        list(pubsub.subscriber.streaming_pull(requests=iter([request])))


# --- topics and subscriptions -------------------------------------------------------------------


def test_topics_and_subscriptions_are_told_as_they_were_made(pubsub: Pubsub) -> None:
    name = f"{PROJECT}/topics/t-{uuid4().hex}"
    pubsub.publisher.create_topic(request={"name": name, "labels": {"box": "garden"}})
    assert dict(pubsub.publisher.get_topic(topic=name).labels) == {"box": "garden"}
    subscription = pubsub.subscription(name, ack_deadline_seconds=30)
    found = pubsub.subscriber.get_subscription(subscription=subscription)
    assert (found.topic, found.ack_deadline_seconds) == (name, 30)
    assert found.message_retention_duration.total_seconds() == 7 * 24 * 3600


def test_a_subscription_can_be_changed(pubsub: Pubsub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    changed = pubsub.subscriber.update_subscription(
        request={
            "subscription": {"name": subscription, "ack_deadline_seconds": 77},
            "update_mask": {"paths": ["ack_deadline_seconds"]},
        }
    )
    assert changed.ack_deadline_seconds == 77
    found = pubsub.subscriber.get_subscription(subscription=subscription)
    assert found.ack_deadline_seconds == 77


def test_lists_come_in_pages(pubsub: Pubsub) -> None:
    project = f"projects/p-{uuid4().hex}"
    topics = [f"{project}/topics/topic-{number}" for number in range(5)]
    subscriptions = [f"{project}/subscriptions/subscription-{number}" for number in range(5)]
    for topic in topics:
        pubsub.publisher.create_topic(name=topic)
    for subscription in subscriptions:
        pubsub.subscriber.create_subscription(name=subscription, topic=topics[0])
    pages = pubsub.publisher.list_topics(request={"project": project, "page_size": 2}).pages
    assert [len(page.topics) for page in pages] == [2, 2, 1]
    of_topic = pubsub.publisher.list_topic_subscriptions(
        request={"topic": topics[0], "page_size": 3}
    )
    assert sorted(of_topic) == subscriptions
    listed = pubsub.subscriber.list_subscriptions(request={"project": project, "page_size": 3})
    assert sorted(each.name for each in listed) == subscriptions


def test_a_subscription_outlives_its_topic(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"left behind")
    pubsub.publisher.delete_topic(topic=topic)
    assert pubsub.subscriber.get_subscription(subscription=subscription).topic == "_deleted-topic_"
    received = pubsub.pull_some(subscription)
    assert [bytes(each.message.data) for each in received] == [b"left behind"]


def test_a_deleted_subscription_is_gone(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    pubsub.subscriber.delete_subscription(subscription=subscription)
    with pytest.raises(NotFound):
        pubsub.pull(subscription)


# --- refusals -----------------------------------------------------------------------------------

ABSENT_TOPIC = f"{PROJECT}/topics/absent"
ABSENT = f"{PROJECT}/subscriptions/absent"

Call = Callable[[Pubsub, str, str], object]

REFUSALS: dict[str, tuple[type[GoogleAPICallError], Call]] = {
    "publish to no topic": (NotFound, lambda p, t, s: p.publish(ABSENT_TOPIC, b"x")),
    "get no topic": (NotFound, lambda p, t, s: p.publisher.get_topic(topic=ABSENT_TOPIC)),
    "delete no topic": (NotFound, lambda p, t, s: p.publisher.delete_topic(topic=ABSENT_TOPIC)),
    "pull from nothing": (NotFound, lambda p, t, s: p.pull(ABSENT)),
    "acknowledge nothing": (
        NotFound,
        lambda p, t, s: p.subscriber.acknowledge(subscription=ABSENT, ack_ids=["x"]),
    ),
    "subscribe to no topic": (NotFound, lambda p, t, s: p.subscription(ABSENT_TOPIC)),
    "delete no subscription": (
        NotFound,
        lambda p, t, s: p.subscriber.delete_subscription(subscription=ABSENT),
    ),
    "a topic twice": (AlreadyExists, lambda p, t, s: p.publisher.create_topic(name=t)),
    "a subscription twice": (
        AlreadyExists,
        lambda p, t, s: p.subscriber.create_subscription(name=s, topic=t),
    ),
    "a bad topic name": (
        InvalidArgument,
        lambda p, t, s: p.publisher.create_topic(name=f"{PROJECT}/topics/1st"),
    ),
    "a bad subscription name": (
        InvalidArgument,
        lambda p, t, s: p.subscriber.create_subscription(name=f"{PROJECT}/subs/x", topic=t),
    ),
    "a short deadline": (
        InvalidArgument,
        lambda p, t, s: p.subscription(t, ack_deadline_seconds=5),
    ),
    "an empty message": (
        InvalidArgument,
        lambda p, t, s: p.publish_at_once(t, [{}]),
    ),
    "no message": (InvalidArgument, lambda p, t, s: p.publish_at_once(t, [])),
    "too many messages": (
        InvalidArgument,
        lambda p, t, s: p.publish_at_once(t, [{"data": b"x"}] * 1001),
    ),
    "too long a value": (
        InvalidArgument,
        lambda p, t, s: p.publish_at_once(t, [{"attributes": {"k": "v" * 1025}}]),
    ),
    "too long a key": (
        InvalidArgument,
        lambda p, t, s: p.publish_at_once(t, [{"attributes": {"k" * 257: "v"}}]),
    ),
    "too many attributes": (
        InvalidArgument,
        lambda p, t, s: p.publish_at_once(t, [{"attributes": {f"k{n}": "v" for n in range(101)}}]),
    ),
    "too large a request": (
        InvalidArgument,
        lambda p, t, s: p.publish_at_once(t, [{"data": bytes(10_000_001)}]),
    ),
    "a malformed ack id": (
        InvalidArgument,
        lambda p, t, s: p.subscriber.acknowledge(subscription=s, ack_ids=["not one of ours"]),
    ),
    "a bad filter": (InvalidArgument, lambda p, t, s: p.subscription(t, filter="xx !! yy")),
    "few attempts": (
        InvalidArgument,
        lambda p, t, s: p.subscription(
            t, dead_letter_policy={"dead_letter_topic": t, "max_delivery_attempts": 4}
        ),
    ),
    "a short retention": (
        InvalidArgument,
        lambda p, t, s: p.subscription(t, message_retention_duration={"seconds": 60}),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_real_service_refuses_is_refused(pubsub: Pubsub, name: str) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    kind, call = REFUSALS[name]
    with pytest.raises(kind):
        call(pubsub, topic, subscription)
