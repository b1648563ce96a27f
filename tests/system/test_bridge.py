"""Broker, bridge and local Pub/Sub as processes, spoken to by unmodified client libraries."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from cloud_bridge.assembly import DEAD_LETTERS_FILE
from cloud_bridge.clocks import SystemClock
from cloud_bridge.forward.sqlite_dead_letters import SqliteDeadLetters
from cloud_bridge.ports import Letter
from device.wire.downward import decode_command, decode_desired
from tests.kit.bridge import (
    DOWNLINK,
    EVENTS,
    PROJECT,
    RUN,
    STATES,
    BridgeProcess,
    collect,
    event_payload,
    make_topics,
)
from tests.kit.broker import Broker
from tests.kit.devices import Device
from tests.kit.google_emulator import GoogleEmulator, find_emulator
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.receipts import confirmed, ids
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import wait_until
from tests.tools import absent, require_tool

TOPIC = "home/devices/garden/events/detection"
DOWN = f"projects/{PROJECT}/subscriptions/lookout-downlink-bridge"


class Chain:
    """Everything but the bridge."""

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        self.folder = folder
        self._exits = exits
        enter = exits.enter_context
        self.broker = enter(Broker(require_tool("mosquitto"), folder / "broker"))
        self.server = enter(PubsubServer(folder / "pubsub"))
        self.pubsub = enter(Pubsub(self.server.host))
        self.device = enter(Device(self.broker.port))

    def bridge(self, name: str = "bridge", **more: str) -> BridgeProcess:
        bridge = BridgeProcess(self.folder / name, self.broker.port, self.server.host, more)
        self._exits.enter_context(bridge)
        bridge.wait_for_log("broker connected")
        return bridge

    def listen(self, *topics: str) -> Subscriber:
        return self._exits.enter_context(Subscriber(self.broker.port, topics))


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    with ExitStack() as exits:
        yield Chain(tmp_path, exits)


def test_events_arrive_with_receipts_and_sigterm_ends_it_soon(chain: Chain) -> None:
    make_topics(chain.pubsub)
    subscription = chain.pubsub.subscription(EVENTS)
    bridge, listener = chain.bridge(), chain.listen("home/devices/garden/receipts")
    chain.device.publish(TOPIC, [event_payload(seq) for seq in range(1, 201)])
    found = collect(chain.pubsub, subscription, ids(*range(1, 201)))
    assert len(found) == 200
    wait_until(lambda: confirmed(listener) == set(range(1, 201)), "all receipts")
    began_s = monotonic()
    assert bridge.stop() == 0
    assert monotonic() - began_s < 3.0
    assert '"confirmed": 200' in bridge.log


def test_the_same_bridge_runs_against_googles_emulator(tmp_path: Path) -> None:
    found = find_emulator()
    if found is None:
        absent("Google's Pub/Sub emulator")
    with (
        Broker(require_tool("mosquitto"), tmp_path / "broker") as broker,
        GoogleEmulator(found) as emulator,
        Pubsub(emulator.host) as pubsub,
    ):
        make_topics(pubsub)
        subscription = pubsub.subscription(EVENTS)
        with (
            BridgeProcess(tmp_path / "bridge", broker.port, emulator.host) as bridge,
            Subscriber(broker.port, ["home/devices/garden/receipts"]) as listener,
            Device(broker.port) as device,
        ):
            bridge.wait_for_log("broker connected")
            device.publish(TOPIC, [event_payload(seq) for seq in range(1, 501)])
            collect(pubsub, subscription, ids(*range(1, 501)))
            wait_until(lambda: confirmed(listener) == set(range(1, 501)), "all receipts")


def test_sigterm_ends_it_soon_while_pubsub_is_away_and_acknowledges_nothing(chain: Chain) -> None:
    make_topics(chain.pubsub)
    subscription = chain.pubsub.subscription(EVENTS)
    bridge = chain.bridge()
    chain.device.publish(TOPIC, [event_payload(1)])
    collect(chain.pubsub, subscription, ids(1))
    chain.server.kill()
    chain.device.publish(TOPIC, [event_payload(2)])
    bridge.wait_for_log("publishing events")
    began_s = monotonic()
    assert bridge.stop() == 0
    assert monotonic() - began_s < 3.0
    chain.server.start()
    bridge.start()
    collect(chain.pubsub, subscription, ids(2))


def test_a_second_bridge_beside_the_first_does_no_harm(chain: Chain) -> None:
    make_topics(chain.pubsub)
    subscription = chain.pubsub.subscription(EVENTS)
    first = chain.bridge("first", mqtt='client_id = "first"\n')
    second = chain.bridge("second", mqtt='client_id = "second"\n')
    listener = chain.listen("home/devices/garden/receipts")
    chain.device.publish(TOPIC, [event_payload(seq) for seq in range(1, 101)])
    collect(chain.pubsub, subscription, ids(*range(1, 101)))
    wait_until(lambda: confirmed(listener) == set(range(1, 101)), "all receipts")
    first.kill()
    chain.device.publish(TOPIC, [event_payload(seq) for seq in range(101, 201)])
    collect(chain.pubsub, subscription, ids(*range(101, 201)))
    assert second.is_running
    assert "connection was lost" not in first.log + second.log


def test_without_a_subscription_there_are_no_receipts_until_there_is_one(chain: Chain) -> None:
    make_topics(chain.pubsub)
    bridge, listener = chain.bridge(), chain.listen("home/devices/garden/receipts")
    bridge.wait_for_log("has no subscription")
    chain.device.publish(TOPIC, [event_payload(1)])
    wait_until(
        lambda: json.loads(status(bridge))["now"].get("in_flight") == 1, "the event is held", 20.0
    )
    assert "no subscription" in json.loads(status(bridge))["troubles"]["subscriptions"]
    assert listener.messages == []
    subscription = chain.pubsub.subscription(EVENTS)
    collect(chain.pubsub, subscription, ids(1))
    wait_until(lambda: confirmed(listener) == {1}, "the receipt")


def status(bridge: BridgeProcess) -> str:
    path = bridge.folder / "status.json"
    return path.read_text() if path.exists() else '{"now": {}}'


def test_a_topic_that_is_not_there_is_said_and_nothing_is_lost(chain: Chain) -> None:
    bridge = chain.bridge()
    bridge.wait_for_log("lookout-cloud provision")
    chain.device.publish(TOPIC, [event_payload(1)])
    make_topics(chain.pubsub)
    subscription = chain.pubsub.subscription(EVENTS)
    collect(chain.pubsub, subscription, ids(1))


def test_dead_letters_are_listed_tried_again_and_dropped(chain: Chain) -> None:
    make_topics(chain.pubsub)
    chain.pubsub.subscription(EVENTS)
    bridge, listener = chain.bridge(), chain.listen("home/devices/garden/receipts")
    bad = [b"\xff", b"{", event_payload(7, specversion="2.0"), b"x" * 70_000]
    chain.device.publish(TOPIC, bad)
    chain.device.publish("home/devices/garden/events/a/b", [b"{}"])
    wait_until(
        lambda: any(b'"seq":7' in message.payload for message in listener.messages), "a refusal"
    )

    def listed() -> list[dict[str, object]]:
        said = bridge.command("deadletters", "list", "--json")
        assert said.returncode == 0, said.stderr
        letters: list[dict[str, object]] = json.loads(said.stdout)["letters"]
        return letters

    wait_until(lambda: len(listed()) == 5, "five letters", every_s=0.5)
    assert bridge.command("deadletters", "list").stdout.startswith("5 dead letters")
    said = bridge.command("deadletters", "retry", "--all", "--json")
    assert said.returncode == 69
    assert len(json.loads(said.stdout)["stayed"]) == 5
    said = bridge.command("deadletters", "retry", "4000")
    assert (said.returncode, said.stdout) == (1, "0 arrived, 0 stayed\n")
    assert "1 of these numbers are not there" in said.stderr
    numbers = [str(letter["number"]) for letter in listed()]
    assert bridge.command("deadletters", "drop", *numbers[:2], "--json").returncode == 0
    assert bridge.command("deadletters", "drop", numbers[0]).returncode == 1
    assert len(listed()) == 3
    assert bridge.command("deadletters", "drop", "--all").stdout == "3 dropped\n"
    assert bridge.is_running


def test_retry_into_a_topic_without_subscription_is_refused(chain: Chain) -> None:
    make_topics(chain.pubsub)
    said = chain.bridge().command("deadletters", "retry", "--all", "--json")
    assert said.returncode == 69
    assert "has no subscription" in said.stderr
    assert "has no subscription" in json.loads(said.stdout)["problem"]


def test_a_letter_that_can_be_read_now_is_sent_by_retry(chain: Chain) -> None:
    make_topics(chain.pubsub)
    subscription = chain.pubsub.subscription(EVENTS)
    bridge = chain.bridge()
    store = SqliteDeadLetters(bridge.folder / DEAD_LETTERS_FILE, 10**6, SystemClock())
    reason = "an older bridge could not read it"
    store.add_all(
        [
            Letter(topic=TOPIC, payload=payload, reason=reason)
            for payload in (event_payload(1), b"{", event_payload(2))
        ]
    )
    said = bridge.command("deadletters", "retry", "--all", "--json")
    assert said.returncode == 69
    assert json.loads(said.stdout)["arrived"] == [1, 3]
    collect(chain.pubsub, subscription, ids(1, 2))
    assert [kept.number for kept in store.letters()] == [2]
    store.close()


def test_the_newest_states_go_to_their_own_topic(chain: Chain) -> None:
    make_topics(chain.pubsub)
    subscription = chain.pubsub.subscription(STATES)
    payloads = [f'{{"run":"{RUN}","last_seq":{seq}}}'.encode() for seq in range(5)]
    chain.device.publish("home/devices/garden/state", payloads, retain=True)
    chain.bridge()
    [first] = chain.pubsub.pull_some(subscription)
    assert json.loads(first.message.data)["last_seq"] == 4
    assert first.message.attributes["ce-type"] == "lookout.state"
    assert first.message.attributes["deviceId"] == "garden"


def test_commands_and_desired_settings_go_down(chain: Chain) -> None:
    make_topics(chain.pubsub, (EVENTS, STATES, DOWNLINK))
    chain.pubsub.subscription(EVENTS)
    chain.pubsub.subscriber.create_subscription(
        request={"name": DOWN, "topic": DOWNLINK}, timeout=10.0
    )
    bridge = chain.bridge(pubsub='downlink_subscription = "lookout-downlink-bridge"\n')
    listener = chain.listen("home/devices/garden/config", "home/devices/garden/commands/#")
    wanted = chain.folder / "wanted.toml"
    wanted.write_text("[detection]\nshortest_s = 1.0\n")
    for words in (
        ("send", "command", "garden", "identify", "--argument", "seconds=5"),
        ("send", "config", "garden", str(wanted), "--version", "7"),
        ("send", "command", "garden", "pause", "--mqtt"),
    ):
        said = bridge.command(*words)
        assert said.returncode == 0, said.stderr
    wait_until(lambda: len(listener.messages) == 3, "three messages", 20.0)
    by_topic = {message.topic.rpartition("/")[2]: message.payload for message in listener.messages}
    assert decode_command(by_topic["identify"]).arguments == {"seconds": 5}
    assert decode_command(by_topic["pause"]).command == "pause"
    desired = decode_desired(by_topic["config"])
    assert (desired.version, desired.settings) == (7, {"detection": {"shortest_s": 1.0}})


def test_mistakes_end_with_their_codes(chain: Chain) -> None:
    make_topics(chain.pubsub)
    bridge = chain.bridge()
    assert bridge.command("bridge").returncode == 75  # the folder is another bridge's
    assert bridge.command("send", "command", "gar/den", "pause").returncode == 78
    assert bridge.command("send", "command", "garden", "pause").returncode == 69  # no topic
    bridge.settings.write_text("registries = []\n")
    assert bridge.command("bridge").returncode == 78
