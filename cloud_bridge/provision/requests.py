"""Plans to Google's requests and back, and requests to text."""

import json
from typing import Any

from google.protobuf import duration_pb2, field_mask_pb2
from google.pubsub_v1 import types

from cloud_bridge.provision.plan import Subscription, Topic

MASKS = {
    "keep_s": "message_retention_duration",
    "ack_deadline_s": "ack_deadline_seconds",
    "expires_after_s": "expiration_policy",
    "dead_letter_topic": "dead_letter_policy",
    "attempts": "dead_letter_policy",
    "min_backoff_s": "retry_policy",
    "max_backoff_s": "retry_policy",
    "push_endpoint": "push_config",
    "table": "bigquery_config",
    "writes_metadata": "bigquery_config",
}
"""Which field of Google's message holds which of ours."""


def topic_message(topic: Topic) -> types.Topic:
    return types.Topic(name=topic.name)


def subscription_message(subscription: Subscription) -> types.Subscription:
    """An expiration policy without a time says: never. Without a policy it would be 31 days."""
    message = types.Subscription(
        name=subscription.name,
        topic=subscription.topic,
        ack_deadline_seconds=subscription.ack_deadline_s,
        message_retention_duration=_duration(subscription.keep_s),
        expiration_policy=types.ExpirationPolicy(),
        filter=subscription.filter,
    )
    if subscription.expires_after_s is not None:
        message.expiration_policy.ttl = _duration(subscription.expires_after_s)
    if subscription.dead_letter_topic is not None:
        message.dead_letter_policy = types.DeadLetterPolicy(
            dead_letter_topic=subscription.dead_letter_topic,
            max_delivery_attempts=subscription.attempts or 0,
        )
    if subscription.min_backoff_s is not None and subscription.max_backoff_s is not None:
        message.retry_policy = types.RetryPolicy(
            minimum_backoff=_duration(subscription.min_backoff_s),
            maximum_backoff=_duration(subscription.max_backoff_s),
        )
    if subscription.table is not None:
        message.bigquery_config = types.BigQueryConfig(
            table=subscription.table, write_metadata=subscription.writes_metadata
        )
    return message


def update_message(subscription: Subscription, fields: frozenset[str]) -> dict[str, Any]:
    """As `update_subscription` takes it."""
    masks = sorted({MASKS[field] for field in fields})
    return {
        "subscription": subscription_message(subscription),
        "update_mask": field_mask_pb2.FieldMask(paths=masks),
    }


def topic_of(message: types.Topic) -> Topic:
    return Topic(name=message.name, schema=message.schema_settings.schema or None)


def subscription_of(message: types.Subscription) -> Subscription:
    """As the service has it."""
    raw = types.Subscription.pb(message)
    never = raw.HasField("expiration_policy") and not raw.expiration_policy.HasField("ttl")
    has_dead_letters = bool(raw.dead_letter_policy.dead_letter_topic)
    has_retries = raw.HasField("retry_policy")
    table = raw.bigquery_config.table or None
    states = types.BigQueryConfig.State
    state = states(raw.bigquery_config.state)
    is_well = table is None or state in (states.ACTIVE, states.STATE_UNSPECIFIED)
    return Subscription(
        name=raw.name,
        topic=raw.topic,
        keep_s=raw.message_retention_duration.seconds,
        ack_deadline_s=raw.ack_deadline_seconds,
        expires_after_s=None if never else raw.expiration_policy.ttl.seconds or 31 * 24 * 3600,
        filter=raw.filter,
        dead_letter_topic=raw.dead_letter_policy.dead_letter_topic if has_dead_letters else None,
        attempts=raw.dead_letter_policy.max_delivery_attempts if has_dead_letters else None,
        min_backoff_s=raw.retry_policy.minimum_backoff.seconds if has_retries else None,
        max_backoff_s=raw.retry_policy.maximum_backoff.seconds if has_retries else None,
        push_endpoint=raw.push_config.push_endpoint or None,
        # The service answers with a colon or a dot between project and dataset.
        table=None if table is None else table.replace(":", "."),
        writes_metadata=raw.bigquery_config.write_metadata,
        is_detached=raw.detached,
        trouble=None if is_well else state.name,
    )


def as_text(message: Any) -> str:  # noqa: ANN401 - proto-plus has no common type
    """JSON, with the names that Google's reference has."""
    kind = type(message)
    return json.dumps(
        json.loads(
            kind.to_json(
                message,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=False,
            )
        ),
        indent=2,
    )


def _duration(seconds: int) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=seconds)
