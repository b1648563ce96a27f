"""Plans to Google's requests and back."""

from dataclasses import fields, replace

import pytest
from google.pubsub_v1 import types

from cloud_bridge.provision.plan import FIXED, NOT_OURS, Subscription, make_plan
from cloud_bridge.provision.requests import (
    MASKS,
    as_text,
    subscription_message,
    subscription_of,
    topic_message,
    topic_of,
    update_message,
)

PLAN = make_plan("some-project", registries=["home"], dataset="lake")


@pytest.mark.parametrize("wanted", PLAN.subscriptions, ids=lambda each: each.name.split("/")[-1])
def test_a_subscription_comes_back_as_it_was_wanted(wanted: Subscription) -> None:
    sent = types.Subscription.serialize(subscription_message(wanted))
    assert subscription_of(types.Subscription.deserialize(sent)) == wanted


def test_a_topic_comes_back_as_it_was_wanted() -> None:
    for wanted in PLAN.topics:
        assert topic_of(topic_message(wanted)) == wanted


def test_never_is_a_policy_without_a_time_and_no_policy_is_31_days() -> None:
    wanted = PLAN.subscriptions[0]
    message = types.Subscription.pb(subscription_message(wanted))
    assert message.HasField("expiration_policy")
    assert not message.expiration_policy.HasField("ttl")
    message.ClearField("expiration_policy")
    found = subscription_of(types.Subscription.wrap(message))
    assert found == replace(wanted, expires_after_s=31 * 24 * 3600)


def test_a_table_that_cannot_be_written_is_trouble() -> None:
    [wanted] = [each for each in PLAN.subscriptions if each.table]
    message = types.Subscription.pb(subscription_message(wanted))
    for state, trouble in (("PERMISSION_DENIED", "PERMISSION_DENIED"), ("ACTIVE", None)):
        message.bigquery_config.state = types.BigQueryConfig.State.__members__[state]
        found = subscription_of(types.Subscription.wrap(message))
        assert found == replace(wanted, trouble=trouble)


def test_every_field_that_an_update_mends_has_a_mask() -> None:
    ours = {field.name for field in fields(Subscription)} - {"name"}
    assert ours - FIXED - NOT_OURS == set(MASKS)


def test_an_update_names_each_field_of_googles_once() -> None:
    [wanted] = [each for each in PLAN.subscriptions if each.table]
    update = update_message(wanted, frozenset({"attempts", "dead_letter_topic", "keep_s"}))
    assert list(update["update_mask"].paths) == [
        "dead_letter_policy",
        "message_retention_duration",
    ]


def test_a_request_is_printed_as_googles_reference_has_it() -> None:
    [wanted] = [each for each in PLAN.subscriptions if each.table]
    text = as_text(subscription_message(wanted))
    assert '"expiration_policy": {}' in text
    assert '"write_metadata": true' in text
    assert '"max_delivery_attempts": 100' in text
