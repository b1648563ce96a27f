"""The whole service in this process, asked through Google's client library."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from google.api_core.exceptions import (
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
    ResourceExhausted,
    ServiceUnavailable,
)
from google.cloud import pubsub_v1
from google.pubsub_v1 import SchemaServiceClient, types

from cloud_bridge.errors import OutputError, TransientError
from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.local_pubsub.store import Store
from tests.kit.pubsub_clients import PROJECT, Pubsub, emulator_host
from tests.kit.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalPubsub]:
    with LocalPubsub(tmp_path) as server:
        yield server


@pytest.fixture
def pubsub(server: LocalPubsub) -> Iterator[Pubsub]:
    with Pubsub(f"127.0.0.1:{server.port}") as clients:
        yield clients


Call = Callable[[Pubsub, str, str], object]

ABSENT: dict[str, Call] = {
    "an ordering key": lambda p, t, s: p.publish_at_once(t, [{"data": b"x", "ordering_key": "k"}]),
    "ordered delivery": lambda p, t, s: p.subscription(t, enable_message_ordering=True),
    "exactly once": lambda p, t, s: p.subscription(t, enable_exactly_once_delivery=True),
    "push": lambda p, t, s: p.subscription(t, push_config={"push_endpoint": "https://x.example"}),
    "BigQuery": lambda p, t, s: p.subscription(t, bigquery_config={"table": "a.b.c"}),
    "kept after ack": lambda p, t, s: p.subscription(t, retain_acked_messages=True),
    "push later": lambda p, t, s: p.subscriber.update_subscription(
        request={"subscription": {"name": s}, "update_mask": {"paths": ["push_config"]}}
    ),
    "a schema": lambda p, t, s: p.publisher.create_topic(
        request={"name": f"{PROJECT}/topics/other", "schema_settings": {"schema": "x"}}
    ),
    "seek": lambda p, t, s: p.subscriber.seek(request={"subscription": s, "snapshot": "x"}),
    "a snapshot": lambda p, t, s: p.subscriber.create_snapshot(
        name=f"{PROJECT}/snapshots/x", subscription=s
    ),
    "push by its own call": lambda p, t, s: p.subscriber.modify_push_config(
        subscription=s, push_config={}
    ),
    "detach": lambda p, t, s: p.publisher.detach_subscription(request={"subscription": s}),
}


@pytest.mark.parametrize("call", ABSENT.values(), ids=ABSENT)
def test_what_is_not_there_is_said_with_what_to_use_instead(pubsub: Pubsub, call: Call) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    with pytest.raises(MethodNotImplemented, match="not there in the local Pub/Sub; want"):
        call(pubsub, topic, subscription)


def test_another_service_is_not_there_either(server: LocalPubsub) -> None:
    with emulator_host(f"127.0.0.1:{server.port}"), pubsub_v1.PublisherClient() as publisher:
        transport = SchemaServiceClient.get_transport_class("grpc")(
            channel=publisher.transport.grpc_channel
        )
        schemas = SchemaServiceClient(transport=transport)
        with pytest.raises(MethodNotImplemented, match=r"SchemaService\.ListSchemas: not there"):
            list(schemas.list_schemas(parent=PROJECT))


def test_a_subscription_with_an_empty_push_config_is_a_pull_subscription(pubsub: Pubsub) -> None:
    assert pubsub.subscription(pubsub.topic(), push_config={})


@pytest.mark.parametrize(
    ("path", "words"),
    [("filter", "cannot be changed"), ("topic", "cannot be changed"), ("colour", "no field")],
)
def test_what_cannot_be_changed_is_refused(pubsub: Pubsub, path: str, words: str) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument, match=words):
        pubsub.subscriber.update_subscription(
            request={"subscription": {"name": subscription}, "update_mask": {"paths": [path]}}
        )


def test_a_restart_keeps_topics_subscriptions_and_messages(tmp_path: Path) -> None:
    with LocalPubsub(tmp_path) as server, Pubsub(f"127.0.0.1:{server.port}") as pubsub:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, ack_deadline_seconds=44)
        ids = pubsub.publish(topic, b"1", b"2", b"3")
        pubsub.acknowledge(subscription, pubsub.pull_some(subscription, count=1))
    with LocalPubsub(tmp_path) as server, Pubsub(f"127.0.0.1:{server.port}") as pubsub:
        found = pubsub.subscriber.get_subscription(subscription=subscription)
        assert (found.topic, found.ack_deadline_seconds) == (topic, 44)
        received = pubsub.pull_some(subscription)
        assert [bytes(each.message.data) for each in received] == [b"2", b"3"]
        assert set(pubsub.publish(topic, b"4")).isdisjoint(ids)


def test_a_full_store_tells_publishers_to_wait_and_takes_again_after_acks(tmp_path: Path) -> None:
    with (
        LocalPubsub(tmp_path, max_bytes=1_000_000) as server,
        Pubsub(f"127.0.0.1:{server.port}") as pubsub,
    ):
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        large = [{"data": bytes(100_000)}]

        def publish_for_ever() -> None:
            while True:
                pubsub.publish_at_once(topic, large)

        with pytest.raises(ResourceExhausted, match="--max-bytes"):
            publish_for_ever()
        pubsub.acknowledge(subscription, pubsub.pull_some(subscription))

        def is_taken() -> bool:
            try:
                return bool(pubsub.publish_at_once(topic, large))
            except ResourceExhausted:
                return False

        wait_until(is_taken, "there is room again")


class FullDisk(Store):
    """A disk on which, once the topic and the subscription are made, nothing fits."""

    def append(self, batch: Any) -> None:  # noqa: ANN401 - a Batch
        self._db.execute("PRAGMA max_page_count = 1")  # clamped to what there is
        super().append(batch)


def test_a_full_disk_is_unavailable_and_nothing_is_stored(tmp_path: Path) -> None:
    with (
        LocalPubsub(tmp_path, make_store=FullDisk) as server,
        Pubsub(f"127.0.0.1:{server.port}") as pubsub,
    ):
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        with pytest.raises(ServiceUnavailable, match="nothing was stored"):
            pubsub.publish_at_once(topic, [{"data": bytes(100_000)}])
        assert pubsub.pull(subscription) == []


class OnceBroken(Store):
    """Fails once, in a way that nobody foresaw, while acknowledgements are written down."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        super().__init__(path, max_bytes)
        self.removals = 0

    def remove(self, subscription: int, ids: Iterable[int]) -> None:
        self.removals += 1
        if self.removals == 1:
            raise RuntimeError("a test breaks it")
        super().remove(subscription, ids)


def test_upkeep_outlives_what_nobody_foresaw(tmp_path: Path) -> None:
    with (
        LocalPubsub(tmp_path, make_store=OnceBroken) as server,
        Pubsub(f"127.0.0.1:{server.port}") as pubsub,
    ):
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        pubsub.publish(topic, b"1")
        [one] = pubsub.pull_some(subscription)
        pubsub.subscriber.acknowledge(subscription=subscription, ack_ids=[one.ack_id])
        file = tmp_path / "pubsub.db"

        def is_removed() -> bool:
            with closing(sqlite3.connect(file)) as db:
                return bool(db.execute("SELECT count(*) FROM messages").fetchone() == (0,))

        wait_until(is_removed, "the acknowledgement is on disk")


def test_a_second_service_on_the_same_folder_is_refused(
    server: LocalPubsub, tmp_path: Path
) -> None:
    with pytest.raises(TransientError, match="in use by process"):
        LocalPubsub(tmp_path)


def test_a_port_that_is_taken_is_said_to_be(server: LocalPubsub, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="want a free port"):
        LocalPubsub(tmp_path / "other", port=server.port)
    # What was begun is given back.
    LocalPubsub(tmp_path / "other").close()


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="--data-dir"):
        LocalPubsub(tmp_path / "file" / "folder")


def test_a_damaged_file_leaves_the_folder_free(tmp_path: Path) -> None:
    (tmp_path / "pubsub.db").write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(OutputError, match="damaged"):
            LocalPubsub(tmp_path)


def test_a_stream_ends_when_its_subscription_is_deleted(pubsub: Pubsub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    request = types.StreamingPullRequest(subscription=subscription, stream_ack_deadline_seconds=10)
    is_open = Event()

    def requests() -> Iterator[types.StreamingPullRequest]:
        yield request
        is_open.wait(10.0)

    responses = iter(pubsub.subscriber.streaming_pull(requests=requests()))
    next(responses)
    pubsub.subscriber.delete_subscription(subscription=subscription)
    with pytest.raises(NotFound):
        next(responses)
    is_open.set()


def test_acknowledgements_and_nacks_come_up_the_stream_too(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, b"1", b"2")
    first, second = pubsub.pull_some(subscription, count=2)
    requests = [
        types.StreamingPullRequest(
            subscription=subscription, stream_ack_deadline_seconds=10, ack_ids=[first.ack_id]
        ),
        types.StreamingPullRequest(),
        types.StreamingPullRequest(
            modify_deadline_ack_ids=[second.ack_id], modify_deadline_seconds=[0]
        ),
    ]
    responses = list(pubsub.subscriber.streaming_pull(requests=iter(requests)))
    received = [each for response in responses for each in response.received_messages]
    again = received or pubsub.pull_some(subscription)
    assert [bytes(each.message.data) for each in again] == [b"2"]
