"""The messages of google.pubsub.v1 in their plain protobuf form.

google-cloud-pubsub wraps each in a slower class; `.pb()` gives the one below. They are made at
run time, so they have no types that mypy could know.
"""

from typing import Any, TypeAlias

from google.protobuf import empty_pb2, timestamp_pb2
from google.pubsub_v1 import types

Message: TypeAlias = Any
"""A protobuf message, named where it is used."""

MessageClass: TypeAlias = Any

Empty: MessageClass = empty_pb2.Empty
Timestamp: MessageClass = timestamp_pb2.Timestamp

Topic: MessageClass = types.Topic.pb()
GetTopicRequest: MessageClass = types.GetTopicRequest.pb()
UpdateTopicRequest: MessageClass = types.UpdateTopicRequest.pb()
DeleteTopicRequest: MessageClass = types.DeleteTopicRequest.pb()
ListTopicsRequest: MessageClass = types.ListTopicsRequest.pb()
ListTopicsResponse: MessageClass = types.ListTopicsResponse.pb()
ListTopicSubscriptionsRequest: MessageClass = types.ListTopicSubscriptionsRequest.pb()
ListTopicSubscriptionsResponse: MessageClass = types.ListTopicSubscriptionsResponse.pb()
PublishRequest: MessageClass = types.PublishRequest.pb()
PublishResponse: MessageClass = types.PublishResponse.pb()
PubsubMessage: MessageClass = types.PubsubMessage.pb()

Subscription: MessageClass = types.Subscription.pb()
GetSubscriptionRequest: MessageClass = types.GetSubscriptionRequest.pb()
UpdateSubscriptionRequest: MessageClass = types.UpdateSubscriptionRequest.pb()
DeleteSubscriptionRequest: MessageClass = types.DeleteSubscriptionRequest.pb()
ListSubscriptionsRequest: MessageClass = types.ListSubscriptionsRequest.pb()
ListSubscriptionsResponse: MessageClass = types.ListSubscriptionsResponse.pb()
PullRequest: MessageClass = types.PullRequest.pb()
PullResponse: MessageClass = types.PullResponse.pb()
ReceivedMessage: MessageClass = types.ReceivedMessage.pb()
AcknowledgeRequest: MessageClass = types.AcknowledgeRequest.pb()
ModifyAckDeadlineRequest: MessageClass = types.ModifyAckDeadlineRequest.pb()
StreamingPullRequest: MessageClass = types.StreamingPullRequest.pb()
StreamingPullResponse: MessageClass = types.StreamingPullResponse.pb()
