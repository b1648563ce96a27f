"""StreamingPull: messages down, acknowledgements up, never more out than the subscriber allows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from grpc import StatusCode

from cloud_bridge.local_pubsub.calls import Context
from cloud_bridge.local_pubsub.delivery import Entry, Holder
from cloud_bridge.local_pubsub.directory import Directory
from cloud_bridge.local_pubsub.exchange import Exchange
from cloud_bridge.local_pubsub.messages import Message, StreamingPullResponse
from cloud_bridge.local_pubsub.refusals import RefusedError, invalid, not_found
from cloud_bridge.local_pubsub.settings import check_seconds
from cloud_bridge.local_pubsub.subscription import Subscription

MESSAGES_AT_ONCE = 100
"""Of one response: small, so that several subscribers share a backlog."""

BYTES_AT_ONCE = 1_000_000
NO_LIMIT = 1 << 62


@dataclass(slots=True, eq=False)
class _Stream:
    subscription: Subscription
    lease_s: int
    max_messages: int
    max_bytes: int
    holder: Holder = field(default_factory=Holder)
    waker: asyncio.Event = field(default_factory=asyncio.Event)
    is_half_closed: bool = False
    """The subscriber has said that it sends no more: the stream ends well."""
    refusal: RefusedError | None = None


class Streams:
    """All that are open; `close` ends them so that client libraries come again."""

    def __init__(self, exchange: Exchange, directory: Directory) -> None:
        self._exchange = exchange
        self._directory = directory
        self._open: set[_Stream] = set()
        self._is_closing = False

    def close(self) -> None:
        self._is_closing = True
        for stream in self._open:
            stream.waker.set()

    async def pull(
        self, requests: AsyncIterator[Message], context: Context
    ) -> AsyncIterator[Message]:
        """The call. Leases outlive the stream, as acknowledgements may come by another way."""
        try:
            stream = await self._begin(requests)
        except RefusedError as refusal:
            await context.abort(refusal.code, refusal.words)
            return
        subscription = stream.subscription
        reader = asyncio.create_task(self._read(requests, stream))
        subscription.wakers.add(stream.waker)
        self._open.add(stream)
        try:
            # The client library waits for a first response before it calls the stream healthy.
            yield StreamingPullResponse(subscription_properties={})
            while (refusal_or_end := self._end(stream)) is None:
                stream.waker.clear()
                self._exchange.stock(subscription)
                taken = self._take(stream)
                if taken:
                    yield StreamingPullResponse(received_messages=subscription.received(taken))
                else:
                    await stream.waker.wait()
            if isinstance(refusal_or_end, RefusedError):
                await context.abort(refusal_or_end.code, refusal_or_end.words)
        finally:
            self._open.discard(stream)
            subscription.wakers.discard(stream.waker)
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    def _end(self, stream: _Stream) -> RefusedError | bool | None:
        """Why the stream ends: a refusal, or True where all is well; None while it goes on."""
        if stream.refusal is not None:
            return stream.refusal
        if stream.subscription.is_deleted:
            return not_found(stream.subscription.settings.name)
        if self._is_closing:
            return RefusedError(
                StatusCode.UNAVAILABLE, "The local Pub/Sub is stopping; come again."
            )
        return stream.is_half_closed or None

    def _take(self, stream: _Stream) -> list[Entry]:
        holder = stream.holder
        room = min(stream.max_messages - holder.messages, MESSAGES_AT_ONCE)
        room_bytes = min(stream.max_bytes - holder.size_bytes, BYTES_AT_ONCE)
        if room <= 0 or room_bytes <= 0:
            return []
        return stream.subscription.delivery.take(
            self._exchange.now_ns(), room, room_bytes, stream.lease_s, holder
        )

    async def _begin(self, requests: AsyncIterator[Message]) -> _Stream:
        """Raises RefusedError."""
        first = await anext(aiter(requests), None)
        if first is None:
            raise invalid("The stream ended before its first request.")
        subscription = self._directory.subscription(first.subscription)
        stream = _Stream(
            subscription,
            _lease_s(first),
            first.max_outstanding_messages if first.max_outstanding_messages > 0 else NO_LIMIT,
            first.max_outstanding_bytes if first.max_outstanding_bytes > 0 else NO_LIMIT,
        )
        self._obey(first, stream)
        return stream

    async def _read(self, requests: AsyncIterator[Message], stream: _Stream) -> None:
        try:
            async for request in requests:
                if request.subscription or request.max_outstanding_messages > 0:
                    raise invalid(
                        "A later request names a subscription or limits; want them in the first."
                    )
                if request.stream_ack_deadline_seconds:
                    stream.lease_s = _lease_s(request)
                self._obey(request, stream)
            stream.is_half_closed = True
        except RefusedError as refusal:
            stream.refusal = refusal
        finally:
            stream.waker.set()

    def _obey(self, request: Message, stream: _Stream) -> None:
        """Raises RefusedError. A request without anything is a sign of life."""
        if request.ack_ids:
            self._exchange.acknowledge(stream.subscription, request.ack_ids)
        if request.modify_deadline_ack_ids:
            seconds = request.modify_deadline_seconds
            if len(seconds) != len(request.modify_deadline_ack_ids):
                raise invalid(
                    f"{len(request.modify_deadline_ack_ids)} ack ids and {len(seconds)} deadlines; "
                    "want one for each."
                )
            check_seconds(seconds)
            self._exchange.modify(stream.subscription, request.modify_deadline_ack_ids, seconds)


def _lease_s(request: Message) -> int:
    seconds = int(request.stream_ack_deadline_seconds)
    if not 10 <= seconds <= 600:
        raise invalid(f"stream_ack_deadline_seconds is {seconds}; want 10 to 600.")
    return seconds
