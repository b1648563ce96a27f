"""A consumer of events, as anybody would write it with Google's unmodified client: it stores, drops
repeats by event id, acknowledges; and here it keeps an account of each message besides.
"""

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from threading import Lock
from typing import Any, Self

from device.clocks import SystemClock
from tests.kit.history import RUN_STARTED, Handed, fingerprint
from tests.kit.pubsub_clients import Pubsub, Taker

CLOCK = SystemClock()


class Storing:
    """Takes what `subscription` streams, through outages of the server; a context manager."""

    def __init__(self, pubsub: Pubsub, subscription: str) -> None:
        self._lock = Lock()
        self._handed: list[Handed] = []
        self._stored: set[str] = set()
        self._streaming: AbstractContextManager[Any] = pubsub.taking(
            subscription, Taker(self._store)
        )

    def __enter__(self) -> Self:
        self._streaming.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:  # noqa: ANN401 - as every context manager
        self._streaming.__exit__(*exc)

    @property
    def handed(self) -> list[Handed]:
        """All so far, in the order of their arrival."""
        with self._lock:
            return list(self._handed)

    def since(self, index: int) -> list[Handed]:
        """All but the first so many."""
        with self._lock:
            return self._handed[index:]

    @property
    def count(self) -> int:
        """Events that are stored, each once."""
        with self._lock:
            return len(self._stored)

    def missing(self, ids: Iterable[str]) -> int:
        """How many of these have not arrived."""
        with self._lock:
            return sum(each not in self._stored for each in ids)

    def _store(self, message: Any) -> None:  # noqa: ANN401 - the library's own
        handed = handed_of(message)
        with self._lock:
            self._handed.append(handed)
            self._stored.add(handed.event_id)
        message.ack()


def handed_of(message: Any) -> Handed:  # noqa: ANN401 - the library's own
    """Of a message that was streamed or pulled."""
    attributes = message.attributes
    type_name = attributes["ce-type"]
    body = json.loads(message.data)
    made = datetime.fromisoformat(attributes["ce-time"])
    return Handed(
        event_id=attributes["ce-id"],
        message_id=message.message_id,
        content=fingerprint(type_name, body),
        body=body if type_name == RUN_STARTED else None,
        made_ns=round(made.timestamp() * 1e6) * 1000,
        arrived_ns=CLOCK.wall_ns(),
    )


def take_all(pubsub: Pubsub, subscription: str) -> list[Handed]:
    """What waits in a subscription that nobody listens to; nothing waits afterwards."""
    found: list[Handed] = []
    while received := pubsub.pull(subscription, 1000):
        found += [handed_of(each.message) for each in received]
        pubsub.acknowledge(subscription, received)
    return found
