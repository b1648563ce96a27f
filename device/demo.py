"""`lookout demo`: the whole chain on one machine, each part a process started by its command.

Only the pixels (a clip of free pictures) and the pins (files) are replaced.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from device import assembly
from device.commands.options import add_json
from device.commands.screen import complain, say, say_json
from device.core.headlines import record_of
from device.demo_broker import HOST, DemoBroker
from device.errors import ExitCode, LookoutError, TransientError
from device.wire.errors import WireError
from device.wire.events import decode

PICTURES = Path(__file__).parent / "demo_pictures"
START_WITHIN_S = 30.0
REGISTRY, DEVICE = "demo", "demo-box"

_SETTINGS = """\
# The settings of `lookout demo`; docs/settings.md explains every key.
[device]
name = "{device}"
registry = "{registry}"
state_dir = "state"

[camera]
source = "pictures"
path = "{pictures}"
picture_s = 2.0
frames_per_s = 10.0

[gpio]
driver = "file"
folder = "pins"

[outputs.lamp]
pin = 17
longest_on_s = 60

[outputs.bell]
pin = 27

[rules.lamp_while_cat]
output = "lamp"
seen = "cat"
keep_s = 0.5

[rules.bell_for_coffee]
output = "bell"
seen = "cup"
action = "pulse"
pulse_s = 0.5

[detection]
absence_s = 0.3

[mqtt]
host = "{host}"
port = {port}

[report]
telemetry_s = 10.0
"""

Line = tuple[str, str, dict[str, Any]]
"""Where it comes from (`saw`, `pin`, `event`), the words, and an event as it was received."""


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "demo",
        help="see it all work on this machine, with pictures instead of a camera",
        description="Runs broker, box and a subscriber on this machine, bound to 127.0.0.1, and "
        "shows what the box sees, what its outputs do, and what the subscriber receives. "
        "Ends with Ctrl-C, and leaves nothing behind.",
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="end after so long")
    parser.add_argument(
        "--broker",
        choices=("auto", "mosquitto", "pip"),
        default="auto",
        help="auto: mosquitto where it is installed, else the one that pip brings",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    # Told to end by whatever means, the demo still ends what it started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    lines: Queue[Line] = Queue(10_000)
    stop = Event()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="lookout-demo-")))
        broker = DemoBroker(folder, arguments.broker)
        closing.callback(broker.close)
        closing.enter_context(_far_end(broker.port, lines))
        settings = folder / "lookout.toml"
        settings.write_text(
            _SETTINGS.format(
                device=DEVICE, registry=REGISTRY, pictures=PICTURES, host=HOST, port=broker.port
            )
        )
        box = closing.enter_context(_box(folder, settings))
        closing.callback(stop.set)
        if not arguments.json:
            say(f"broker     {broker.name} on {HOST}:{broker.port}")
            say(f"pictures   {', '.join(sorted(each.stem for each in PICTURES.glob('*.jpg')))}")
            say("saw: what the box decides; pin: what its outputs do; event: what a subscriber")
            say("of the broker receives. Ctrl-C ends it.")
            for target in (_watch_box, _watch_pins):
                Thread(target=target, args=(folder, lines, stop), daemon=True).start()
        count = 0
        try:
            count = _show(lines, box, folder, arguments)
        except KeyboardInterrupt:
            if not arguments.json:
                say("")
        if not arguments.json:
            say(f"ended: the subscriber received {count} events")
    return ExitCode.OK


def _show(
    lines: "Queue[Line]",
    box: "subprocess.Popen[bytes]",
    folder: Path,
    arguments: argparse.Namespace,
) -> int:
    """Print until the time is over; how many events were received."""
    clock = assembly.system_clock()
    count = 0
    end_ns = clock.monotonic_ns() + round(START_WITHIN_S * 1e9)
    while True:
        try:
            source, words, event = lines.get(timeout=0.1)
        except Empty:
            source, words, event = "", "", {}
        now_ns = clock.monotonic_ns()
        if source == "event":
            count += 1
            if count == 1 and arguments.seconds is not None:
                end_ns = now_ns + round(arguments.seconds * 1e9)
        if arguments.json and source == "event":
            say_json(event)
        elif source and not arguments.json:
            say(f"{source:<10} {words}")
        if box.poll() is not None:
            raise _BoxEndedError(_tail(folder))
        if now_ns >= end_ns and (arguments.seconds is not None or count == 0):
            if count == 0:
                raise TransientError(
                    f"no event came within {START_WITHIN_S:.0f} s; the box says: {_tail(folder)}"
                )
            return count


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


class _BoxEndedError(LookoutError):
    """The box ended by itself."""

    def __init__(self, told: str) -> None:
        super().__init__(f"the box ended by itself; its last words: {told}")


@contextmanager
def _box(folder: Path, settings: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`lookout run`, ended with the block."""
    with (folder / "box.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "device.main", "run", "--config", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours; the box is then told to end
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            complain("the box did not end in time and was killed")
            process.kill()
            process.wait()


@contextmanager
def _far_end(port: int, lines: "Queue[Line]") -> Iterator[None]:
    """A subscriber of all the device's events, as any program beyond the broker could be."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id="demo-far-end", protocol=mqtt.MQTTv5
    )
    subscribed = Event()

    def on_message(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            record = record_of(decode(bytes(message.payload)))
            lines.put_nowait(
                ("event", f"{record.id}  {record.headline}", json.loads(message.payload))
            )
        except WireError as exc:
            lines.put_nowait(("unreadable", str(exc), {}))

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


def _watch_box(folder: Path, lines: "Queue[Line]", stop: Event) -> None:
    """What `lookout watch` shows."""
    while not stop.is_set():
        with suppress(LookoutError):
            for record in assembly.stream_box(folder / "state" / "control.sock", "watch"):
                if record["kind"] not in ("output", "run", "telemetry"):
                    lines.put_nowait(("saw", record["headline"], {}))
        stop.wait(0.1)


def _watch_pins(folder: Path, lines: "Queue[Line]", stop: Event) -> None:
    """The pins' files, seen from outside the box."""
    before: dict[str, str] = {}
    while not stop.wait(0.05):
        for path in sorted((folder / "pins").glob("out-*")):
            with suppress(OSError):
                level = path.read_text().strip()
                name = path.name.removeprefix("out-")
                if level and before.get(name) != level:
                    before[name] = level
                    lines.put_nowait(("pin", f"{name} {'on' if level == '1' else 'off'}", {}))


def _tail(folder: Path) -> str:
    with suppress(OSError):
        return "\n".join((folder / "box.log").read_text(errors="replace").splitlines()[-8:])
    return ""
