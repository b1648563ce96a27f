"""Commands and desired settings on their way down: checked, sent, acknowledged after PUBACK."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.clocks import HandClock
from cloud_bridge.downlink.fake_commands import FakeCommands
from cloud_bridge.downlink.fake_versions import FakeVersions
from cloud_bridge.downlink.reading import attributes_of, read
from cloud_bridge.downlink.sending import Sending
from cloud_bridge.errors import BlockedError, TransientError
from cloud_bridge.forward.fake_link import FakeLink
from cloud_bridge.health import Health
from cloud_bridge.ports import Received
from device.wire.downward import DesiredSettings, decode_command, decode_desired, encode_down
from device.wire.errors import WireError
from device.wire.events import time_text
from tests.cloud_bridge.forward.stage import HandStop


class Scene:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.source, self.link, self.versions = FakeCommands(), FakeLink(), FakeVersions()
        self.health, self.stop = Health(self.clock), HandStop()
        self.link.turn(0.0, 0)
        self.sending = self.make()

    def make(self) -> Sending:
        return Sending(
            self.source,
            self.link,
            self.versions,
            frozenset({"home"}),
            self.clock,
            self.health,
            self.stop.wait,
            lambda: 0.0,
        )

    def put_command(self, expires_in_s: float = 60.0, **changes: object) -> None:
        expires = time_text(self.clock.wall_ns() + round(expires_in_s * 1e9))
        body = {"id": "c1", "command": "identify", "expires": expires, **changes}
        self.source.put(json.dumps(body).encode(), attributes_of("home", "garden", "command"))

    def put_config(self, version: int, **settings: Any) -> None:  # noqa: ANN401 - TOML
        body = encode_down(DesiredSettings(version=version, settings=settings))
        self.source.put(body, attributes_of("home", "garden", "config"))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_command_goes_to_its_device_and_is_acknowledged(scene: Scene) -> None:
    scene.put_command()
    scene.sending.turn()
    [sent] = scene.link.sent
    assert (sent.topic, sent.qos, sent.retain) == (
        "home/devices/garden/commands/identify",
        1,
        False,
    )
    assert decode_command(sent.payload).id == "c1"
    assert scene.source.held == 0


def test_desired_settings_are_retained(scene: Scene) -> None:
    scene.put_config(5, detection={"shortest_s": 1.0})
    scene.sending.turn()
    [sent] = scene.link.sent
    assert (sent.topic, sent.qos, sent.retain) == ("home/devices/garden/config", 1, True)
    assert decode_desired(sent.payload).version == 5


def test_what_the_broker_did_not_take_comes_again(scene: Scene) -> None:
    scene.link.refuses = "quota exceeded"
    scene.put_command()
    scene.sending.turn()
    assert scene.source.held == 1
    scene.link.refuses = None
    scene.sending.turn()
    assert scene.source.held == 0
    assert len(scene.link.sent) == 1


def test_a_command_that_nobody_listens_to_comes_again_until_it_expires(scene: Scene) -> None:
    scene.link.listened = ()
    scene.put_command(expires_in_s=60.0)
    scene.put_config(5)  # retained: it waits at the broker
    scene.sending.turn()
    assert scene.source.held == 1
    assert [sent.topic for sent in scene.link.sent] == ["home/devices/garden/config"]
    scene.link.listened = {"home/devices/garden/commands/identify"}
    scene.sending.turn()
    assert scene.source.held == 0
    assert len(scene.link.sent) == 2
    scene.link.listened = ()
    scene.put_command(expires_in_s=60.0, id="c2")
    scene.sending.turn()
    scene.clock.advance(61.0)
    scene.sending.turn()
    assert scene.source.held == 0
    assert scene.health.counts["down_again"] == 2
    assert scene.health.counts["down_refused"] == 1


def test_nothing_is_pulled_without_a_broker(scene: Scene) -> None:
    scene.link.drop()
    scene.put_command()
    scene.source.errors.append(BlockedError("must not be asked"))
    scene.sending.turn()
    assert scene.source.held == 1
    assert not scene.health.troubles


def test_an_older_version_never_becomes_the_retained_one(scene: Scene) -> None:
    for version in (5, 4, 6, 5):
        scene.put_config(version, telemetry={"every_s": float(version)})
        scene.sending.turn()
    assert [decode_desired(sent.payload).version for sent in scene.link.sent] == [5, 6]
    assert scene.source.held == 0
    assert scene.health.counts["down_refused"] == 2


def test_the_same_settings_go_out_again_and_others_of_that_version_do_not(scene: Scene) -> None:
    scene.put_config(5, a={"x": 1, "y": 2})
    scene.put_config(5, a={"y": 2, "x": 1})
    scene.put_config(5, a={"x": 1, "y": 3})
    scene.sending.turn()
    assert len(scene.link.sent) == 2
    assert scene.health.counts["down_refused"] == 1


def test_an_expired_command_is_let_go(scene: Scene) -> None:
    scene.put_command(expires_in_s=-1.0)
    scene.sending.turn()
    assert scene.link.sent == []
    assert scene.source.held == 0


BAD: list[tuple[bytes, dict[str, str]]] = [
    (b"{", attributes_of("home", "garden", "command")),
    (b"\xff", attributes_of("home", "garden", "config")),
    (b"{}", attributes_of("home", "garden", "command")),
    (b'{"version":0,"settings":{}}', attributes_of("home", "garden", "config")),
    (b'{"version":"1","settings":{}}', attributes_of("home", "garden", "config")),
    (b'{"version":1,"settings":{}}', attributes_of("farm", "garden", "config")),
    (b'{"version":1,"settings":{}}', attributes_of("home", "gar/den", "config")),
    (b'{"version":1,"settings":{}}', attributes_of("home", "+", "config")),
    (b'{"version":1,"settings":{}}', attributes_of("home", "garden", "receipts")),
    (b'{"version":1,"settings":{}}', {}),
    (b"x" * 70_000, attributes_of("home", "garden", "command")),
    (b'{"version":1,"settings":{"a":1e999}}', attributes_of("home", "garden", "config")),
    (
        b'{"id":"a","command":"pause","expires":"2099-01-01T00:00:00Z","arguments":{"a":[NaN]}}',
        attributes_of("home", "garden", "command"),
    ),
    # 50 KB that become 190 KB, for which a broker would end the bridge's connection.
    (
        b'{"version":1,"settings":{"a":[%s]}}' % b",".join([b"1e15"] * 10_000),
        attributes_of("home", "garden", "config"),
    ),
    (
        b'{"id":"a","command":"pause","expires":"2099-01-01T00:00:00Z","arguments":{"a":[%s]}}'
        % b",".join([b"1e15"] * 10_000),
        attributes_of("home", "garden", "command"),
    ),
    (
        b'{"id":"a","command":"open_door","expires":"2099-01-01T00:00:00Z"}',
        attributes_of("home", "garden", "command"),
    ),
    (
        b'{"id":"a","command":"pause","expires":"tomorrow"}',
        attributes_of("home", "garden", "command"),
    ),
]


@pytest.mark.parametrize(("body", "attributes"), BAD)
def test_a_bad_message_is_let_go_and_blocks_none_behind_it(
    scene: Scene, body: bytes, attributes: dict[str, str]
) -> None:
    scene.source.put(body, attributes)
    scene.put_command()
    scene.sending.turn()
    assert len(scene.link.sent) == 1
    assert scene.source.held == 0
    assert scene.health.counts["down_refused"] == 1


@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_any_message_is_read_or_a_wire_error(body: bytes, attributes: dict[str, str]) -> None:
    for each in (attributes, attributes_of("home", "garden", "config")):
        try:
            read(Received("1", body, each), frozenset({"home"}), 0)
        except WireError:
            continue


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_settings_as_deep_as_json_is_read_go_down(pair: tuple[bytes, bytes]) -> None:
    deep = pair[0] * 197 + b"1" + pair[1] * 197
    body = b'{"version":1,"settings":{"a":%s}}' % deep
    attributes = attributes_of("home", "garden", "config")
    assert read(Received("1", body, attributes), frozenset({"home"}), 0).version == 1


@pytest.mark.parametrize("error", [TransientError("away"), BlockedError("you may not pull")])
def test_errors_of_pubsub_are_told_and_pass(
    scene: Scene, error: TransientError | BlockedError
) -> None:
    scene.source.errors.extend([error] * 3)
    for _ in range(3):
        scene.sending.turn()
    assert scene.health.troubles == {"downlink": str(error)}
    scene.put_command()
    scene.sending.turn()
    assert not scene.health.troubles
    assert len(scene.link.sent) == 1


@pytest.mark.parametrize("error", [TransientError("away"), BlockedError("you may not")])
def test_an_acknowledgement_that_fails_is_told_and_made_up_for(
    scene: Scene, error: TransientError | BlockedError
) -> None:
    """Though nothing more comes meanwhile: else what was done comes again until it expires."""

    class Deaf(FakeCommands):
        is_deaf = True

        def acknowledge(self, ack_ids: Sequence[str]) -> None:
            if self.is_deaf:
                raise error
            super().acknowledge(ack_ids)

        def pull(self) -> list[Received]:
            received, self.asked = ([] if self.asked else super().pull()), True
            return received

        asked = False

    scene.source = source = Deaf()
    scene.sending = scene.make()
    scene.put_command()
    for _ in range(2):
        scene.sending.turn()
    assert scene.health.troubles == {"downlink": str(error)}
    assert len(scene.link.sent) == 1
    source.is_deaf = False
    scene.sending.turn()
    assert scene.source.held == 0
    assert not scene.health.troubles


def test_a_mistake_of_ours_costs_its_own_message_alone(scene: Scene) -> None:
    class Mistaken(FakeVersions):
        def admit(self, registry: str, device: str, version: int, digest: str) -> int | None:
            raise KeyError("a mistake")

    scene.versions = Mistaken()
    scene.sending = scene.make()
    scene.put_config(5)
    scene.put_command()
    scene.sending.turn()
    assert [sent.topic for sent in scene.link.sent] == ["home/devices/garden/commands/identify"]
    assert scene.source.held == 0
    assert scene.health.counts["down_refused"] == 1


def test_settings_whose_version_cannot_be_noted_wait_and_commands_pass(scene: Scene) -> None:
    class Failing(FakeVersions):
        is_broken = True

        def admit(self, registry: str, device: str, version: int, digest: str) -> int | None:
            if self.is_broken:
                raise TransientError("the disk is full")
            return super().admit(registry, device, version, digest)

    scene.versions = versions = Failing()
    scene.sending = scene.make()
    scene.put_config(5)
    scene.put_command()
    scene.sending.turn()
    assert [sent.topic for sent in scene.link.sent] == ["home/devices/garden/commands/identify"]
    assert scene.source.held == 1
    assert scene.health.troubles == {"downlink settings": "the disk is full"}
    versions.is_broken = False
    scene.sending.turn()
    assert scene.source.held == 0
    assert not scene.health.troubles
