"""What stops a connection is named; what passes carries the right topics, properties and flags."""

import gc
import json
import logging
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest
from paho.mqtt import client as mqtt

from device.clocks import HandClock, SystemClock
from device.config import MqttConfig, TlsConfig
from device.messaging.inbox import Inbox
from device.messaging.paho_uplink import PahoUplink
from device.messaging.resolving import Resolve, resolve
from device.ports import StoredEvent
from device.wire.names import RunId, Topics
from tests.kit.broker import Broker, free_port
from tests.kit.certificates import Authority
from tests.kit.publisher import Publisher
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import wait_until
from tests.tools import require_tool

RUN = RunId(3, "0badcafe")
TOPICS = Topics("home", "garden")


@contextmanager
def uplink_to(config: MqttConfig, ask: Resolve = resolve) -> Iterator[PahoUplink]:
    uplink = PahoUplink(config, TOPICS, RUN, SystemClock(), lambda: 0.0, ask)
    try:
        yield uplink
    finally:
        uplink.close()


def turn_until(uplink: PahoUplink, fact: Callable[[], object], what: str) -> list[int]:
    rows: list[int] = []

    def happened() -> object:
        rows.extend(uplink.turn(0.05))
        return fact()

    wait_until(happened, what, timeout_s=15.0, every_s=0.0)
    return rows


def gathered(uplink: PahoUplink, rows: list[int]) -> list[int]:
    """One more turn's rows added to `rows`."""
    rows.extend(uplink.turn(0.05))
    return rows


def problem_of(config: MqttConfig, ask: Resolve = resolve) -> str:
    with uplink_to(config, ask) as uplink:
        turn_until(uplink, lambda: uplink.problem, "a problem")
        assert not uplink.is_connected
        return uplink.problem or ""


def connects(config: MqttConfig, ask: Resolve = resolve) -> bool:
    with uplink_to(config, ask) as uplink:
        turn_until(uplink, lambda: uplink.is_connected or uplink.problem, "an outcome")
        return uplink.is_connected


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(require_tool("mosquitto"), tmp_path / "broker") as started:
        yield started


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(require_tool("openssl"), tmp_path_factory.mktemp("pki"))


@pytest.fixture
def tls_broker(tmp_path: Path, authority: Authority) -> Iterator[Broker]:
    certificate, key = authority.sign("broker", "DNS:broker.test")
    lines = [f"certfile {certificate}", f"keyfile {key}"]
    with Broker(require_tool("mosquitto"), tmp_path / "broker", lines) as started:
        yield started


def here(_host: str, _port: int) -> list[str]:
    """Every name is this machine."""
    return ["127.0.0.1"]


# --- what stops a connection --------------------------------------------------------------------


def test_nobody_listens() -> None:
    port = free_port()
    found = problem_of(MqttConfig(port=port))
    assert found.startswith(f"broker 127.0.0.1:{port}: nothing listens there; start the broker")


def test_a_name_that_does_not_resolve() -> None:
    def fail(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    found = problem_of(MqttConfig(host="nowhere.test"), fail)
    assert "the name does not resolve (Name or service not known)" in found
    assert "mend [mqtt] host" in found


def test_a_resolver_that_blocks_holds_up_no_turn() -> None:
    release = Event()

    def block(_host: str, _port: int) -> list[str]:
        release.wait(30.0)
        return []

    clock = HandClock()
    uplink = PahoUplink(MqttConfig(host="slow.test"), TOPICS, RUN, clock, lambda: 0.0, block)
    with closing(uplink):
        uplink.turn(0.0)
        clock.advance(11.0)
        uplink.turn(0.0)
        assert "no name server has answered yet" in (uplink.problem or "")
        release.set()


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        clock = HandClock()
        config = MqttConfig(port=server.getsockname()[1])
        uplink = PahoUplink(config, TOPICS, RUN, clock, lambda: 0.0)
        with closing(uplink):
            for _ in range(20):
                uplink.turn(0.05)
            clock.advance(11.0)
            uplink.turn(0.05)
            assert "is it an MQTT broker?" in (uplink.problem or "")


def test_a_wrong_password(tmp_path: Path) -> None:
    lines = ["allow_anonymous false"]
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    with Broker(require_tool("mosquitto"), tmp_path / "broker", lines) as broker:
        config = MqttConfig(port=broker.port, username="garden", password_file=secret)
        found = problem_of(config)
    assert "may not connect" in found or "user name or password are wrong" in found
    assert "[mqtt] username" in found


def test_a_right_password_without_the_end_of_its_line(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        [require_tool("mosquitto_passwd"), "-b", "-c", passwords, "garden", "secret"], check=True
    )
    passwords.chmod(0o644)
    lines = ["allow_anonymous false", f"password_file {passwords}"]
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    with Broker(require_tool("mosquitto"), tmp_path / "broker", lines) as broker:
        assert connects(MqttConfig(port=broker.port, username="garden", password_file=secret))


def test_a_missing_password_file(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    found = problem_of(MqttConfig(username="garden", password_file=missing))
    assert found.startswith(f"[mqtt] password_file {missing}: No such file")


def test_tls_to_a_plain_port(broker: Broker, authority: Authority) -> None:
    found = problem_of(MqttConfig(port=broker.port, tls=TlsConfig(ca_file=authority.ca)))
    assert "it does not answer in TLS; want its TLS port (usually 8883)" in found


def test_plain_text_to_a_tls_port(tls_broker: Broker) -> None:
    assert "it may want TLS: [mqtt.tls]" in problem_of(MqttConfig(port=tls_broker.port))


def test_a_certificate_for_the_right_name_is_accepted_at_any_address(
    tls_broker: Broker, authority: Authority
) -> None:
    tls = TlsConfig(ca_file=authority.ca)
    assert connects(MqttConfig(host="broker.test", port=tls_broker.port, tls=tls), here)


def test_a_certificate_for_another_name(tls_broker: Broker, authority: Authority) -> None:
    tls = TlsConfig(ca_file=authority.ca)
    found = problem_of(MqttConfig(host="other.test", port=tls_broker.port, tls=tls), here)
    assert "its certificate is not accepted" in found
    assert 'want one for "other.test"' in found


def test_a_certificate_from_an_unknown_authority(tls_broker: Broker, tmp_path: Path) -> None:
    other = Authority(require_tool("openssl"), tmp_path / "other", "someone else")
    tls = TlsConfig(ca_file=other.ca)
    found = problem_of(MqttConfig(host="broker.test", port=tls_broker.port, tls=tls), here)
    assert "its certificate is not accepted" in found
    assert "[mqtt.tls] ca_file" in found


def test_a_missing_ca_file_and_one_that_is_no_pem(tmp_path: Path) -> None:
    missing = tmp_path / "none.crt"
    found = problem_of(MqttConfig(tls=TlsConfig(ca_file=missing)))
    assert found.startswith(f"[mqtt] tls.ca_file {missing}: No such file")
    missing.write_text("no certificate")
    assert "want a PEM file" in problem_of(MqttConfig(tls=TlsConfig(ca_file=missing)))


def test_a_broker_that_wants_a_client_certificate(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.sign("broker2", "DNS:broker.test")
    lines = [
        f"certfile {certificate}",
        f"keyfile {key}",
        f"cafile {authority.ca}",
        "require_certificate true",
        "use_identity_as_username true",
    ]
    with Broker(require_tool("mosquitto"), tmp_path / "broker", lines) as broker:
        without = MqttConfig(
            host="broker.test", port=broker.port, tls=TlsConfig(ca_file=authority.ca)
        )
        found = problem_of(without, here)
        assert "[mqtt.tls] cert_file and key_file" in found or "TLS failed" in found
        mine, my_key = authority.sign("garden")
        tls = TlsConfig(ca_file=authority.ca, cert_file=mine, key_file=my_key)
        assert connects(MqttConfig(host="broker.test", port=broker.port, tls=tls), here)


def test_a_key_that_does_not_fit_its_certificate(authority: Authority) -> None:
    mine, _ = authority.sign("one")
    _, other_key = authority.sign("two")
    tls = TlsConfig(ca_file=authority.ca, cert_file=mine, key_file=other_key)
    assert "tls.cert_file" in problem_of(MqttConfig(tls=tls))


def test_a_second_client_of_the_same_name_is_named_as_the_reason(broker: Broker) -> None:
    with (
        uplink_to(MqttConfig(port=broker.port)) as uplink,
        uplink_to(MqttConfig(port=broker.port)) as other,
    ):
        turn_until(uplink, lambda: uplink.is_connected, "connected")
        turn_until(other, lambda: other.is_connected, "the other is connected")
        turn_until(uplink, lambda: uplink.problem, "a problem")
        assert "the same client id" in (uplink.problem or "")


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = HandClock()
    uplink = PahoUplink(MqttConfig(port=free_port()), TOPICS, RUN, clock, lambda: 0.0)
    with closing(uplink):
        for _ in range(10):
            for _ in range(5):
                uplink.turn(0.02)
            clock.advance(1.0)
    assert len([each for each in caplog.records if "broker lost" in each.getMessage()]) == 1


# --- refusals of single events --------------------------------------------------------------------


def test_an_event_that_the_broker_refuses_is_refused_and_not_acknowledged(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic write home/devices/garden/availability\n")
    rules.chmod(0o644)
    with (
        Broker(require_tool("mosquitto"), tmp_path / "broker", [f"acl_file {rules}"]) as broker,
        uplink_to(MqttConfig(port=broker.port)) as uplink,
    ):
        turn_until(uplink, lambda: uplink.is_connected, "connected")
        uplink.publish(StoredEvent(9, "garden:3-0badcafe:1", "detection", b"{}"))
        refused: list[int] = []

        def is_refused() -> bool:
            refused.extend(uplink.refused())
            return bool(refused)

        acknowledged = turn_until(uplink, is_refused, "a refusal")
        assert (refused, acknowledged) == ([9], [])
        assert "may not write to the topic" in (uplink.problem or "")


def test_an_event_over_the_brokers_packet_limit_is_refused_without_being_sent(
    tmp_path: Path,
) -> None:
    with (
        Broker(require_tool("mosquitto"), tmp_path / "broker", ["max_packet_size 2000"]) as broker,
        uplink_to(MqttConfig(port=broker.port)) as uplink,
    ):
        turn_until(uplink, lambda: uplink.is_connected, "connected")
        uplink.publish(StoredEvent(9, "garden:3-0badcafe:1", "detection", b"x" * 3000))
        assert uplink.refused() == [9]
        assert "raise its packet size limit" in (uplink.problem or "")
        uplink.publish(StoredEvent(10, "garden:3-0badcafe:2", "detection", b"x"))
        rows: list[int] = []
        wait_until(lambda: gathered(uplink, rows), "it goes on", every_s=0.0)
        assert rows == [10]
        assert uplink.connects == 1


# --- what arrives -----------------------------------------------------------------------------


def test_topics_state_and_availability_arrive_as_the_wire_says(broker: Broker) -> None:
    with Subscriber(broker.port, ["home/#"]) as subscriber:
        with uplink_to(MqttConfig(port=broker.port)) as uplink:
            uplink.set_state(b'{"state":1}')
            turn_until(uplink, lambda: uplink.is_connected, "connected")
            uplink.publish(StoredEvent(1, "garden:3-0badcafe:1", "detection", b"{}"))
            rows: list[int] = []
            wait_until(lambda: gathered(uplink, rows), "acknowledged", every_s=0.0)
            uplink.set_state(b'{"state":2}')
            turn_until(
                uplink, lambda: any(m.payload == b'{"state":2}' for m in subscriber.messages), "it"
            )
        wait_until(lambda: len(subscriber.messages) >= 5, "offline has arrived")
        told = [
            (each.topic.removeprefix("home/devices/garden/"), each.payload)
            for each in subscriber.messages
        ]
    availability = [json.loads(payload) for topic, payload in told if topic == "availability"]
    assert availability == [
        {"status": "online", "run": str(RUN)},
        {"status": "offline", "run": str(RUN)},
    ]
    assert ("events/detection", b"{}") in told
    assert [payload for topic, payload in told if topic == "state"] == [
        b'{"state":1}',
        b'{"state":2}',
    ]
    with Subscriber(broker.port, ["home/#"], client_id="late") as late:
        wait_until(lambda: len(late.messages) >= 2, "what is retained")
        retained = {each.topic.rpartition("/")[2] for each in late.messages if each.is_retained}
    assert retained == {"state", "availability"}


def test_a_box_that_vanishes_is_said_to_be_offline(broker: Broker) -> None:
    topic = "home/devices/garden/availability"
    with Subscriber(broker.port, [topic]) as subscriber:
        uplink = PahoUplink(MqttConfig(port=broker.port), TOPICS, RUN, SystemClock(), lambda: 0.0)
        turn_until(uplink, lambda: subscriber.messages, "online has arrived")
        del uplink
        gc.collect()  # its socket goes without a goodbye
        wait_until(lambda: len(subscriber.messages) == 2, "the last will has arrived")
        assert json.loads(subscriber.messages[1].payload)["status"] == "offline"


def test_a_broker_that_refuses_a_subscription_is_named_with_the_topic() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)  # CONNECT
                connection.sendall(bytes.fromhex("2003000000"))
                packet = b""
                while b"\x82" not in packet:
                    packet += connection.recv(4096)
                start = packet.index(b"\x82")
                length = 1 if packet[start + 1] < 0x80 else 2
                number = packet[start + 1 + length : start + 3 + length]
                # SUBACK: receipts granted, config and commands not authorized.
                connection.sendall(b"\x90\x06" + number + b"\x00\x00\x87\x87")
                done.wait(10.0)

        done = Event()
        thread = Thread(target=serve, daemon=True)
        thread.start()
        with uplink_to(MqttConfig(port=server.getsockname()[1])) as uplink:
            turn_until(uplink, lambda: uplink.problem, "a problem")
            assert uplink.is_connected
            found = uplink.problem or ""
        done.set()
        thread.join(5.0)
    assert "does not let this box listen to home/devices/garden/commands/#" in found
    assert "access rules" in found


class Stumbling(Inbox):
    """Raises for one message, as a mistake in a callback would."""

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if message.payload == b"poison":
            raise KeyError("a mistake in a callback")
        super()._on_message(client, userdata, message)


class Unguarded(PahoUplink):
    """As it was once: a mistake left the connection as it stood."""

    def _fail(self, problem: str) -> None:
        if "brought out a mistake" not in problem:
            super()._fail(problem)


def hears_on(broker: Broker, kind: type[PahoUplink]) -> bool:
    """Whether what comes after a message that brings out a mistake in a callback is heard."""
    config = MqttConfig(port=broker.port)
    uplink = kind(config, TOPICS, RUN, SystemClock(), lambda: 0.0)
    uplink._inbox = Stumbling(config, TOPICS)
    with closing(uplink), Publisher(broker.port) as publisher:
        turn_until(uplink, lambda: uplink.is_connected, "it connects")
        uplink.turn(0.2)
        publisher.publish(TOPICS.receipts, b"poison", qos=0)
        with pytest.raises(KeyError, match="a mistake in a callback"):
            turn_until(uplink, lambda: False, "nothing")
        assert kind is Unguarded or "it is tried again" in (uplink.problem or "")
        heard: list[bytes] = []
        for _ in range(40):
            publisher.publish(TOPICS.receipts, b"good", qos=0)
            with suppress(KeyError):
                uplink.turn(0.05)
            heard += [each.payload for each in uplink.incoming()]
        return b"good" in heard


def test_a_mistake_in_a_callback_costs_the_connection_and_not_the_uplink(broker: Broker) -> None:
    assert hears_on(broker, PahoUplink)


def test_an_uplink_that_keeps_the_connection_hears_nothing_more(broker: Broker) -> None:
    """The teeth: paho goes through the same packet for ever."""
    assert not hears_on(broker, Unguarded)
