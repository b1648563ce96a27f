"""What a project is to have."""

from dataclasses import replace

import pytest

from cloud_bridge.errors import ConfigError
from cloud_bridge.provision.plan import DAY_S, differences, make_plan

PLAN = make_plan("some-project", dataset="lake")


def test_no_subscription_ever_expires() -> None:
    assert {each.expires_after_s for each in PLAN.subscriptions} == {None}


def test_every_topic_has_a_subscription_for_pubsub_drops_what_has_none() -> None:
    assert {each.topic for each in PLAN.subscriptions} == {each.name for each in PLAN.topics}


def test_dead_letters_are_kept_before_the_first_can_come() -> None:
    names = [each.name for each in PLAN.subscriptions]
    first = next(i for i, each in enumerate(PLAN.subscriptions) if each.dead_letter_topic)
    dead = next(
        i for i, each in enumerate(PLAN.subscriptions) if each.topic.endswith("-dead-letters")
    )
    assert dead < first, names
    assert PLAN.subscriptions[dead].keep_s == 31 * DAY_S


def test_events_that_nobody_can_take_go_aside() -> None:
    to = {
        each.name.rpartition("/")[2]: (each.dead_letter_topic or "").rpartition("/")[2]
        for each in PLAN.subscriptions
    }
    assert to["lookout-events-dashboard"] == "lookout-dead-letters"
    assert to["lookout-events-bigquery"] == "lookout-dead-letters"
    assert to["lookout-dead-letters-inspect"] == ""


def test_registries_share_the_downlink() -> None:
    plan = make_plan("some-project", registries=["home", "farm", "home"])
    found = {each.name: each.filter for each in plan.subscriptions if "downlink" in each.name}
    assert found == {
        "projects/some-project/subscriptions/lookout-downlink-home": (
            'attributes.deviceRegistryId = "home"'
        ),
        "projects/some-project/subscriptions/lookout-downlink-farm": (
            'attributes.deviceRegistryId = "farm"'
        ),
    }


def test_the_names_are_those_that_the_bridge_has_by_default() -> None:
    assert [each.name.rpartition("/")[2] for each in PLAN.topics] == [
        "lookout-events",
        "lookout-state",
        "lookout-downlink",
        "lookout-dead-letters",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"project": "My Project"}, "project 'My Project'"),
        ({"project": "p`; DROP TABLE x"}, "project"),
        ({"prefix": "goog/x"}, "prefix 'goog/x'"),
        ({"dataset": "my-lake"}, "dataset 'my-lake'"),
        ({"dataset": "lake`"}, "dataset"),
        ({"keep_days": 0}, "0 days of retention; want 1 to 31"),
        ({"keep_days": 32}, "32 days"),
    ],
)
def test_names_that_would_be_refused_are_refused_at_once(
    words: dict[str, str | int], said: str
) -> None:
    given: dict[str, object] = {"project": "some-project", **words}
    with pytest.raises(ConfigError, match=said):
        make_plan(given.pop("project"), **given)  # type: ignore[arg-type]


def test_what_is_as_wanted_has_no_differences() -> None:
    for topic in PLAN.topics:
        assert differences(topic, topic) == []
    for subscription in PLAN.subscriptions:
        assert differences(subscription, subscription) == []


def test_what_is_missing_is_one_difference() -> None:
    [found] = differences(PLAN.topics[0], None)
    assert (found.field, found.can_mend) == (None, True)


@pytest.mark.parametrize(
    ("change", "can_mend"),
    [
        ({"keep_s": 600}, True),
        ({"expires_after_s": 31 * DAY_S}, True),
        ({"dead_letter_topic": None}, True),
        ({"attempts": 5}, True),
        ({"push_endpoint": "https://example.org/"}, True),
        ({"table": "some-project.lake.other"}, True),
        ({"filter": "hasPrefix(attributes.x, 'y')"}, False),
        ({"topic": "_deleted-topic_"}, False),
        ({"is_detached": True}, False),
        ({"trouble": "PERMISSION_DENIED"}, False),
    ],
)
def test_every_difference_is_named_with_whether_an_update_mends_it(
    change: dict[str, object], can_mend: bool
) -> None:
    wanted = PLAN.subscriptions[1]
    found = replace(wanted, **change)  # type: ignore[arg-type]
    [difference] = differences(wanted, found)
    [(name, value)] = change.items()
    assert (difference.field, difference.found) == (name, value)
    assert difference.can_mend is can_mend
