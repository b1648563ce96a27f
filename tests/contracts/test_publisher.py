"""What every way to Pub/Sub promises; Google's library against the local one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud_bridge.errors import BlockedError, RejectedError
from cloud_bridge.forward.fake_publisher import FakePublisher
from cloud_bridge.forward.google_pubsub import GooglePublisher
from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.ports import OutMessage, Publisher
from tests.kit.bridge import EVENTS, STATES
from tests.kit.google_emulator import GoogleEmulator, find_emulator
from tests.kit.pubsub_clients import Pubsub, emulator_host


@dataclass
class Stage:
    """EVENTS has a subscription, STATES none. stored: what the subscription holds."""

    publisher: Publisher
    stored: Callable[[], list[tuple[bytes, dict[str, str]]]]


def fake_stage(_folder: Path) -> Iterator[Stage]:
    fake = FakePublisher({EVENTS: 1, STATES: 0})

    def stored() -> list[tuple[bytes, dict[str, str]]]:
        return [(message.body, dict(message.attributes)) for message in fake.stored[EVENTS]]

    yield Stage(fake, stored)


def google_stage(folder: Path) -> Iterator[Stage]:
    with LocalPubsub(folder) as server:
        yield from stage_at(f"127.0.0.1:{server.port}")


def emulator_stage(_folder: Path) -> Iterator[Stage]:
    if EMULATOR is None:
        raise AssertionError("there is no emulator")
    with GoogleEmulator(EMULATOR) as emulator:
        yield from stage_at(emulator.host)


def stage_at(host: str) -> Iterator[Stage]:
    with Pubsub(host) as clients:
        for topic in (EVENTS, STATES):
            clients.publisher.create_topic(name=topic)
        subscription = clients.subscription(EVENTS)
        with emulator_host(host):
            publisher = GooglePublisher()

        def stored() -> list[tuple[bytes, dict[str, str]]]:
            received = clients.pull_some(subscription, 1000)
            return [(bytes(each.message.data), dict(each.message.attributes)) for each in received]

        yield Stage(publisher, stored)
        publisher.close()


STAGES = {"fake": fake_stage, "google": google_stage}
DIFFERENCES = {
    "test_subscriptions_of_a_topic_that_is_not_there_cannot_be_counted": (
        "the emulator lists none, which keeps the bridge from forwarding too"
    ),
}
"""Tests that Google's emulator fails, and the real service would pass."""

EMULATOR = find_emulator()
if EMULATOR is not None:
    STAGES["emulator"] = emulator_stage


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    reason = DIFFERENCES.get(request.function.__name__)
    if reason is not None and request.param == "emulator":
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    yield from STAGES[request.param](tmp_path)


def test_what_is_confirmed_is_stored_with_its_attributes(stage: Stage) -> None:
    messages = [OutMessage(f"{n}".encode(), {"deviceId": f"gärten-{n}"}) for n in range(20)]
    stage.publisher.publish(EVENTS, messages)
    assert sorted(stage.stored()) == sorted((each.body, dict(each.attributes)) for each in messages)


def test_an_attribute_may_be_called_topic(stage: Stage) -> None:
    stage.publisher.publish(EVENTS, [OutMessage(b"1", {"topic": "x", "self": "y"})])
    assert stage.stored() == [(b"1", {"topic": "x", "self": "y"})]


def test_a_topic_that_is_not_there_blocks(stage: Stage) -> None:
    with pytest.raises(BlockedError):
        stage.publisher.publish(f"{EVENTS}-other", [OutMessage(b"1", {})])


def test_subscriptions_of_a_topic_that_is_not_there_cannot_be_counted(stage: Stage) -> None:
    with pytest.raises(BlockedError):
        stage.publisher.subscriptions(f"{EVENTS}-other")


def test_subscriptions_are_counted(stage: Stage) -> None:
    assert stage.publisher.subscriptions(EVENTS) == 1
    assert stage.publisher.subscriptions(STATES) == 0


def test_too_many_messages_are_rejected_whole(stage: Stage) -> None:
    messages = [OutMessage(f"{n}".encode(), {}) for n in range(1001)]
    with pytest.raises(RejectedError):
        stage.publisher.publish(EVENTS, messages)
    stage.publisher.publish(EVENTS, messages[:1])
    assert len(stage.stored()) == 1
