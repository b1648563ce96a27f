"""Google's own client library on a stand-in of Pub/Sub, with few words."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Self
from uuid import uuid4

from google.api_core.grpc_helpers import wrap_errors
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.types import FlowControl
from google.pubsub_v1 import types

from tests.kit.waiting import wait_until

PROJECT = "projects/some-project"


@contextmanager
def emulator_host(host: str) -> Iterator[None]:
    """The library reads the variable when a client is made, and never again."""
    earlier = os.environ.get("PUBSUB_EMULATOR_HOST")
    os.environ["PUBSUB_EMULATOR_HOST"] = host
    try:
        yield
    finally:
        if earlier is None:
            del os.environ["PUBSUB_EMULATOR_HOST"]
        else:
            os.environ["PUBSUB_EMULATOR_HOST"] = earlier


class Taker:
    """Takes what a subscription streams; `obey` decides what becomes of each message."""

    def __init__(self, obey: Callable[[Any], None] = lambda message: message.ack()) -> None:
        self._obey = obey
        self._lock = Lock()
        self._messages: deque[Any] = deque()

    def __call__(self, message: Any) -> None:  # noqa: ANN401 - the library's own
        with self._lock:
            self._messages.append(message)
        self._obey(message)

    @property
    def messages(self) -> list[Any]:
        with self._lock:
            return list(self._messages)

    @property
    def bodies(self) -> list[bytes]:
        return [bytes(message.data) for message in self.messages]

    def wait_for(self, count: int, timeout_s: float = 20.0) -> None:
        wait_until(
            lambda: len(self._messages) >= count,
            f"{count} messages, of which {len(self._messages)} came",
            timeout_s,
        )


class Pubsub:
    """A publisher and a subscriber client, both unmodified; a context manager."""

    def __init__(self, host: str) -> None:
        with emulator_host(host):
            self.publisher = pubsub_v1.PublisherClient()
            self.subscriber = pubsub_v1.SubscriberClient()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()

    def topic(self) -> str:
        """A new one."""
        name = f"{PROJECT}/topics/t-{uuid4().hex}"
        self.publisher.create_topic(name=name)
        return name

    def subscription(self, topic: str, **settings: Any) -> str:  # noqa: ANN401 - the library's own
        """A new one."""
        name = f"{PROJECT}/subscriptions/s-{uuid4().hex}"
        self.subscriber.create_subscription(
            request={"name": name, "topic": topic, **settings}, timeout=10.0
        )
        return name

    def publish(
        self, topic: str, *bodies: bytes, attributes: Mapping[str, str] | None = None
    ) -> list[str]:
        """Their ids, once the server has answered for all."""
        futures = [self.publisher.publish(topic, body, **(attributes or {})) for body in bodies]
        return [future.result(timeout=60.0) for future in futures]

    def publish_at_once(self, topic: str, messages: Sequence[Mapping[str, object]]) -> list[str]:
        """One bare call: the publishing client would batch, refuse or split by itself."""
        request = types.PublishRequest(topic=topic, messages=messages)
        call = wrap_errors(self.publisher.transport.publish)  # type: ignore[no-untyped-call]
        return list(call(request, timeout=20.0).message_ids)

    def pull(self, subscription: str, count: int = 100) -> list[Any]:
        """What there is at once. The bare call: the library warns of `return_immediately`."""
        request = types.PullRequest(
            subscription=subscription, max_messages=count, return_immediately=True
        )
        call = wrap_errors(self.subscriber.transport.pull)  # type: ignore[no-untyped-call]
        return list(call(request, timeout=10.0).received_messages)

    def pull_some(self, subscription: str, count: int = 100, timeout_s: float = 10.0) -> list[Any]:
        """Asks until something comes."""
        found: list[Any] = []

        def something_came() -> bool:
            found.extend(self.pull(subscription, count))
            return bool(found)

        wait_until(something_came, "a message to pull", timeout_s)
        return found

    def acknowledge(self, subscription: str, received: list[Any]) -> None:
        self.subscriber.acknowledge(
            subscription=subscription, ack_ids=[each.ack_id for each in received], timeout=10.0
        )

    def nack(self, subscription: str, received: list[Any], seconds: int = 0) -> None:
        """seconds: of the new deadline."""
        self.subscriber.modify_ack_deadline(
            subscription=subscription,
            ack_ids=[each.ack_id for each in received],
            ack_deadline_seconds=seconds,
            timeout=10.0,
        )

    @contextmanager
    def taking(
        self, subscription: str, taker: Taker, max_messages: int = 1000, lease_s: int = 0
    ) -> Iterator[Any]:
        """Streams to `taker` while the context is open; yields the library's future.

        lease_s: of the stream, at least 10; 0: as the library likes.
        """
        flow = FlowControl(
            max_messages=max_messages,
            min_duration_per_lease_extension=lease_s,
            max_duration_per_lease_extension=lease_s,
        )
        future = self.subscriber.subscribe(subscription, taker, flow_control=flow)
        try:
            yield future
        finally:
            future.cancel()
            # Waits for the library's threads, and raises what ended the stream.
            future.result(timeout=20.0)
