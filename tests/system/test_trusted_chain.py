"""Box, mosquitto and bridge with TLS and a certificate each, all made by our own commands, and on
to Pub/Sub."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.box import Box
from tests.kit.bridge import DOWNLINK, EVENTS, PROJECT, STATES, BridgeProcess, make_topics
from tests.kit.outbox_reader import read_outbox
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.trust import TrustedBroker
from tests.kit.waiting import wait_until
from tests.tools import require_tool

DOWN = f"projects/{PROJECT}/subscriptions/lookout-downlink-bridge"


class Chain:
    """The box `garden` has the settings that `device add` wrote, with a camera added."""

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        self.folder = folder
        self._exits = exits
        enter = exits.enter_context
        self.trusted = TrustedBroker(require_tool("mosquitto"), folder, {"home": ("shed",)})
        self.box = self._make_box()
        self.trusted.write_settings()  # the broker knows the box
        enter(self.trusted)
        self.server = enter(PubsubServer(folder / "pubsub"))
        self.pubsub = enter(Pubsub(self.server.host))
        make_topics(self.pubsub, (EVENTS, STATES, DOWNLINK))
        self.events = self.pubsub.subscription(EVENTS)
        self.states = self.pubsub.subscription(STATES)
        self.pubsub.subscriber.create_subscription(
            request={"name": DOWN, "topic": DOWNLINK}, timeout=10.0
        )
        self.seen: dict[str, Any] = {}

    def _make_box(self) -> Box:
        box = Box(self.folder / "box", 0, picture_s=0.2)
        _, _, camera = box.config.read_text().partition("[camera]")
        self.trusted.cloud(
            "device", "add", "garden", "--registry", "home", "--broker", "localhost",
            "--port", str(self.trusted.port), "--install-dir", self.folder / "garden",
            output=self.folder / "garden",
        )  # fmt: skip
        text = (self.folder / "garden" / "lookout.toml").read_text()
        text = text.replace("[device]\n", '[device]\nstate_dir = "state"\n')
        box.config.write_text(f'{text}\n[gpio]\ndriver = "file"\nfolder = "pins"\n[camera]{camera}')
        return box

    def bridge(self, login: str | None = "bridge-home") -> BridgeProcess:
        tls = f'[mqtt.tls]\nca_file = "{self.trusted.ca}"\n'
        if login is not None:
            certificate, key = self.trusted.login(login)
            tls += f'cert_file = "{certificate}"\nkey_file = "{key}"\n'
        more = {
            "mqtt": tls,
            "pubsub": 'downlink_subscription = "lookout-downlink-bridge"\n',
        }
        bridge = BridgeProcess(
            self.folder / f"running-{login}", self.trusted.port, self.server.host, more
        )
        return self._exits.enter_context(bridge)

    def event(self, type_name: str) -> Any:  # noqa: ANN401 - the library's own
        """The first of this type that Pub/Sub has had, once there is one."""

        def came() -> bool:
            received = self.pubsub.pull(self.events, 1000)
            if received:
                self.pubsub.acknowledge(self.events, received)
            for each in received:
                self.seen.setdefault(each.message.attributes["ce-type"], each.message)
            return type_name in self.seen

        wait_until(came, f"{type_name} at Pub/Sub", 60.0, every_s=0.1)
        return self.seen[type_name]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    with ExitStack() as exits:
        yield Chain(tmp_path, exits)


def test_events_receipts_and_commands_pass_with_a_certificate_each(chain: Chain) -> None:
    bridge = chain.bridge()
    bridge.wait_for_log("broker connected")
    with chain.box as box:
        began = chain.event("lookout.detection.began")
        assert began.attributes["deviceId"] == "garden"
        assert began.attributes["deviceRegistryId"] == "home"
        assert json.loads(began.data)["durable"] is True

        outbox = box.state_dir / "outbox.db"
        wait_until(
            lambda: any(seq > 1 for seq in read_outbox(outbox).runs.values()), "events", 20.0
        )
        committed = max(read_outbox(outbox).runs.values())
        wait_until(
            lambda: all(seq > committed for _, seq in read_outbox(outbox).events),
            "receipts for what was committed",
            20.0,
        )
        [state, *_] = chain.pubsub.pull_some(chain.states)
        assert state.message.attributes["deviceId"] == "garden"

        said = bridge.command("send", "command", "garden", "pause")
        assert said.returncode == 0, said.stderr
        assert json.loads(chain.event("lookout.command.done").data)["result"] == "done"


def test_a_bridge_without_a_certificate_says_so_and_nothing_leaves_the_box(chain: Chain) -> None:
    bridge = chain.bridge(None)
    wait_until(lambda: "ERROR" in bridge.log, "a complaint", 20.0)
    assert "broker: " in bridge.log
    assert_nothing_leaves(chain)


def test_a_bridge_with_the_certificate_of_a_box_is_given_nothing(chain: Chain) -> None:
    """mosquitto takes its subscription without a word, and hands it nothing."""
    chain.bridge("shed").wait_for_log("broker connected")
    assert_nothing_leaves(chain)


def assert_nothing_leaves(chain: Chain) -> None:
    outbox = chain.box.state_dir / "outbox.db"
    with chain.box:
        wait_until(lambda: len(read_outbox(outbox).events) > 3, "events", 30.0)
        assert min(seq for _, seq in read_outbox(outbox).events) == 1
    assert chain.pubsub.pull(chain.events) == []
