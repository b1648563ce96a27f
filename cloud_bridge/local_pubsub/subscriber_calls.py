"""google.pubsub.v1.Subscriber, but for the stream."""

import asyncio
from contextlib import suppress
from typing import Any

import grpc

from cloud_bridge.local_pubsub import messages
from cloud_bridge.local_pubsub.calls import Context, page, unary
from cloud_bridge.local_pubsub.delivery import Holder
from cloud_bridge.local_pubsub.directory import Directory
from cloud_bridge.local_pubsub.exchange import Exchange
from cloud_bridge.local_pubsub.messages import Message
from cloud_bridge.local_pubsub.names import check_project
from cloud_bridge.local_pubsub.refusals import invalid, not_found
from cloud_bridge.local_pubsub.settings import (
    SUBSCRIPTION_UPDATES,
    check_seconds,
    complete_subscription,
    merge_update,
)
from cloud_bridge.local_pubsub.streams import Streams
from cloud_bridge.local_pubsub.subscription import Subscription

PULL_WAITS_S = 5.0
"""An empty answer comes after this long, or a little before the caller's own deadline."""

PULL_BYTES = 3_500_000
"""Plain gRPC clients take no more than 4 MB; a larger message goes alone."""

PULL_AT_MOST = 1000
READ_S = 1.0
"""How much longer than it may a call waits for messages that are being read from the disk."""


class SubscriberCalls:
    """Each method is the call of its name."""

    def __init__(self, exchange: Exchange, directory: Directory, streams: Streams) -> None:
        self._exchange = exchange
        self._directory = directory
        self._streams = streams

    def handler(self) -> Any:  # noqa: ANN401 - gRPC's own
        settings = messages.Subscription
        empty = messages.Empty
        return grpc.method_handlers_generic_handler(
            "google.pubsub.v1.Subscriber",
            {
                "CreateSubscription": unary(self.create, settings, settings),
                "UpdateSubscription": unary(
                    self.update, messages.UpdateSubscriptionRequest, settings
                ),
                "GetSubscription": unary(self.get, messages.GetSubscriptionRequest, settings),
                "DeleteSubscription": unary(self.delete, messages.DeleteSubscriptionRequest, empty),
                "ListSubscriptions": unary(
                    self.list, messages.ListSubscriptionsRequest, messages.ListSubscriptionsResponse
                ),
                "Pull": unary(self.pull, messages.PullRequest, messages.PullResponse),
                "Acknowledge": unary(self.acknowledge, messages.AcknowledgeRequest, empty),
                "ModifyAckDeadline": unary(self.modify, messages.ModifyAckDeadlineRequest, empty),
                "StreamingPull": grpc.stream_stream_rpc_method_handler(
                    self._streams.pull,
                    messages.StreamingPullRequest.FromString,
                    messages.StreamingPullResponse.SerializeToString,
                ),
            },
        )

    async def pull(self, request: Message, context: Context) -> Message:
        subscription = self._directory.subscription(request.subscription)
        if request.max_messages <= 0:
            raise invalid(f"max_messages is {request.max_messages}; want 1 or more.")
        remaining_s = context.time_remaining()
        wait_s = PULL_WAITS_S if remaining_s is None else min(PULL_WAITS_S, remaining_s * 0.8)
        await self._wait(subscription, 0.0 if request.return_immediately else wait_s)
        if subscription.is_deleted:
            raise not_found(request.subscription)
        taken = subscription.delivery.take(
            self._exchange.now_ns(),
            min(request.max_messages, PULL_AT_MOST),
            PULL_BYTES,
            subscription.settings.ack_deadline_seconds,
            Holder(),
        )
        return messages.PullResponse(received_messages=subscription.received(taken))

    async def _wait(self, subscription: Subscription, wait_s: float) -> None:
        """Until a message is ready, or the time is over and what the disk has was read."""
        clock = asyncio.get_running_loop().time
        ends_s = clock() + wait_s
        waker = asyncio.Event()
        subscription.wakers.add(waker)
        try:
            while not subscription.is_deleted:
                waker.clear()
                self._exchange.stock(subscription)
                left_s = ends_s - clock()
                if subscription.delivery.has_ready() or left_s < -READ_S:
                    break
                if left_s <= 0 and not subscription.is_refilling:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s if left_s > 0 else READ_S):
                        await waker.wait()
        finally:
            subscription.wakers.discard(waker)

    async def acknowledge(self, request: Message, context: Context) -> Message:
        subscription = self._directory.subscription(request.subscription)
        check_some(request.ack_ids)
        self._exchange.acknowledge(subscription, request.ack_ids)
        return messages.Empty()

    async def modify(self, request: Message, context: Context) -> Message:
        subscription = self._directory.subscription(request.subscription)
        check_some(request.ack_ids)
        seconds = [request.ack_deadline_seconds] * len(request.ack_ids)
        check_seconds(seconds)
        self._exchange.modify(subscription, request.ack_ids, seconds)
        return messages.Empty()

    async def create(self, settings: Message, context: Context) -> Message:
        rules = complete_subscription(settings)
        return (await self._directory.create_subscription(settings, rules)).settings

    async def update(self, request: Message, context: Context) -> Message:
        subscription = self._directory.subscription(request.subscription.name)
        settings = merge_update(
            subscription.settings,
            request.subscription,
            list(request.update_mask.paths),
            SUBSCRIPTION_UPDATES,
        )
        rules = complete_subscription(settings)
        await self._directory.change_subscription(subscription, settings, rules)
        return settings

    async def get(self, request: Message, context: Context) -> Message:
        return self._directory.subscription(request.subscription).settings

    async def delete(self, request: Message, context: Context) -> Message:
        await self._directory.delete_subscription(request.subscription)
        return messages.Empty()

    async def list(self, request: Message, context: Context) -> Message:
        check_project(request.project)
        subscriptions = self._directory.subscriptions
        names = sorted(name for name in subscriptions if name.startswith(f"{request.project}/"))
        found, token = page(names, request.page_size, request.page_token)
        return messages.ListSubscriptionsResponse(
            subscriptions=[subscriptions[name].settings for name in found], next_page_token=token
        )


def check_some(ack_ids: Message) -> None:
    """Raises RefusedError."""
    if not ack_ids:
        raise invalid("No ack ids specified; want at least one.")
