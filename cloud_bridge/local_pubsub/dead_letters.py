"""What becomes of a message that failed too often: a copy that says where it comes from.

Source of the attributes: the page "Dead-letter topics" of Pub/Sub.
"""

from cloud_bridge.local_pubsub.delivery import Entry
from cloud_bridge.local_pubsub.messages import Message, PubsubMessage
from cloud_bridge.local_pubsub.names import project_of
from cloud_bridge.local_pubsub.refusals import last_part

PREFIX = "CloudPubSubDeadLetterSource"


def dead_letter(entry: Entry, subscription: str) -> Message:
    """A message to publish to the dead-letter topic; id and time are still those of the source."""
    message = PubsubMessage.FromString(entry.body)
    published = message.publish_time.ToJsonString()
    message.attributes[f"{PREFIX}DeliveryCount"] = str(entry.attempts)
    message.attributes[f"{PREFIX}Subscription"] = last_part(subscription)
    message.attributes[f"{PREFIX}SubscriptionProject"] = last_part(project_of(subscription))
    message.attributes[f"{PREFIX}TopicPublishTime"] = published
    return message
