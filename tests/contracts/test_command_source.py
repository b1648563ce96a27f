"""What every source of commands promises; Google's library against the local Pub/Sub."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud_bridge.downlink.fake_commands import FakeCommands
from cloud_bridge.downlink.google_commands import GoogleCommands
from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.ports import CommandSource, Received
from tests.kit.bridge import DOWNLINK
from tests.kit.pubsub_clients import Pubsub, emulator_host
from tests.kit.waiting import wait_until


@dataclass
class Stage:
    source: CommandSource
    put: Callable[[bytes, dict[str, str]], None]

    def pull(self, count: int) -> list[Received]:
        found: list[Received] = []

        def all_came() -> bool:
            found.extend(self.source.pull())
            return len(found) >= count

        wait_until(all_came, f"{count} messages")
        return found


def fake_stage(_folder: Path) -> Iterator[Stage]:
    fake = FakeCommands()
    yield Stage(fake, fake.put)


def google_stage(folder: Path) -> Iterator[Stage]:
    with LocalPubsub(folder) as server, Pubsub(f"127.0.0.1:{server.port}") as clients:
        clients.publisher.create_topic(name=DOWNLINK)
        subscription = clients.subscription(DOWNLINK, ack_deadline_seconds=10)
        with emulator_host(f"127.0.0.1:{server.port}"):
            source = GoogleCommands(subscription)
        yield Stage(source, lambda body, attributes: _put(clients, body, attributes))
        source.close()


def _put(clients: Pubsub, body: bytes, attributes: dict[str, str]) -> None:
    clients.publish_at_once(DOWNLINK, [{"data": body, "attributes": attributes}])


STAGES = {"fake": fake_stage, "google": google_stage}


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    yield from STAGES[request.param](tmp_path)


def test_messages_come_whole(stage: Stage) -> None:
    stage.put(b"\x00\xff", {"kind": "command", "deviceId": "garden"})
    [received] = stage.pull(1)
    assert received.body == b"\x00\xff"
    assert received.attributes == {"kind": "command", "deviceId": "garden"}


def test_the_largest_message_of_pubsub_comes_too_and_holds_nobody_up(stage: Stage) -> None:
    stage.put(bytes(9_900_000), {"kind": "config"})
    stage.put(b"2", {})
    assert sorted(len(each.body) for each in stage.pull(2)) == [1, 9_900_000]


def test_what_is_acknowledged_does_not_come_again(stage: Stage) -> None:
    stage.put(b"1", {})
    [first] = stage.pull(1)
    stage.source.acknowledge([first.ack_id])
    stage.put(b"2", {})
    [second] = stage.pull(1)
    assert second.body == b"2"


def test_an_acknowledgement_that_comes_twice_does_no_harm(stage: Stage) -> None:
    stage.put(b"1", {})
    [received] = stage.pull(1)
    stage.source.acknowledge([received.ack_id])
    stage.source.acknowledge([received.ack_id])
