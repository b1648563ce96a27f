"""What every uplink promises; paho's against a real broker."""

import importlib.util
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.clocks import SystemClock
from device.config import MqttConfig
from device.demo_broker import DemoBroker
from device.messaging.fake_uplink import FakeUplink
from device.messaging.paho_uplink import PahoUplink
from device.ports import INCOMING_AT_MOST, Incoming, StoredEvent, Uplink
from device.wire.names import RunId, Topics
from tests.kit.broker import Broker, free_port
from tests.kit.publisher import Publisher
from tests.kit.waiting import wait_until
from tests.tools import absent, require_tool

RUN = RunId(1, "00000000")


@dataclass
class Stage:
    """An uplink, and what a test can do to its broker."""

    uplink: Uplink
    take_away: Callable[[], None]
    give_back: Callable[[], None]
    give: Callable[[str, bytes, int, bool], object] = lambda *_: None
    """Publishes a message: topic, payload, QoS, retained."""

    def received(self, count: int) -> list[Incoming]:
        found: list[Incoming] = []

        def all_there() -> bool:
            found.extend(self.uplink.incoming())
            return len(found) >= count

        self.turn_until(all_there, f"{count} messages came")
        return found

    def turn_until(self, fact: Callable[[], object], what: str) -> list[int]:
        rows: list[int] = []

        def happened() -> object:
            rows.extend(self.uplink.turn(0.05))
            return fact()

        wait_until(happened, what, timeout_s=20.0, every_s=0.0)
        return rows

    def connect(self) -> None:
        self.turn_until(lambda: self.uplink.is_connected, "connected")

    def arrived(self, count: int) -> list[int]:
        rows: list[int] = []

        def all_there() -> bool:
            rows.extend(self.uplink.turn(0.05))
            return len(rows) >= count

        wait_until(all_there, f"{count} rows acknowledged", timeout_s=20.0, every_s=0.0)
        return rows


def fake_stage(_folder: Path) -> Iterator[Stage]:
    uplink = FakeUplink(acknowledges=True)
    yield Stage(
        uplink, uplink.drop, uplink.let_in, lambda topic, payload, *_: uplink.give(topic, payload)
    )
    uplink.close()


def mosquitto_stage(folder: Path) -> Iterator[Stage]:
    with Broker(require_tool("mosquitto"), folder / "broker") as broker:
        uplink = PahoUplink(
            MqttConfig(port=broker.port),
            Topics("home", "garden"),
            RUN,
            SystemClock(),
            jitter=lambda: 0.0,
        )
        with Publisher(broker.port) as publisher:
            yield Stage(uplink, broker.stop, broker.start, publisher.publish)
        uplink.close()


STAGES = {"fake": fake_stage, "paho": mosquitto_stage}


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    yield from STAGES[request.param](tmp_path)


def stored(row: int, size_bytes: int = 20) -> StoredEvent:
    return StoredEvent(row, f"garden:{RUN}:{row}", "detection", b"x" * size_bytes)


def test_it_connects_by_its_turns_alone(stage: Stage) -> None:
    assert not stage.uplink.is_connected
    stage.connect()
    assert stage.uplink.connects == 1
    assert stage.uplink.problem is None


def test_what_is_published_is_acknowledged_row_by_row(stage: Stage) -> None:
    stage.connect()
    rows = range(1, min(50, stage.uplink.receive_maximum) + 1)
    for row in rows:
        stage.uplink.publish(stored(row))
    assert sorted(stage.arrived(len(rows))) == list(rows)
    assert stage.uplink.refused() == []


def test_a_row_is_acknowledged_once(stage: Stage) -> None:
    stage.connect()
    stage.uplink.publish(stored(7))
    assert stage.arrived(1) == [7]
    assert stage.uplink.turn(0.05) == []


def test_the_largest_event_passes(stage: Stage) -> None:
    stage.connect()
    stage.uplink.publish(stored(1, size_bytes=64 * 1024))
    assert stage.arrived(1) == [1]


def test_a_lost_broker_is_named_and_a_new_connection_counted(stage: Stage) -> None:
    stage.connect()
    stage.take_away()
    stage.turn_until(lambda: not stage.uplink.is_connected, "the loss is noticed")
    assert stage.uplink.problem
    stage.give_back()
    stage.connect()
    assert stage.uplink.connects == 2
    assert stage.uplink.problem is None


def test_what_was_under_way_on_a_lost_connection_may_be_sent_again(stage: Stage) -> None:
    stage.connect()
    stage.take_away()
    stage.turn_until(lambda: not stage.uplink.is_connected, "the loss is noticed")
    stage.give_back()
    stage.connect()
    stage.uplink.publish(stored(3))
    assert 3 in stage.arrived(1)


TOPICS = Topics("home", "garden")


def test_what_comes_down_is_handed_out_once_in_order(stage: Stage) -> None:
    stage.connect()
    stage.turn_until(lambda: True, "one turn")
    stage.uplink.publish(stored(1))
    stage.arrived(1)  # so the broker has seen the subscriptions too
    for number in range(20):
        stage.give(TOPICS.receipts, b"%d" % number, 0, False)
    stage.give(TOPICS.config, b"c", 1, False)
    stage.give(TOPICS.commands("door"), b"d", 1, False)
    found = stage.received(22)
    by_topic = {
        topic: [m.payload for m in found if m.topic == topic] for topic in {m.topic for m in found}
    }
    assert by_topic == {
        TOPICS.receipts: [b"%d" % number for number in range(20)],
        TOPICS.config: [b"c"],
        TOPICS.commands("door"): [b"d"],
    }
    stage.turn_until(lambda: True, "one turn")
    assert stage.uplink.incoming() == []


def test_no_more_than_the_bound_waits_and_the_rest_is_counted(stage: Stage) -> None:
    stage.connect()
    stage.uplink.publish(stored(1))
    stage.arrived(1)
    for _ in range(INCOMING_AT_MOST + 50):
        stage.give(TOPICS.receipts, b"{}", 1, False)
    stage.turn_until(lambda: stage.uplink.incoming_dropped == 50, "50 are dropped")
    assert len(stage.uplink.incoming()) == INCOMING_AT_MOST
    stage.give(TOPICS.receipts, b"x", 0, False)
    assert [each.payload for each in stage.received(1)] == [b"x"]


def test_it_takes_at_least_one_event_at_a_time(stage: Stage) -> None:
    stage.connect()
    assert stage.uplink.receive_maximum >= 1


def test_state_may_be_set_before_and_while_it_is_connected(stage: Stage) -> None:
    stage.uplink.set_state(b"{}")
    stage.connect()
    for _ in range(20):
        stage.uplink.set_state(b"{}")
        stage.uplink.turn(0.0)
    assert stage.uplink.is_connected


def test_wake_ends_a_waiting_turn(stage: Stage) -> None:
    stage.connect()
    stage.turn_until(lambda: True, "one turn")
    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    for _ in range(5):
        stage.uplink.wake()
        stage.uplink.turn(5.0)
    assert clock.monotonic_ns() - began_ns < 10e9


def test_it_closes_twice_and_wakes_no_more(stage: Stage) -> None:
    stage.connect()
    stage.uplink.close()
    stage.uplink.close()
    stage.uplink.wake()
    assert not stage.uplink.is_connected


def test_paho_closes_without_ever_having_connected() -> None:
    uplink = PahoUplink(
        MqttConfig(port=free_port()), Topics("home", "garden"), RUN, SystemClock(), random.random
    )
    uplink.turn(0.0)
    uplink.close()
    assert not uplink.is_connected


def test_paho_speaks_to_the_broker_that_pip_brings(tmp_path: Path) -> None:
    if importlib.util.find_spec("iotcore") is None:
        absent("the package iotcore")
    broker = DemoBroker(tmp_path, choice="pip")
    uplink = PahoUplink(
        MqttConfig(port=broker.port), Topics("home", "garden"), RUN, SystemClock(), lambda: 0.0
    )
    stage = Stage(uplink, broker.close, lambda: None)
    try:
        stage.connect()
        for row in range(1, 6):
            uplink.publish(stored(row))
        assert sorted(stage.arrived(5)) == [1, 2, 3, 4, 5]
        stage.take_away()
        stage.turn_until(lambda: not uplink.is_connected, "the loss is noticed")
    finally:
        uplink.close()
        broker.close()


def test_paho_gets_retained_settings_at_each_connect_and_commands_of_a_short_outage(
    tmp_path: Path,
) -> None:
    with (
        Broker(require_tool("mosquitto"), tmp_path / "broker") as broker,
        Publisher(broker.port) as publisher,
    ):
        publisher.publish(TOPICS.config, b"settings", 1, True)
        config = MqttConfig(port=broker.port)
        for number in range(2):
            uplink = PahoUplink(config, TOPICS, RUN, SystemClock(), lambda: 0.0)
            stage = Stage(uplink, broker.stop, broker.start, publisher.publish)
            stage.connect()
            wanted = 1 + number  # the second time a command has waited for it
            assert {m.topic for m in stage.received(wanted)} == {
                TOPICS.config,
                *([TOPICS.commands("door")] * number),
            }
            uplink.close()
            publisher.publish(TOPICS.commands("door"), b"open", 1, False)
            publisher.publish(TOPICS.receipts, b"late", 0, False)
