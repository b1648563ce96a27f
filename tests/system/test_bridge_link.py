"""A link that reads nothing for long stays alive, and one whose broker refuses it says why."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic

from cloud_bridge.clocks import SystemClock
from cloud_bridge.config import MqttConfig
from cloud_bridge.forward.paho_link import PahoLink
from cloud_bridge.ports import Arrival
from tests.kit.broker import Broker
from tests.kit.devices import Device
from tests.kit.waiting import wait_until
from tests.tools import require_tool

TOPIC = "home/devices/garden/events/detection"
KEEPALIVE_S = 5


def make(port: int) -> PahoLink:
    config = MqttConfig(host="127.0.0.1", port=port, keepalive_s=KEEPALIVE_S, window=10)
    return PahoLink(config, ["home/devices/+/events/#"], SystemClock(), lambda: 0.0)


def turn_until(link: PahoLink, fact: Callable[[list[Arrival]], bool], what: str) -> list[Arrival]:
    arrivals: list[Arrival] = []

    def happened() -> bool:
        arrivals.extend(link.turn(0.05, 100))
        return fact(arrivals)

    wait_until(happened, what, timeout_s=20.0, every_s=0.0)
    return arrivals


def test_a_link_without_room_outlives_its_keepalive(tmp_path: Path) -> None:
    with Broker(require_tool("mosquitto"), tmp_path / "broker") as broker:
        link = make(broker.port)
        turn_until(link, lambda _: link.is_connected, "connected")
        with Device(broker.port) as device:
            device.publish(TOPIC, [b"1"])
        # As when Pub/Sub is away for minutes: a broker hangs up after 1.5 keepalives of silence,
        # paho after an unanswered ping.
        until_s = monotonic() + 2.5 * KEEPALIVE_S
        while monotonic() < until_s:
            assert link.turn(0.2, 0) == []
        assert (link.is_connected, link.connection) == (True, 1)
        [arrival] = turn_until(link, lambda arrivals: bool(arrivals), "the message")
        assert arrival.payload == b"1"
        assert link.connection == 1
        link.close()


def test_a_login_that_is_refused_is_said(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    passwords.chmod(0o600)
    lines = ["allow_anonymous false", f"password_file {passwords}"]
    with Broker(require_tool("mosquitto"), tmp_path / "broker", lines) as broker:
        link = make(broker.port)
        turn_until(link, lambda _: link.problem is not None, "a problem")
        assert "may not connect" in str(link.problem) or "password" in str(link.problem)
        link.close()
