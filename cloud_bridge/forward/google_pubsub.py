"""Google's publisher behind the bridge's port: its low-level Publish call.

`PUBSUB_EMULATOR_HOST` is honoured by the library itself.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.pubsub_v1 import PublisherClient as BarePublisher
from google.pubsub_v1 import types

from cloud_bridge.clocks import WAITS, Waits
from cloud_bridge.errors import BlockedError, RejectedError, TransientError
from cloud_bridge.google_client import make_publisher_client, translated
from cloud_bridge.ports import OutMessage

_Request: Any = types.PublishRequest.pb()


class GooglePublisher:
    """Matches `ports.Publisher`. credentials_file: of a service account; else the environment's.

    address: HOST:PORT of a Pub/Sub that is not Google's; else the environment's.
    """

    def __init__(
        self,
        credentials_file: Path | None = None,
        waits: Waits = WAITS,
        address: str | None = None,
    ) -> None:
        """Raises ConfigError: there are no credentials, or they cannot be read."""
        self._client = make_publisher_client(credentials_file, address)
        self._call_s = waits.call_s
        self._retry = Retry(
            predicate=if_exception_type(
                exceptions.Aborted, exceptions.Cancelled, exceptions.ServiceUnavailable
            ),
            initial=0.1,
            maximum=1.0,
            multiplier=2.0,
            timeout=waits.library_retry_s,
        )

    def publish(self, topic: str, messages: Sequence[OutMessage]) -> None:
        try:
            request = _request(topic, messages)
        except (UnicodeError, ValueError, TypeError) as exc:
            raise RejectedError(f"it is no message for Pub/Sub: {exc}") from exc
        with translated(f"publishing to {topic}"):
            # The low-level call: the client's own `publish` would batch and retry by itself.
            answer = BarePublisher.publish(
                self._client,
                request=types.PublishRequest.wrap(request),
                retry=self._retry,
                timeout=self._call_s,
            )
        if len(answer.message_ids) != len(messages):
            raise TransientError(
                f"publishing to {topic}: {len(answer.message_ids)} of {len(messages)} confirmed"
            )

    def subscriptions(self, topic: str) -> int:
        request = types.ListTopicSubscriptionsRequest(topic=topic, page_size=1)
        try:
            with translated(f"listing the subscriptions of {topic}"):
                pages = self._client.list_topic_subscriptions(
                    request=request, retry=self._retry, timeout=self._call_s
                )
                return sum(1 for _ in _first_of(pages))
        except RejectedError as exc:
            raise BlockedError(f"{exc}; mend [pubsub] project and events_topic") from exc

    def close(self) -> None:
        self._client.stop()
        self._client.transport.close()


def _request(topic: str, messages: Sequence[OutMessage]) -> Any:  # noqa: ANN401 - the library's own
    """Filled in place: messages and attributes as arguments would be copied, at three times the
    cost."""
    request = _Request(topic=topic)
    for body, attributes in messages:
        message = request.messages.add(data=body)
        for name, value in attributes.items():
            message.attributes[name] = value
    return request


def _first_of(pages: Any) -> Iterator[str]:  # noqa: ANN401 - the library's own
    for name in pages:
        yield name
        return
