"""How much the bridge forwards in a second, beside what paho alone receives.

    python -m tests.bench.bench_bridge [MESSAGES]

One mosquitto holds the same preloaded events (QoS 1, 1 KB) for several sessions, drained one
after the other: by mosquitto_sub, by paho that acknowledges by hand and does nothing else, and by
the bridge, which acknowledges after Pub/Sub's confirmation; Pub/Sub is a null server that only
answers, then our durable one. The receivers' load is the same: everything shares this machine.

paho comes in two ways. As it comes (`loop_forever`) it waits, reads and acknowledges one message at
a time: six calls of the system for each. With its socket buffered, as the bridge does it, it reads
and acknowledges many at once: that is the most that a client in Python can receive here, and the
harder measure.
"""

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud_bridge import assembly
from cloud_bridge.commands.bridge import SWITCH_INTERVAL_S
from cloud_bridge.forward.buffered_client import BufferedClient
from cloud_bridge.settings_file import read_config
from tests.kit.bridge import EVENTS, STATES, event_payload, make_topics, settings_text
from tests.kit.broker import Broker, free_port
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import REPOSITORY, PubsubServer, first_line
from tests.kit.waiting import pause, wait_until
from tests.tools import require_tool

TOPIC = "home/devices/garden/events/detection"
WINDOW = 2000
ROUNDS = 3
WAYS = ("sub", "paho", "buffered", "null", "durable")
SESSIONS = [f"{name}-{number}" for name in WAYS for number in range(ROUNDS)]


def new_client(name: str, manual_ack: bool = False) -> mqtt.Client:
    return mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=MQTTProtocolVersion.MQTTv5,
        manual_ack=manual_ack,
    )


def connect(client: mqtt.Client, port: int) -> None:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = WINDOW
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)


def make_session(name: str, port: int) -> None:
    client = new_client(name)

    def on_connect(*_: object) -> None:
        client.subscribe("home/devices/+/events/#", qos=1)

    def on_subscribe(*_: object) -> None:
        client.disconnect()

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    connect(client, port)
    client.loop_forever()


def preload(port: int, count: int) -> None:
    client = new_client("loader")
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    infos = [
        client.publish(TOPIC, event_payload(seq, pad=1024 - 260), qos=1)
        for seq in range(1, count + 1)
    ]
    for info in infos:
        info.wait_for_publish(120.0)
    client.loop_stop()


def drain_by_paho(name: str, port: int, count: int) -> float:
    """Messages a second."""
    client = new_client(name, manual_ack=True)
    seen = 0
    times: list[float] = []

    def on_connect(*_: object) -> None:
        times.append(perf_counter())

    def on_message(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        nonlocal seen
        client.ack(message.mid, message.qos)
        seen += 1
        if seen >= count:
            times.append(perf_counter())
            client.disconnect()

    client.on_connect = on_connect
    client.on_message = on_message
    connect(client, port)
    client.loop_forever()
    return count / (times[1] - times[0])


def drain_by_buffered_paho(name: str, port: int, count: int) -> float:
    """Messages a second: the bridge's client, and nothing behind it."""
    client = BufferedClient(name)
    mids: list[int] = []
    seen = 0

    def on_message(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        mids.append(message.mid)

    client.on_message = on_message
    connect(client, port)
    began_s = perf_counter()
    while seen < count:
        client.flush()
        sock = client.socket()
        if sock is None:
            raise OSError("the broker has ended the connection")
        select.select([sock], [sock] if client.has_output else [], [], 5.0)
        client.loop_read()
        while client.has_input:
            client.loop_read()
        client.acknowledge(mids)
        seen += len(mids)
        mids.clear()
    client.drain(1.0)
    took_s = perf_counter() - began_s
    client.say_goodbye()
    client.drain(1.0)
    return count / took_s


def drain_by_bridge(settings: Path, count: int) -> float:
    """Messages a second, until the last is acknowledged."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with ExitStack() as exits:
        bridge = assembly.make_bridge(read_config(settings), exits)
        for worker in bridge.workers:
            worker.start()
        wait_until(lambda: bridge.link.is_connected, "connected", every_s=0.001)
        began_s = perf_counter()
        wait_until(
            lambda: (
                bridge.health.counts.get("confirmed", 0) >= count and bridge.forwarding.held == 0
            ),
            f"{count} events confirmed",
            timeout_s=300.0,
            every_s=0.01,
        )
        took_s = perf_counter() - began_s
        bridge.stop.set()
        bridge.stop_link.set()
        for worker in bridge.workers:
            worker.join(3.0)
    return count / took_s


def in_process(*words: object, host: str = "") -> float:
    """Another process of this file; the number that it prints."""
    said = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_bridge", *map(str, words)],
        cwd=REPOSITORY,
        env={**os.environ, "PUBSUB_EMULATOR_HOST": host},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return float(said.stdout.split()[-1])


def drain_by_mosquitto_sub(name: str, port: int, count: int) -> float:
    began_s = perf_counter()
    subprocess.run(
        [
            require_tool("mosquitto_sub"), "-p", str(port), "-i", name, "-c", "-q", "1", "-V", "5",
            "-x", "3600", "-t", "home/devices/+/events/#", "-C", str(count),
            "-D", "CONNECT", "receive-maximum", str(WINDOW),
        ],
        stdout=subprocess.DEVNULL,
        check=True,
    )  # fmt: skip
    return count / (perf_counter() - began_s)


@contextmanager
def null_server() -> Iterator[str]:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bench_local_pubsub", "--null", str(port)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as null:
        first_line(null.stdout)
        yield f"127.0.0.1:{port}"
        null.kill()


def main(say: Callable[[str], int], count: int) -> None:
    say(f"load before: {os.getloadavg()[0]:.2f}, processors: {os.cpu_count()}, events: {count:,}\n")
    rates: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as name,
        Broker(
            require_tool("mosquitto"),
            Path(name) / "broker",
            ["log_type none", "max_inflight_messages 0"],
        ) as broker,
        PubsubServer(Path(name) / "pubsub", ["--max-bytes", "20000000000"]) as durable,
        Pubsub(durable.host) as clients,
        null_server() as null,
    ):
        make_topics(clients, (EVENTS, STATES))
        clients.subscription(EVENTS)
        for session in SESSIONS:
            make_session(session, broker.port)
        preload(broker.port, count)
        pause(1.0)

        def bridge(session: str, host: str) -> float:
            folder = Path(name) / session
            folder.mkdir()
            settings = folder / "bridge.toml"
            mqtt_lines = f'client_id = "{session}"\nwindow = {WINDOW}\n'
            pubsub_lines = "check_subscriptions = false\n"
            more = {"mqtt": mqtt_lines, "pubsub": pubsub_lines}
            settings.write_text(settings_text(folder, broker.port, more))
            return in_process("--bridge", settings, count, host=host)

        for number in range(ROUNDS):
            found = {
                "sub": drain_by_mosquitto_sub(f"sub-{number}", broker.port, count),
                "paho": in_process("--paho", f"paho-{number}", broker.port, count),
                "buffered": in_process("--buffered", f"buffered-{number}", broker.port, count),
                "null": bridge(f"null-{number}", null),
                "durable": bridge(f"durable-{number}", durable.host),
            }
            for what, rate in found.items():
                rates.setdefault(what, []).append(rate)
    middle = {what: sorted(each)[len(each) // 2] for what, each in rates.items()}
    paho, buffered = middle["paho"], middle["buffered"]
    for what, words in (
        ("paho", "paho alone, acknowledging by hand"),
        ("buffered", "the same with its socket buffered"),
        ("sub", "mosquitto_sub"),
        ("null", "bridge to a Pub/Sub that only answers"),
        ("durable", "bridge to the local Pub/Sub, durable"),
    ):
        rate = middle[what]
        say(
            f"{words}: {rate:,.0f} events/s, {rate / paho:.2f} of paho,"
            f" {rate / buffered:.2f} of paho buffered\n"
        )
    say(f"load after: {os.getloadavg()[0]:.2f}\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--paho", session, port, count]:
            sys.stdout.write(f"{drain_by_paho(session, int(port), int(count))}\n")
        case ["--buffered", session, port, count]:
            sys.stdout.write(f"{drain_by_buffered_paho(session, int(port), int(count))}\n")
        case ["--bridge", settings, count]:
            sys.stdout.write(f"{drain_by_bridge(Path(settings), int(count))}\n")
        case rest:
            main(sys.stdout.write, int(rest[0]) if rest else 20_000)
