"""What a broker limits, owes and forgets: Receive Maximum, acknowledgements, packet ids."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from device.clocks import HandClock, SystemClock
from device.config import MqttConfig
from device.core.delivery import DeliverySettings
from device.messaging.paho_client import new_client
from device.messaging.paho_uplink import PahoUplink
from device.messaging.under_way import UnderWay
from device.pipeline.sending import Sender
from device.ports import Clock, StoredEvent
from device.wire.names import RunId, Topics
from tests.kit.scripted_broker import ScriptedBroker
from tests.kit.waiting import wait_until

RUN = RunId(3, "0badcafe")
TOPICS = Topics("home", "garden")


@contextmanager
def uplink_to(broker: ScriptedBroker, clock: Clock | None = None) -> Iterator[PahoUplink]:
    config = MqttConfig(port=broker.port)
    made = PahoUplink(config, TOPICS, RUN, clock or SystemClock(), lambda: 0.0)
    with closing(made) as uplink:
        yield uplink


def event(row: int, subfolder: str = "clock") -> StoredEvent:
    return StoredEvent(row, f"garden:{RUN}:{row}", subfolder, b"{}")


def connect(uplink: PahoUplink, connects: int = 1) -> list[int]:
    rows: list[int] = []

    def stands() -> bool:
        rows.extend(uplink.turn(0.02))
        return uplink.is_connected and uplink.connects >= connects

    wait_until(stands, "connected", every_s=0.0)
    return rows


def gathered(uplink: PahoUplink, rows: list[int]) -> list[int]:
    """One more turn's rows added to `rows`."""
    rows.extend(uplink.turn(0.02))
    return rows


def test_small_packets_go_out_at_once() -> None:
    """With Nagle's algorithm an event waits 40 ms behind another: a third of the rate."""
    with ScriptedBroker() as broker:
        config = MqttConfig(port=broker.port)
        client = new_client(config, TOPICS, b"{}", tls=None)
        client.connect("127.0.0.1", broker.port)
        sock = client.socket()
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.disconnect()


@pytest.mark.parametrize("receive_maximum", [1, 2, 3, 10])
def test_a_broker_that_takes_few_packets_at_once_gets_all_and_never_more(
    receive_maximum: int,
) -> None:
    with ScriptedBroker(receive_maximum, acknowledges=False) as broker, uplink_to(broker) as uplink:
        sender = Sender(uplink, DeliverySettings(), TOPICS, SystemClock(), lambda: 0.0)
        arrived: list[int] = []
        taken = 0
        for step in range(400):
            if step % 7 == 0:
                uplink.set_state(b"{}")
            arrived += sender.turn(0.005).arrived
            if taken < 40 and sender.places().live > 0:
                taken += 1
                sender.take([event(taken)], 0)
            sender.send()
            if step % 2:
                broker.acknowledge(1)

        def all_there() -> bool:
            arrived.extend(sender.turn(0.01).arrived)
            sender.send()
            broker.acknowledge()
            return len(arrived) == 40

        wait_until(all_there, "all have arrived", every_s=0.0)
        assert sorted(arrived) == list(range(1, 41))
        assert (broker.violations, broker.connections) == (0, 1)
        assert "state" in broker.topics()
        broker.acknowledges = True
        broker.acknowledge()
    assert broker.topics()[-1] == "availability"
    assert broker.violations == 0


def test_state_waits_for_its_place_and_goes_before_events() -> None:
    with ScriptedBroker(1, acknowledges=False) as broker, uplink_to(broker) as uplink:
        uplink.set_state(b"{}")
        connect(uplink)
        broker.wait_for(lambda: broker.topics() == ["availability"], "availability alone")
        assert uplink.receive_maximum == 0
        broker.acknowledge()
        wait_until(lambda: (uplink.turn(0.02), len(broker.topics()) == 2)[1], "state")
        assert broker.topics() == ["availability", "state"]
        assert uplink.receive_maximum == 0
        broker.acknowledge()
        wait_until(lambda: (uplink.turn(0.02), uplink.receive_maximum == 1)[1], "a place")
        broker.acknowledges = True


def test_an_event_whose_place_state_has_taken_waits_for_the_next() -> None:
    with ScriptedBroker(1, acknowledges=False) as broker, uplink_to(broker) as uplink:
        sender = Sender(uplink, DeliverySettings(), TOPICS, SystemClock(), lambda: 0.0)

        def has_place() -> bool:
            sender.turn(0.02)
            broker.acknowledge()
            return sender.places().live == 1

        wait_until(has_place, "a place", every_s=0.0)
        sender.take([event(1)], 0)
        uplink.set_state(b"{}")
        sender.send()
        broker.wait_for(lambda: "state" in broker.topics(), "state")
        for _ in range(5):
            sender.turn(0.02)
            sender.send()
        assert broker.topics() == ["availability", "state"]
        broker.acknowledges = True
        broker.acknowledge()

        def is_sent() -> bool:
            sender.turn(0.02)
            sender.send()
            return "clock" in broker.topics()

        wait_until(is_sent, "the event")
        assert broker.violations == 0


def test_paho_keeps_no_queue_of_its_own() -> None:
    """All that was handed to it is on the line, however much waits for an acknowledgement."""
    with ScriptedBroker(acknowledges=False) as broker, uplink_to(broker) as uplink:
        connect(uplink)
        for row in range(1, 101):
            uplink.publish(event(row))
        wait_until(lambda: (uplink.turn(0.02), len(broker.topics()) == 101)[1], "all sent")
        broker.acknowledges = True
        broker.acknowledge()


def test_an_acknowledgement_of_another_connection_settles_nothing() -> None:
    """Packet ids begin anew with each connection: that of `availability` was an event's before."""
    with ScriptedBroker(acknowledges=False) as broker, uplink_to(broker) as uplink:
        connect(uplink)
        for row in range(1, 6):
            uplink.publish(event(row))
        broker.wait_for(lambda: len(broker.topics()) == 6, "all sent")
        broker.drop()
        broker.acknowledges = True
        wait_until(lambda: (uplink.turn(0.02), not uplink.is_connected)[1], "lost")
        rows = connect(uplink, connects=2)
        for _ in range(5):
            uplink.set_state(b"{}")
            rows += uplink.turn(0.05)
        wait_until(lambda: (uplink.turn(0.02), len(broker.topics(2)) >= 3)[1], "state", every_s=0.0)
        assert rows == []
        uplink.publish(event(9))
        wait_until(lambda: gathered(uplink, rows), "the new one", every_s=0.0)
        assert rows == [9]


def test_a_broker_that_acknowledges_nothing_is_given_up_and_named() -> None:
    clock = HandClock()
    with (
        ScriptedBroker(acknowledges=False) as broker,
        uplink_to(broker, clock) as uplink,
    ):
        connect(uplink)
        uplink.publish(event(1))
        clock.advance(29.0)
        uplink.turn(0.02)
        assert uplink.is_connected
        broker.wait_for(lambda: len(broker.topics()) == 2, "both packets are there")
        broker.acknowledge(1)
        # An answer, however late, is progress.
        wait_until(lambda: (uplink.turn(0.02), uplink.receive_maximum == 65535)[1], "one answer")
        clock.advance(29.0)
        uplink.turn(0.02)
        assert uplink.is_connected
        clock.advance(2.0)
        uplink.turn(0.02)
        assert not uplink.is_connected
        assert "acknowledged nothing for half a minute" in (uplink.problem or "")
        clock.advance(10.0)
        connect(uplink, connects=2)
        assert "acknowledged nothing" in (uplink.problem or ""), "it was no better yet"
        broker.acknowledges = True
        broker.acknowledge()
        wait_until(lambda: (uplink.turn(0.02), uplink.problem is None)[1], "well again")


def test_availability_speaks_of_the_run_that_goes_on() -> None:
    with ScriptedBroker() as broker, uplink_to(broker) as uplink:
        connect(uplink)
        uplink.set_run(RunId(4, "0badcafe"))
        wait_until(lambda: (uplink.turn(0.02), len(broker.topics()) == 2)[1], "both")
    told = [json.loads(payload) for _, _, payload in broker.published]
    assert [(each["status"], each["run"]) for each in told] == [
        ("online", "3-0badcafe"),
        ("online", "4-0badcafe"),
        ("offline", "4-0badcafe"),
    ]


def test_an_event_whose_topic_mqtt_does_not_allow_is_refused() -> None:
    with ScriptedBroker() as broker, uplink_to(broker) as uplink:
        connect(uplink)
        uplink.publish(event(1, subfolder="a/#"))
        assert uplink.refused() == [1]
        assert "cannot be sent" in (uplink.problem or "")
        uplink.publish(event(2))
        rows: list[int] = []
        wait_until(lambda: gathered(uplink, rows), "it goes on", every_s=0.0)
        assert rows == [2]


def test_bytes_that_still_leave_are_no_silence() -> None:
    packets = UnderWay()
    packets.add(1, now_ns=0, row=7)
    packets.note_progress(20)
    assert packets.silent_ns(now_ns=30) == 10
    assert packets.settle(1, now_ns=31) == 7
    assert packets.silent_ns(now_ns=100) == 0
