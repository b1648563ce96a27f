"""What every link to a broker promises; paho's against a real one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from cloud_bridge.clocks import SystemClock
from cloud_bridge.config import MqttConfig
from cloud_bridge.forward.fake_link import FakeLink
from cloud_bridge.forward.paho_link import PahoLink
from cloud_bridge.ports import Arrival, Link
from tests.kit.broker import Broker
from tests.kit.waiting import wait_until
from tests.tools import require_tool

TOPIC = "home/devices/garden/events/detection"
FILTERS = ["home/devices/+/events/#", "home/devices/+/state"]


@dataclass
class Stage:
    """A link, and what a test can do to its broker."""

    make: Callable[[], Link]
    """Another link to the same session."""
    publish: Callable[[str, bytes], None]
    """A device does, QoS 1."""
    take_away: Callable[[], None]
    give_back: Callable[[], None]
    listen: Callable[[str, str], None]
    """A device subscribes to a filter, which takes one topic."""
    link: Link = field(init=False)

    def __post_init__(self) -> None:
        self.link = self.make()

    def turn_until(self, fact: Callable[[], object], what: str) -> list[Arrival]:
        arrivals: list[Arrival] = []

        def happened() -> object:
            arrivals.extend(self.link.turn(0.05, 1000))
            return fact()

        wait_until(happened, what, timeout_s=20.0, every_s=0.0)
        return arrivals

    def connect(self) -> None:
        self.turn_until(lambda: self.link.is_connected, "connected")

    def receive(self, count: int, room: int = 1000) -> list[Arrival]:
        arrivals: list[Arrival] = []

        def all_there() -> bool:
            arrivals.extend(self.link.turn(0.05, room))
            return len(arrivals) >= count

        wait_until(all_there, f"{count} messages", timeout_s=20.0, every_s=0.0)
        return arrivals


def fake_stage(_folder: Path) -> Iterator[Stage]:
    link = FakeLink()

    def again() -> FakeLink:
        link.drop()
        link.let_in()
        return link

    def listen(_filter: str, topic: str) -> None:
        link.listened = {topic}

    yield Stage(again, link.arrive, link.drop, link.let_in, listen)


def mosquitto_stage(folder: Path) -> Iterator[Stage]:
    with Broker(require_tool("mosquitto"), folder / "broker") as broker:
        device = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="device", protocol=MQTTProtocolVersion.MQTTv5
        )
        device.connect("127.0.0.1", broker.port)
        device.loop_start()
        links: list[PahoLink] = []

        def make() -> PahoLink:
            config = MqttConfig(host="127.0.0.1", port=broker.port, keepalive_s=5)
            links.append(PahoLink(config, FILTERS, SystemClock(), lambda: 0.0))
            return links[-1]

        def publish(topic: str, payload: bytes) -> None:
            device.publish(topic, payload, qos=1).wait_for_publish(10.0)

        def listen(filter_: str, _topic: str) -> None:
            is_heard = Event()
            device.on_subscribe = lambda *_: is_heard.set()
            device.subscribe(filter_, 1)
            assert is_heard.wait(10.0)

        yield Stage(make, publish, broker.stop, broker.start, listen)
        for link in links:
            link.close()
        device.loop_stop()
        device.disconnect()


STAGES = {"fake": fake_stage, "paho": mosquitto_stage}


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    yield from STAGES[request.param](tmp_path)


def test_it_connects_by_its_turns_alone(stage: Stage) -> None:
    assert (stage.link.is_connected, stage.link.connection) == (False, 0) or isinstance(
        stage.link, FakeLink
    )
    stage.connect()
    assert stage.link.connection >= 1
    assert stage.link.problem is None


def test_messages_come_in_order_with_what_they_are_acknowledged_by(stage: Stage) -> None:
    stage.connect()
    for number in range(30):
        stage.publish(TOPIC, f"{number}".encode())
    arrivals = stage.receive(30)
    assert [each.payload for each in arrivals] == [f"{number}".encode() for number in range(30)]
    assert {each.topic for each in arrivals} == {TOPIC.encode()}
    assert len({each.mid for each in arrivals}) == 30
    assert all(each.mid for each in arrivals)


def test_what_was_not_acknowledged_comes_again_on_the_next_connection(stage: Stage) -> None:
    stage.connect()
    for number in range(10):
        stage.publish(TOPIC, f"{number}".encode())
    arrivals = stage.receive(10)
    stage.link.acknowledge([each.mid for each in arrivals[:4]])
    stage.link.turn(0.05, 0)
    stage.take_away()
    stage.turn_until(lambda: not stage.link.is_connected, "the loss is noticed")
    assert stage.link.problem
    before = stage.link.connection
    stage.give_back()
    again = stage.receive(6)
    assert [each.payload for each in again] == [f"{number}".encode() for number in range(4, 10)]
    assert stage.link.connection == before + 1


def test_what_was_not_acknowledged_comes_to_the_bridge_that_starts_next(stage: Stage) -> None:
    stage.connect()
    stage.publish(TOPIC, b"1")
    stage.publish(TOPIC, b"2")
    arrivals = stage.receive(2)
    stage.link.acknowledge([arrivals[0].mid])
    stage.link.turn(0.05, 0)
    stage.link.close()
    stage.link = stage.make()
    assert [each.payload for each in stage.receive(1)] == [b"2"]


def test_an_acknowledgement_without_a_connection_does_nothing(stage: Stage) -> None:
    stage.connect()
    stage.publish(TOPIC, b"1")
    [arrival] = stage.receive(1)
    stage.take_away()
    stage.turn_until(lambda: not stage.link.is_connected, "the loss is noticed")
    stage.link.acknowledge([arrival.mid])
    stage.give_back()
    assert [each.payload for each in stage.receive(1)] == [b"1"]


def test_without_room_nothing_is_read(stage: Stage) -> None:
    stage.connect()
    stage.publish(TOPIC, b"1")
    for _ in range(5):
        assert stage.link.turn(0.01, 0) == []
    assert len(stage.receive(1)) == 1


def test_it_connects_although_there_is_no_room(stage: Stage) -> None:
    stage.connect()
    stage.publish(TOPIC, b"1")
    stage.receive(1)
    stage.take_away()
    stage.turn_until(lambda: not stage.link.is_connected, "the loss is noticed")
    stage.give_back()
    arrivals: list[Arrival] = []

    def is_back() -> bool:
        arrivals.extend(stage.link.turn(0.05, 0))
        return stage.link.is_connected

    wait_until(is_back, "connected without room", timeout_s=8.0, every_s=0.0)
    # What the session holds may come before the broker has answered to the subscription.
    assert [each.payload for each in arrivals or stage.receive(1)] == [b"1"]


def test_large_messages_come_whole(stage: Stage) -> None:
    stage.connect()
    for size_bytes in (0, 1, 127, 128, 16_384, 65_536, 200_000):
        stage.publish(TOPIC, b"x" * size_bytes)
    sizes = [len(each.payload) for each in stage.receive(7)]
    assert sizes == [0, 1, 127, 128, 16_384, 65_536, 200_000]


def test_what_is_sent_with_qos_1_is_told_when_the_broker_took_it(stage: Stage) -> None:
    answers: list[str | None] = []
    stage.connect()
    stage.link.send("home/devices/garden/config", b"{}", qos=1, retain=True, done=answers.append)
    stage.link.send("home/devices/garden/receipts", b"{}", done=answers.append)
    stage.turn_until(lambda: len(answers) == 2, "both answers")
    assert answers == [None, None]


def test_what_must_be_heard_is_told_when_nobody_listens(stage: Stage) -> None:
    answers: dict[str, str | None] = {}
    stage.connect()
    stage.listen("home/devices/garden/commands/#", "home/devices/garden/commands/pause")
    for device in ("garden", "shed"):
        for must in (False, True):
            stage.link.send(
                f"home/devices/{device}/commands/pause",
                b"{}",
                qos=1,
                must_be_heard=must,
                done=partial(answers.__setitem__, f"{device} {must}"),
            )
    stage.turn_until(lambda: len(answers) == 4, "four answers")
    problem = answers.pop("shed True")
    assert problem is not None
    assert "nobody listens" in problem
    assert answers == {"garden False": None, "garden True": None, "shed False": None}


def test_what_is_sent_without_a_connection_is_told_so(stage: Stage) -> None:
    answers: list[str | None] = []
    stage.connect()
    stage.take_away()
    stage.turn_until(lambda: not stage.link.is_connected, "the loss is noticed")
    stage.link.send("home/devices/garden/config", b"{}", qos=1, done=answers.append)
    stage.turn_until(lambda: answers, "an answer")
    assert answers[0] is not None


def test_it_may_be_woken_and_closed_more_than_once(stage: Stage) -> None:
    stage.connect()
    stage.link.close()
    stage.link.close()
    stage.link.wake()
