"""Google's subscriber behind the downlink's port: its low-level Pull and Acknowledge calls."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.pubsub_v1 import types

from cloud_bridge.clocks import WAITS, Waits
from cloud_bridge.errors import BlockedError, RejectedError
from cloud_bridge.google_client import make_subscriber_client, translated
from cloud_bridge.ports import Received

AT_ONCE = 100


class GoogleCommands:
    """Matches `ports.CommandSource`. subscription: `projects/P/subscriptions/S`.

    address: HOST:PORT of a Pub/Sub that is not Google's; else the environment's.
    """

    def __init__(
        self,
        subscription: str,
        credentials_file: Path | None = None,
        waits: Waits = WAITS,
        monotonic_s: Callable[[], float] = time.monotonic,
        address: str | None = None,
    ) -> None:
        """Raises ConfigError."""
        self._monotonic_s = monotonic_s
        self._retry = Retry(
            predicate=if_exception_type(exceptions.Aborted, exceptions.ServiceUnavailable),
            initial=0.1,
            maximum=1.0,
            timeout=waits.library_retry_s,
        )
        self._waits = waits
        self._subscription = subscription
        self._client = make_subscriber_client(credentials_file, address)

    def pull(self) -> list[Received]:
        request = types.PullRequest(subscription=self._subscription, max_messages=AT_ONCE)
        began_s = self._monotonic_s()
        try:
            with translated(f"pulling from {self._subscription}"):
                try:
                    answer = self._client.pull(
                        request=request, retry=None, timeout=self._waits.pull_s
                    )
                except exceptions.DeadlineExceeded:
                    if self._monotonic_s() - began_s < self._waits.pull_s / 2:
                        raise  # not our deadline: something on the way is in trouble
                    return []  # nothing came
        except RejectedError as exc:
            raise BlockedError(f"{exc}; mend [pubsub] downlink_subscription") from exc
        return [
            Received(each.ack_id, bytes(each.message.data), dict(each.message.attributes))
            for each in answer.received_messages
        ]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        request = types.AcknowledgeRequest(subscription=self._subscription, ack_ids=ack_ids)
        try:
            with translated(f"acknowledging to {self._subscription}"):
                self._client.acknowledge(
                    request=request, retry=self._retry, timeout=self._waits.call_s
                )
        except RejectedError:
            return  # too late for some of them: they come again

    def close(self) -> None:
        self._client.close()
