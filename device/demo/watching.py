"""What the demo sees of its box from outside: decisions and pins; and the lines that it prints."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from device import assembly
from device.core.headlines import record_of
from device.demo.settings import DEVICE, REGISTRY
from device.demo_broker import HOST
from device.errors import LookoutError, TransientError
from device.wire.errors import WireError
from device.wire.events import decode


class Line(NamedTuple):
    """source: `saw`, `pin`, `event` or `unreadable`. event: as the far end received it."""

    source: str
    words: str
    event: dict[str, Any]


Lines = Queue[Line]


def watch_box(folder: Path, lines: Lines, stop: Event) -> None:
    """What `lookout watch` shows."""
    while not stop.is_set():
        with suppress(LookoutError):
            for record in assembly.stream_box(folder / "state" / "control.sock", "watch"):
                if record["kind"] not in ("output", "run", "telemetry"):
                    lines.put_nowait(Line("saw", record["headline"], {}))
        stop.wait(0.1)


def watch_pins(folder: Path, lines: Lines, stop: Event) -> None:
    """The pins' files."""
    before: dict[str, str] = {}
    while not stop.wait(0.05):
        for path in sorted((folder / "pins").glob("out-*")):
            with suppress(OSError):
                level = path.read_text().strip()
                name = path.name.removeprefix("out-")
                if level and before.get(name) != level:
                    before[name] = level
                    lines.put_nowait(Line("pin", f"{name} {'on' if level == '1' else 'off'}", {}))


def event_line(payload: bytes) -> Line:
    """Of an event's JSON."""
    try:
        record = record_of(decode(payload))
    except WireError as exc:
        return Line("unreadable", str(exc), {})
    return Line("event", f"{record.id}  {record.headline}", json.loads(payload))


def read_events(printed: Iterable[bytes], lines: Lines) -> None:
    """What `lookout-cloud events --json` prints, to its end, on a thread of its own."""

    def read() -> None:
        with suppress(ValueError, OSError):  # the pipe is closed with the demo
            for line in printed:
                lines.put_nowait(event_line(line))

    Thread(target=read, name="far-end", daemon=True).start()


@contextmanager
def subscriber(port: int, lines: Lines) -> Iterator[None]:
    """Of all the box's events at the broker, as any program beside it could be."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id="demo-far-end", protocol=mqtt.MQTTv5
    )
    subscribed = Event()

    def on_message(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        lines.put_nowait(event_line(bytes(message.payload)))

    def on_connect(*_: object) -> None:
        client.subscribe(f"{REGISTRY}/devices/{DEVICE}/events/#", qos=1)

    client.on_message = on_message
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(HOST, port)
    client.loop_start()
    try:
        if not subscribed.wait(10.0):
            raise TransientError("the demo's broker does not answer a subscriber")
        yield
    finally:
        client.disconnect()
        client.loop_stop()
