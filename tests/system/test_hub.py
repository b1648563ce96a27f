"""Bridge and local Pub/Sub in one process, with a real broker and unmodified client libraries."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from cloud_bridge.assembly import DEAD_LETTERS_FILE
from cloud_bridge.clocks import SystemClock
from cloud_bridge.config import HUB_PROJECT
from cloud_bridge.forward.sqlite_dead_letters import SqliteDeadLetters
from cloud_bridge.ports import Letter
from device.wire.downward import decode_command, decode_desired
from tests.kit.bridge import EVENTS as TOPIC_OF_EVENTS
from tests.kit.bridge import RUN, BridgeProcess, collect, event_payload, make_topics
from tests.kit.broker import Broker
from tests.kit.devices import Device
from tests.kit.full_disk import SmallDisk
from tests.kit.hub import EVENTS, STATES, HubProcess
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.receipts import confirmed, ids
from tests.kit.subscriber import Subscriber
from tests.kit.trust import run_cloud
from tests.kit.waiting import wait_until
from tests.tools import require_tool

TOPIC = "home/devices/garden/events/detection"


class Scene:
    """Broker and device, to which a test adds a hub."""

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        self.folder = folder
        self.exits = exits
        self.broker = exits.enter_context(Broker(require_tool("mosquitto"), folder / "broker"))
        self.device = exits.enter_context(Device(self.broker.port))

    def hub(self, data_dir: Path | None = None) -> HubProcess:
        hub = HubProcess(self.folder / "hub", self.broker.port, data_dir=data_dir)
        self.exits.enter_context(hub)
        hub.wait_for_log("broker connected")
        return hub

    def pubsub(self, hub: HubProcess) -> Pubsub:
        return self.exits.enter_context(Pubsub(hub.host))

    def listen(self, *topics: str) -> Subscriber:
        return self.exits.enter_context(Subscriber(self.broker.port, topics))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as exits:
        yield Scene(tmp_path, exits)


def test_a_fresh_folder_is_all_it_needs(scene: Scene) -> None:
    hub, listener = scene.hub(), scene.listen("home/devices/garden/receipts")
    scene.device.publish(TOPIC, [event_payload(seq) for seq in range(1, 201)])
    scene.device.publish("home/devices/garden/state", [f'{{"run":"{RUN}"}}'.encode()], retain=True)
    pubsub = scene.pubsub(hub)
    collect(pubsub, EVENTS, ids(*range(1, 201)))
    wait_until(lambda: confirmed(listener) == set(range(1, 201)), "all receipts")
    [state] = pubsub.pull_some(STATES)
    assert state.message.attributes["ce-type"] == "lookout.state"
    wait_until(lambda: hub.status["counts"].get("confirmed") == 200, "its status", 20.0)
    assert hub.status["troubles"] == {}
    assert hub.status["now"]["pubsub_published"] == 201


def test_sigterm_in_mid_stream_ends_it_within_three_seconds_and_loses_nothing(
    scene: Scene,
) -> None:
    hub = scene.hub()
    scene.device.publish(TOPIC, [event_payload(seq) for seq in range(1, 1001)])
    began_s = monotonic()
    assert hub.stop() == 0
    assert monotonic() - began_s < 3.0
    assert "pubsub_published" in hub.status["now"]
    scene.device.publish(TOPIC, [event_payload(seq) for seq in range(1001, 1101)])
    hub.start()
    hub.wait_until_served()
    collect(scene.pubsub(hub), EVENTS, ids(*range(1, 1101)))


def test_commands_and_settings_go_down_and_dead_letters_up_with_the_hubs_settings_alone(
    scene: Scene,
) -> None:
    hub = scene.hub()
    listener = scene.listen("home/devices/garden/config", "home/devices/garden/commands/#")
    wanted = scene.folder / "wanted.toml"
    wanted.write_text("[detection]\nshortest_s = 1.0\n")
    for words in (
        ("send", "command", "garden", "identify"),
        ("send", "config", "garden", str(wanted), "--version", "7"),
    ):
        said = hub.command(*words)
        assert said.returncode == 0, said.stderr
    wait_until(lambda: len(listener.messages) == 2, "two messages", 20.0)
    by_topic = {message.topic.rpartition("/")[2]: message.payload for message in listener.messages}
    assert decode_command(by_topic["identify"]).command == "identify"
    assert decode_desired(by_topic["config"]).version == 7

    store = SqliteDeadLetters(hub.data_dir / "bridge" / DEAD_LETTERS_FILE, 10**6, SystemClock())
    store.add_all([Letter(topic=TOPIC, payload=event_payload(5), reason="of an older bridge")])
    store.close()
    said = hub.command("deadletters", "retry", "--all", "--json")
    assert (said.returncode, json.loads(said.stdout)["arrived"]) == (0, [1]), said.stderr
    said = hub.command("events", "--subscription", "lookout-events-dashboard", "--count", "1")
    assert f"garden:{RUN}:5" in said.stdout
    assert hub.command("provision", "--check").returncode == 0
    hub.environment["PUBSUB_EMULATOR_HOST"] = hub.host
    assert HUB_PROJECT in hub.command("provision", "--check").stdout


def test_events_shows_what_comes_now_and_leaves_no_subscription_behind(scene: Scene) -> None:
    hub = scene.hub()
    pubsub = scene.pubsub(hub)
    listening = scene.exits.enter_context(
        hub.background("events", "--json", "--count", "3", "--seconds", "60")
    )

    def subscriptions() -> set[str]:
        project = f"projects/{HUB_PROJECT}"
        found = pubsub.subscriber.list_subscriptions(request={"project": project})
        return {each.name.rpartition("/")[2] for each in found}

    before = {name for name in subscriptions() if not name.startswith("lookout-look-")}
    wait_until(lambda: subscriptions() > before, "a subscription of its own", 30.0)
    scene.device.publish(TOPIC, [event_payload(seq) for seq in (1, 2, 3)])
    said, complaint = listening.communicate(timeout=30.0)
    assert (listening.returncode, complaint) == (0, "")
    events = [json.loads(line) for line in said.splitlines()]
    assert sorted(event["id"] for event in events) == sorted(ids(1, 2, 3))
    assert events[0] == json.loads(event_payload(events[0]["data"]["seq"]))
    assert subscriptions() == before
    # Nobody was deprived of anything.
    collect(pubsub, EVENTS, ids(1, 2, 3))


def test_a_second_hub_a_bridge_and_a_second_pubsub_are_kept_out(scene: Scene) -> None:
    hub = scene.hub()
    second = hub.command("hub")
    assert second.returncode == 75
    assert f"{hub.data_dir} is in use by process {hub.pid}" in second.stderr
    assert "give each hub a data_dir of its own" in second.stderr
    as_bridge = hub.command("bridge")
    assert as_bridge.returncode == 78
    assert "lookout-cloud hub" in as_bridge.stderr
    pubsub = run_cloud("pubsub", "--data-dir", hub.data_dir / "pubsub", "--port", "0")
    assert pubsub.returncode == 75
    hub.settings.write_text(hub.settings.read_text().replace("/data", "/other"))
    taken = hub.command("hub")
    assert taken.returncode == 75
    assert "another [hub] port" in taken.stderr


def test_a_bridge_takes_over_what_waits_for_a_hub(scene: Scene) -> None:
    hub = scene.hub()
    assert hub.stop() == 0
    scene.device.publish(TOPIC, [event_payload(seq) for seq in range(1, 101)])
    with PubsubServer(scene.folder / "elsewhere") as server, Pubsub(server.host) as pubsub:
        make_topics(pubsub)
        subscription = pubsub.subscription(TOPIC_OF_EVENTS)
        with BridgeProcess(scene.folder / "bridge", scene.broker.port, server.host):
            collect(pubsub, subscription, ids(*range(1, 101)))
    for each in (hub.data_dir / "pubsub").glob("pubsub.db*"):
        each.write_bytes(b"damaged" * 1000)
    said = hub.command("hub")
    assert said.returncode == 73
    assert "pubsub.db: file is not a database" in said.stderr


def test_a_disk_that_is_full_is_told_and_nothing_is_lost(scene: Scene) -> None:
    with SmallDisk(scene.folder / "disk", 150_000_000) as disk:
        hub = scene.hub(data_dir=disk.path / "data")
        pubsub, listener = scene.pubsub(hub), scene.listen("home/devices/garden/receipts")
        scene.device.publish(TOPIC, [event_payload(1)])
        collect(pubsub, EVENTS, ids(1))
        disk.fill()
        # More than the file has room for inside.
        seqs = range(2, 602)
        scene.device.publish(TOPIC, [event_payload(seq, pad=20_000) for seq in seqs])

        def is_told() -> bool:
            disk.fill()  # the room that the ballast gave back
            return "The disk is full" in hub.status["troubles"].get("publishing events", "")

        wait_until(is_told, "the trouble in its status", 60.0, every_s=0.5)
        assert "publishing events" in hub.log
        assert len(confirmed(listener)) < 600
        disk.empty()
        collect(pubsub, EVENTS, ids(*seqs), 60.0)
        wait_until(lambda: confirmed(listener) == {1, *seqs}, "all receipts", 60.0)
        assert hub.stop() == 0


def test_a_pubsub_that_dies_ends_the_hub_with_1(scene: Scene) -> None:
    hub = HubProcess(
        scene.folder / "hub", scene.broker.port, command=("-m", "tests.faults.hub_doubles", "dying")
    )
    scene.exits.enter_context(hub)
    hub.wait_for_log("broker connected")
    os.kill(hub.pid, signal.SIGUSR1)
    assert hub.wait() == 1
    assert "the local Pub/Sub has died" in hub.log
    assert "the local Pub/Sub has died" in hub.status["troubles"]["pubsub"]
