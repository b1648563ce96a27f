"""No broker, then one, then another: every event arrives, in order, none missing."""

import json
from pathlib import Path
from threading import Event, Thread

from device.clocks import SystemClock
from device.config import MqttConfig
from device.core.delivery import DeliverySettings
from device.messaging.paho_uplink import PahoUplink
from device.messaging.sqlite_outbox import SqliteOutbox
from device.pipeline.deliver import Delivery
from device.wire.bodies import ClockAnchor
from device.wire.names import Topics
from tests.faults.delivering import draft, first
from tests.kit.broker import Broker, free_port
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import wait_until
from tests.tools import require_tool


def test_events_wait_for_a_broker_and_arrive_in_order(tmp_path: Path) -> None:
    port = free_port()
    clock = SystemClock()
    stop = Event()
    delivery = Delivery(
        outbox_factory=lambda: SqliteOutbox(tmp_path / "outbox.db", "garden", "home", 10_000_000),
        uplink_factory=lambda run: PahoUplink(
            MqttConfig(port=port), Topics("home", "garden"), run, clock, lambda: 0.0
        ),
        settings=DeliverySettings(window=16),
        topics=Topics("home", "garden"),
        group_ms=5,
        clock=clock,
        on_committed=lambda _: None,
        first=first,
    )

    def go_on(turn: object) -> None:
        while not stop.is_set():
            turn()  # type: ignore[operator]

    threads = [
        Thread(target=go_on, args=(turn,), daemon=True)
        for turn in (delivery.outbox_turn, delivery.uplink_turn)
    ]
    for thread in threads:
        thread.start()

    def report(start: int, count: int) -> None:
        for number in range(start, start + count):
            assert delivery.report(draft(ClockAnchor(step_s=float(number))))
        wait_until(lambda: delivery.status().last_seq == start + count + 1, "all is committed")

    try:
        report(0, 300)
        wait_until(lambda: delivery.status().problem, "the missing broker is named")
        assert delivery.status().waiting == 301
        with (
            Broker(require_tool("mosquitto"), tmp_path / "broker", port=port) as broker,
            Subscriber(port, ["home/devices/garden/events/#"]) as subscriber,
        ):
            wait_until(lambda: len(subscriber.messages) >= 1, "the first events", 20.0)
            broker.stop()
            report(300, 200)
            broker.start()
            wait_until(lambda: delivery.status().waiting == 0, "all has gone out", 20.0)
            wait_until(lambda: len(_seqs(subscriber)) == 501, "all has arrived", 20.0)
            arrived = _seqs(subscriber)
    finally:
        stop.set()
        delivery.wake()
        for thread in threads:
            thread.join(timeout=5.0)
        delivery.close()
    assert arrived == list(range(1, 502))


def _seqs(subscriber: Subscriber) -> list[int]:
    """In the order of their first arrival."""
    seqs = (json.loads(message.payload)["data"]["seq"] for message in subscriber.messages)
    return list(dict.fromkeys(seqs))
