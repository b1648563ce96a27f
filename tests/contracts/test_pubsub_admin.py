"""What `Admin` promises: Google's library on the local Pub/Sub, and the fake."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from cloud_bridge.errors import ConfigError, TransientError
from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.provision.admin import Admin
from cloud_bridge.provision.carrying_out import carry_out, compare, remove
from cloud_bridge.provision.fake_admin import FakeAdmin
from cloud_bridge.provision.google_admin import GoogleAdmin
from cloud_bridge.provision.plan import DAY_S, Plan, make_plan
from tests.kit.pubsub_clients import emulator_host


@pytest.fixture(scope="module")
def local_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with LocalPubsub(tmp_path_factory.mktemp("pubsub")) as pubsub:
        yield f"127.0.0.1:{pubsub.port}"


@pytest.fixture(params=["fake", "google's library on the local Pub/Sub"])
def admin(request: pytest.FixtureRequest, local_host: str) -> Iterator[Admin]:
    if request.param == "fake":
        yield FakeAdmin()
        return
    with emulator_host(local_host):
        google = GoogleAdmin()
    with google:
        yield google


@pytest.fixture
def plan() -> Plan:
    """Of a project that nobody has used yet."""
    return make_plan(f"p-{uuid4().hex[:20]}", registries=["home"])


def done(plan: Plan, admin: Admin) -> list[str]:
    return [step.did for step in carry_out(plan, admin)]


def test_an_empty_project_lacks_everything(plan: Plan, admin: Admin) -> None:
    found = compare(plan, admin)
    topics = [each.name for each in plan.topics]
    subscriptions = [each.name for each in plan.subscriptions]
    assert [each.resource for each in found] == topics + subscriptions


def test_what_was_made_is_as_wanted(plan: Plan, admin: Admin) -> None:
    assert set(done(plan, admin)) == {"made"}
    assert compare(plan, admin) == []
    for wanted in plan.subscriptions:
        assert admin.subscription(wanted.name) == wanted


def test_a_second_time_changes_nothing(plan: Plan, admin: Admin) -> None:
    done(plan, admin)
    assert set(done(plan, admin)) == {"as wanted"}


def test_half_a_plan_is_completed(plan: Plan, admin: Admin) -> None:
    for topic in plan.topics[:2]:
        admin.create_topic(topic)
    assert set(done(plan, admin)) == {"made", "as wanted"}
    assert compare(plan, admin) == []


def test_what_an_update_can_mend_is_mended(plan: Plan, admin: Admin) -> None:
    for topic in plan.topics:
        admin.create_topic(topic)
    wanted = next(each for each in plan.subscriptions if each.dead_letter_topic)
    changed = replace(
        wanted,
        keep_s=DAY_S,
        expires_after_s=2 * DAY_S,
        dead_letter_topic=None,
        attempts=None,
        ack_deadline_s=10,
        max_backoff_s=60,
    )
    admin.create_subscription(changed)
    found = {each.field for each in compare(plan, admin) if each.resource == wanted.name}
    assert found == {
        "keep_s",
        "expires_after_s",
        "dead_letter_topic",
        "attempts",
        "ack_deadline_s",
        "max_backoff_s",
    }
    assert "mended" in done(plan, admin)
    assert admin.subscription(wanted.name) == wanted


def test_what_nothing_can_mend_is_left_and_named(plan: Plan, admin: Admin) -> None:
    for topic in plan.topics:
        admin.create_topic(topic)
    wanted = next(each for each in plan.subscriptions if each.filter)
    admin.create_subscription(replace(wanted, filter='attributes.deviceRegistryId = "x"'))
    [step] = [each for each in carry_out(plan, admin) if each.did == "left"]
    assert [(each.resource, each.field) for each in step.left] == [(wanted.name, "filter")]
    assert [each.field for each in compare(plan, admin)] == ["filter"]


def test_one_that_is_there_is_not_made_again(plan: Plan, admin: Admin) -> None:
    done(plan, admin)
    wanted = plan.subscriptions[0]
    admin.create_topic(plan.topics[0])
    admin.create_subscription(replace(wanted, keep_s=DAY_S))
    assert admin.subscription(wanted.name) == wanted


def test_a_subscription_of_no_topic_is_refused(plan: Plan, admin: Admin) -> None:
    with pytest.raises(ConfigError, match="not found"):
        admin.create_subscription(plan.subscriptions[0])


def test_what_was_made_is_removed_and_a_second_time_is_no_harm(plan: Plan, admin: Admin) -> None:
    done(plan, admin)
    names = [each.name for each in plan.subscriptions] + [each.name for each in plan.topics]
    assert list(remove(plan, admin)) == [(name, True) for name in names]
    assert len(compare(plan, admin)) == len(names)
    assert list(remove(plan, admin)) == [(name, False) for name in names]
    assert set(done(plan, admin)) == {"made"}


# --- what the local Pub/Sub does not have --------------------------------------------------------


def with_bigquery() -> Plan:
    return make_plan(f"p-{uuid4().hex[:20]}", dataset="lake")


def test_the_local_pubsub_says_that_it_has_no_bigquery(local_host: str) -> None:
    plan = with_bigquery()
    with (
        emulator_host(local_host),
        GoogleAdmin() as google,
        pytest.raises(ConfigError, match=r"this Pub/Sub cannot do that .*without --bigquery"),
    ):
        done(plan, google)


def test_a_bigquery_subscription_wants_its_table_first() -> None:
    plan, admin = with_bigquery(), FakeAdmin()
    assert plan.table is not None
    with pytest.raises(ConfigError, match="not found"):
        done(plan, admin)
    admin.tables.add(plan.table.raw_name)
    with pytest.raises(ConfigError, match="no right"):
        done(plan, admin)
    admin.writable.add(plan.table.raw_name)
    assert set(done(plan, admin)) == {"made", "as wanted"}
    assert compare(plan, admin) == []


def test_a_table_that_went_is_trouble_that_no_update_mends() -> None:
    plan, admin = with_bigquery(), FakeAdmin()
    assert plan.table is not None
    admin.tables.add(plan.table.raw_name)
    admin.writable.add(plan.table.raw_name)
    done(plan, admin)
    admin.writable.clear()
    [found] = compare(plan, admin)
    assert (found.field, found.found, found.can_mend) == ("trouble", "PERMISSION_DENIED", False)
    calls = len(admin.calls)
    assert "left" in done(plan, admin)
    assert len(admin.calls) == calls


def test_nobody_there_is_told_as_such(tmp_path: Path) -> None:
    with LocalPubsub(tmp_path) as pubsub:
        host = f"127.0.0.1:{pubsub.port}"
    with emulator_host(host):
        google = GoogleAdmin()
    with google, pytest.raises(TransientError, match="try again: what was made stays"):
        google.topic("projects/some-project/topics/x")
