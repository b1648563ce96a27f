"""google.pubsub.v1.Publisher."""

from typing import Any

import grpc

from cloud_bridge.local_pubsub import messages
from cloud_bridge.local_pubsub.calls import Context, page, unary
from cloud_bridge.local_pubsub.directory import Directory
from cloud_bridge.local_pubsub.exchange import Exchange
from cloud_bridge.local_pubsub.limits import check_publish
from cloud_bridge.local_pubsub.messages import Message
from cloud_bridge.local_pubsub.names import check_project
from cloud_bridge.local_pubsub.settings import TOPIC_UPDATES, check_topic_settings, merge_update


class PublisherCalls:
    """Each method is the call of its name."""

    def __init__(self, exchange: Exchange, directory: Directory) -> None:
        self._exchange = exchange
        self._directory = directory

    def handler(self) -> Any:  # noqa: ANN401 - gRPC's own
        topic = messages.Topic
        listed = messages.ListTopicSubscriptionsResponse
        return grpc.method_handlers_generic_handler(
            "google.pubsub.v1.Publisher",
            {
                "CreateTopic": unary(self.create, topic, topic),
                "UpdateTopic": unary(self.update, messages.UpdateTopicRequest, topic),
                "GetTopic": unary(self.get, messages.GetTopicRequest, topic),
                "DeleteTopic": unary(self.delete, messages.DeleteTopicRequest, messages.Empty),
                "ListTopics": unary(
                    self.list, messages.ListTopicsRequest, messages.ListTopicsResponse
                ),
                "ListTopicSubscriptions": unary(
                    self.list_subscriptions, messages.ListTopicSubscriptionsRequest, listed
                ),
                "Publish": unary(self.publish, messages.PublishRequest, messages.PublishResponse),
            },
        )

    async def publish(self, request: Message, context: Context) -> Message:
        check_publish(request)
        ids = await self._exchange.publish(request.topic, request.messages)
        return messages.PublishResponse(message_ids=ids)

    async def create(self, topic: Message, context: Context) -> Message:
        check_topic_settings(topic)
        topic.state = messages.Topic.State.Value("ACTIVE")
        await self._directory.put_topic(topic, is_new=True)
        return topic

    async def update(self, request: Message, context: Context) -> Message:
        topic = merge_update(
            self._directory.topic(request.topic.name),
            request.topic,
            list(request.update_mask.paths),
            TOPIC_UPDATES,
        )
        check_topic_settings(topic)
        await self._directory.put_topic(topic, is_new=False)
        return topic

    async def get(self, request: Message, context: Context) -> Message:
        return self._directory.topic(request.topic)

    async def delete(self, request: Message, context: Context) -> Message:
        await self._directory.delete_topic(request.topic)
        return messages.Empty()

    async def list(self, request: Message, context: Context) -> Message:
        check_project(request.project)
        topics = self._directory.topics
        names = sorted(name for name in topics if name.startswith(f"{request.project}/"))
        found, token = page(names, request.page_size, request.page_token)
        return messages.ListTopicsResponse(
            topics=[topics[name] for name in found], next_page_token=token
        )

    async def list_subscriptions(self, request: Message, context: Context) -> Message:
        self._directory.topic(request.topic)
        names = sorted(
            name
            for name, subscription in self._directory.subscriptions.items()
            if subscription.settings.topic == request.topic
        )
        found, token = page(names, request.page_size, request.page_token)
        return messages.ListTopicSubscriptionsResponse(subscriptions=found, next_page_token=token)
