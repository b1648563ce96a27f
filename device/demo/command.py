"""`lookout demo`: the whole chain on one machine, each part a process started by its command.

Only the pixels (a clip of free pictures) and the pins (files) are replaced, and Google where there
is no project.
"""

import argparse
import importlib.util
import os
import re
import secrets
import signal
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread

from device import assembly
from device.commands.options import add_json, positive_seconds
from device.commands.screen import complain, say, say_json
from device.demo.chain import start_chain
from device.demo.parts import Parts, StoppedError
from device.demo.settings import LOCAL_PROJECT, PICTURES, PROJECT_PATTERN, FarEnd, Scene
from device.demo.watching import Line, Lines, watch_box, watch_pins
from device.demo_broker import HOST, DemoBroker
from device.errors import ConfigError, ExitCode, TransientError

FIRST_EVENT_WITHIN_S = 60.0
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CLOUD_EXTRA = "pip install 'lookout-appliance[cloud]'"


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "demo",
        help="see it all work on this machine, with pictures instead of a camera",
        description="Runs broker, box, bridge and a local Pub/Sub on this machine, bound to "
        "127.0.0.1, and shows what the box sees, what its outputs do, and what a subscriber of "
        "Pub/Sub receives. Ends with Ctrl-C, and leaves nothing behind.",
    )
    parser.add_argument(
        "--seconds", type=positive_seconds, metavar="N", help="end so long after the first event"
    )
    parser.add_argument(
        "--broker",
        choices=("auto", "mosquitto", "pip"),
        default="auto",
        help="auto: mosquitto where it is installed, else the one that pip brings",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--project",
        metavar="P",
        help="use Google's Pub/Sub in this project: topics and subscriptions of the demo's own are "
        "made there, and deleted at the end (default: $GOOGLE_CLOUD_PROJECT where "
        "$GOOGLE_APPLICATION_CREDENTIALS is set too)",
    )
    where.add_argument(
        "--local", action="store_true", help="a local Pub/Sub, whatever the environment says"
    )
    where.add_argument(
        "--no-cloud",
        action="store_true",
        help="no bridge and no Pub/Sub: show what a subscriber of the broker receives, as is done "
        "where the cloud side is not installed",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    stop = Event()
    for number in END_SIGNALS:
        # Told to end by whatever means, the demo ends what it started, and only that.
        signal.signal(number, lambda *_: stop.set())
    far_end, project = choose_far_end(arguments, os.environ, has_cloud=is_cloud_installed())
    if far_end is FarEnd.BROKER and not arguments.no_cloud:
        complain(
            "note: the cloud side is not installed, so there is no bridge and no Pub/Sub here; "
            f"want {CLOUD_EXTRA}"
        )
    received = _Received()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="lookout-demo-")))
        broker = DemoBroker(folder, arguments.broker)
        closing.callback(broker.close)
        scene = Scene(
            folder=folder,
            far_end=far_end,
            broker_port=broker.port,
            project=project,
            prefix=f"lookout-demo-{secrets.token_hex(3)}"
            if far_end is FarEnd.GOOGLE
            else "lookout",
        )
        with suppress(StoppedError):
            _show_chain(arguments, scene, broker, Parts(folder, stop), closing, received)
        if not arguments.json:
            say("")
    if not arguments.json:
        repeats = f", and {received.repeats} of them again" if received.repeats else ""
        say(f"ended: the subscriber received {len(received.ids)} events{repeats}")
    return ExitCode.OK


def is_cloud_installed() -> bool:
    """Whether the extra `cloud` is; the package itself always is."""
    try:
        return importlib.util.find_spec("google.cloud.pubsub_v1") is not None
    except ModuleNotFoundError:
        return False


def choose_far_end(
    arguments: argparse.Namespace, environment: Mapping[str, str], *, has_cloud: bool
) -> tuple[FarEnd, str]:
    """And the project. Raises ConfigError: Google is wanted, and cannot be asked."""
    project = arguments.project
    if project is None and environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
        project = environment.get("GOOGLE_CLOUD_PROJECT") or None
    if arguments.no_cloud or (not has_cloud and arguments.project is None):
        return FarEnd.BROKER, LOCAL_PROJECT
    if not has_cloud:
        raise ConfigError(
            f"--project {project}: the cloud side is not installed; want {CLOUD_EXTRA}"
        )
    if project is None or arguments.local:
        return FarEnd.LOCAL, LOCAL_PROJECT
    if re.fullmatch(PROJECT_PATTERN, project) is None:
        raise ConfigError(f"project {project!r}; want a project id like my-project-123")
    return FarEnd.GOOGLE, project


class _Received:
    """What the subscriber was given."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.repeats = 0

    def is_new(self, event_id: str) -> bool:
        """Consumers drop repeats by id: a receipt can be lost after the event was stored."""
        if event_id in self.ids:
            self.repeats += 1
            return False
        self.ids.add(event_id)
        return True


def _show_chain(
    arguments: argparse.Namespace,
    scene: Scene,
    broker: DemoBroker,
    parts: Parts,
    closing: ExitStack,
    received: _Received,
) -> None:
    """Raises StoppedError: the person ended it while it was starting."""
    lines: Lines = Queue(10_000)

    def tell(part: str, words: str) -> None:
        # What is made on somebody's project is said in any case.
        if not arguments.json:
            say(f"{part:<10} {words}")
        elif scene.far_end is FarEnd.GOOGLE:
            complain(f"{part:<10} {words}")

    tell("broker", f"{broker.name} on {HOST}:{broker.port}")
    closing.callback(parts.close)
    scene = start_chain(scene, parts, lines, closing, tell)
    scene.box_file.write_text(scene.box_settings())
    parts.start("box", "device.main", "run", "--config", str(scene.box_file))
    delivery = "broker" if scene.far_end is FarEnd.BROKER else "receipts"
    tell("box", f'lookout run, delivery = "{delivery}"; no port')
    tell("pictures", ", ".join(sorted(each.stem for each in PICTURES.glob("*.jpg"))))
    watching = Event()
    closing.callback(watching.set)
    if not arguments.json:
        whose = "the broker" if scene.far_end is FarEnd.BROKER else "Pub/Sub"
        say("saw: what the box decides; pin: what its outputs do; event: what a subscriber")
        say(f"of {whose} receives. Ctrl-C ends it.")
        for target in (watch_box, watch_pins):
            Thread(target=target, args=(scene.folder, lines, watching), daemon=True).start()
    _print_lines(arguments, lines, broker, parts, received)


def _print_lines(
    arguments: argparse.Namespace,
    lines: Lines,
    broker: DemoBroker,
    parts: Parts,
    received: _Received,
) -> None:
    """Until the time is over, or the person ends it; raises when a part has ended by itself."""
    clock = assembly.system_clock()
    end_ns = clock.monotonic_ns() + round(FIRST_EVENT_WITHIN_S * 1e9)
    while not parts.stop.is_set():
        with suppress(Empty):
            line = lines.get(timeout=0.1)
            is_first = line.source == "event" and not received.ids
            if line.source != "event" or received.is_new(line.event["id"]):
                _print_line(line, as_json=arguments.json)
            if is_first and arguments.seconds is not None:
                end_ns = clock.monotonic_ns() + round(arguments.seconds * 1e9)
        broker.check()
        parts.check()
        is_over = clock.monotonic_ns() >= end_ns
        if is_over and not received.ids:
            raise TransientError(
                f"no event came within {FIRST_EVENT_WITHIN_S:.0f} s\n{parts.last_words()}"
            )
        if is_over and arguments.seconds is not None:
            return


def _print_line(line: Line, *, as_json: bool) -> None:
    if not as_json:
        say(f"{line.source:<10} {line.words}")
    elif line.source == "event":
        say_json(line.event)
