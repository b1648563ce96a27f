"""What a topic or a subscription is asked to be: checked, defaults filled in, or refused.

What is not there is refused with UNIMPLEMENTED: an option that is taken and not obeyed would lose
or double messages in silence.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cloud_bridge.local_pubsub.filters import FilterError, Predicate, parse_filter
from cloud_bridge.local_pubsub.messages import Message
from cloud_bridge.local_pubsub.names import check_subscription, check_topic
from cloud_bridge.local_pubsub.refusals import invalid, unimplemented

DAY_S = 24 * 3600
ACK_DEADLINE_S = 10
MAX_LEASE_S = 600
RETENTION_S = 7 * DAY_S
MAX_ATTEMPTS = 5
MIN_BACKOFF_S = 10.0
MAX_BACKOFF_S = 600.0

_NO_TOPIC_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "schema_settings": "a topic without a schema, and a check by whoever publishes",
        "ingestion_data_source_settings": "a program that publishes",
        "message_transforms": "a subscriber that transforms",
        "kms_key_name": "an encrypted disk under the data folder",
    }
)
_NO_SUBSCRIPTION_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "push_config": "Pull or StreamingPull",
        "bigquery_config": "a subscriber that writes to BigQuery",
        "cloud_storage_config": "a subscriber that writes to Cloud Storage",
        "bigtable_config": "a subscriber that writes to Bigtable",
        "enable_message_ordering": "an order by a number of the messages' own",
        "enable_exactly_once_delivery": "a subscriber that drops repeats by the event's id",
        "retain_acked_messages": "a subscriber that keeps what it has acknowledged",
        "message_transforms": "a subscriber that transforms",
    }
)
TOPIC_UPDATES = frozenset({"labels", "message_retention_duration"})
SUBSCRIPTION_UPDATES = frozenset(
    {
        "ack_deadline_seconds",
        "labels",
        "message_retention_duration",
        "dead_letter_policy",
        "retry_policy",
        "expiration_policy",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the messages of one subscription are handed out.

    max_attempts, dead_letter_topic: None where there is no dead-letter policy.
    min_backoff_s, max_backoff_s: None where nacked messages come back at once.
    """

    passes: Predicate
    ack_deadline_s: int
    retention_s: float
    dead_letter_topic: str | None
    max_attempts: int | None
    min_backoff_s: float | None
    max_backoff_s: float | None

    def backoff_s(self, attempts: int) -> float:
        """How long a message rests after its `attempts`-th delivery has failed."""
        if self.min_backoff_s is None or self.max_backoff_s is None:
            return 0.0
        # 2 ** 20 doublings are beyond every allowed maximum already.
        return min(self.min_backoff_s * 2.0 ** min(attempts - 1, 20), self.max_backoff_s)


def check_topic_settings(topic: Message) -> None:
    """Raises RefusedError."""
    check_topic(topic.name)
    _refuse_absent(topic, _NO_TOPIC_FIELDS)
    if topic.HasField("message_retention_duration"):
        _check_retention(_seconds(topic.message_retention_duration))


def complete_subscription(subscription: Message) -> Rules:
    """Fill in the defaults of the real service, in place; what follows for delivery.

    Raises:
        RefusedError: a value out of range, or an option that is not there.
    """
    check_subscription(subscription.name)
    _refuse_absent(subscription, _NO_SUBSCRIPTION_FIELDS)
    subscription.ack_deadline_seconds = subscription.ack_deadline_seconds or ACK_DEADLINE_S
    if not 10 <= subscription.ack_deadline_seconds <= 600:
        raise invalid(
            f"Invalid ack deadline given: {subscription.ack_deadline_seconds}; want 10 to 600 s."
        )
    if not subscription.HasField("message_retention_duration"):
        subscription.message_retention_duration.seconds = RETENTION_S
    retention_s = _seconds(subscription.message_retention_duration)
    _check_retention(retention_s)
    subscription.state = type(subscription).State.Value("ACTIVE")
    max_attempts = _complete_dead_letters(subscription)
    backoffs = _complete_retries(subscription)
    return Rules(
        passes=_predicate(subscription.filter),
        ack_deadline_s=subscription.ack_deadline_seconds,
        retention_s=retention_s,
        dead_letter_topic=subscription.dead_letter_policy.dead_letter_topic or None,
        max_attempts=max_attempts,
        min_backoff_s=None if backoffs is None else backoffs[0],
        max_backoff_s=None if backoffs is None else backoffs[1],
    )


def check_seconds(deadlines_s: Iterable[int]) -> None:
    """Of a lease, from now on; 0 ends it. Raises RefusedError."""
    for seconds in deadlines_s:
        if not 0 <= seconds <= MAX_LEASE_S:
            raise invalid(f"Invalid ack deadline given: {seconds}; want 0 to {MAX_LEASE_S} s.")


def merge_update(old: Message, new: Message, paths: list[str], allowed: frozenset[str]) -> Message:
    """A copy of `old` with the named fields of `new`.

    Raises:
        RefusedError: no field named, or one that cannot be changed.
    """
    if not paths:
        raise invalid("The update_mask is empty; want the names of the fields to change.")
    merged = type(old)()
    merged.CopyFrom(old)
    known = {field.name for field in old.DESCRIPTOR.fields}
    for path in paths:
        field = path.partition(".")[0]
        if field not in known:
            raise invalid(f"Invalid update_mask: no field {path!r}.")
        absent = _NO_SUBSCRIPTION_FIELDS.get(field) or _NO_TOPIC_FIELDS.get(field)
        if absent is not None:
            raise unimplemented(field, absent)
        if field not in allowed:
            raise invalid(
                f"Invalid update_mask: {path} cannot be changed; want {', '.join(sorted(allowed))}."
            )
        merged.ClearField(field)
        partial = type(new)()
        partial.CopyFrom(new)
        for other in known - {field}:
            partial.ClearField(other)
        merged.MergeFrom(partial)
    return merged


def _refuse_absent(message: Message, absent: Mapping[str, str]) -> None:
    for descriptor, value in message.ListFields():
        instead = absent.get(descriptor.name)
        # An empty push_config is how client libraries say: pull.
        if instead is not None and not (descriptor.name == "push_config" and _is_pull(value)):
            raise unimplemented(descriptor.name, instead)


def _is_pull(push_config: Message) -> bool:
    return not push_config.push_endpoint


def _check_retention(seconds: float) -> None:
    if not 600 <= seconds <= 31 * DAY_S:
        raise invalid(f"message_retention_duration is {seconds:g} s; want 10 minutes to 31 days.")


def _complete_dead_letters(subscription: Message) -> int | None:
    if not subscription.HasField("dead_letter_policy"):
        return None
    policy = subscription.dead_letter_policy
    check_topic(policy.dead_letter_topic)
    policy.max_delivery_attempts = policy.max_delivery_attempts or MAX_ATTEMPTS
    if not 5 <= policy.max_delivery_attempts <= 100:
        raise invalid(f"max_delivery_attempts is {policy.max_delivery_attempts}; want 5 to 100.")
    return int(policy.max_delivery_attempts)


def _complete_retries(subscription: Message) -> tuple[float, float] | None:
    if not subscription.HasField("retry_policy"):
        return None
    policy = subscription.retry_policy
    if not policy.HasField("minimum_backoff"):
        policy.minimum_backoff.seconds = round(MIN_BACKOFF_S)
    if not policy.HasField("maximum_backoff"):
        policy.maximum_backoff.seconds = round(MAX_BACKOFF_S)
    least_s, most_s = _seconds(policy.minimum_backoff), _seconds(policy.maximum_backoff)
    if not 0 <= least_s <= most_s <= MAX_BACKOFF_S:
        raise invalid(
            f"retry_policy has {least_s:g} to {most_s:g} s; want 0 <= minimum_backoff <= "
            f"maximum_backoff <= {MAX_BACKOFF_S:g} s."
        )
    return least_s, most_s


def _predicate(text: str) -> Predicate:
    try:
        return parse_filter(text)
    except FilterError as exc:
        raise invalid(f"Invalid filter: {exc}.") from exc


def _seconds(duration: Message) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9
