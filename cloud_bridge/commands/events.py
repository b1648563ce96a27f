"""`lookout-cloud events`: what a subscription of Pub/Sub receives, one event a line."""

import argparse
import base64
import json
import random
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from cloud_bridge import assembly
from cloud_bridge.clocks import backoff_s
from cloud_bridge.commands.options import default_config, seconds, whole_number
from cloud_bridge.commands.screen import complain, say
from cloud_bridge.config import Config, PubsubConfig
from cloud_bridge.errors import ConfigError, ExitCode, TransientError
from cloud_bridge.ports import CommandSource, Received
from cloud_bridge.provision.plan import DAY_S, Subscription
from cloud_bridge.settings_file import read_config

KEEP_S = 3600
"""A subscription of the command's own holds messages so long, should it be left behind."""

MEMBERS = ("specversion", "id", "source", "type", "subject", "time")
"""In the order in which a box writes them."""

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "events",
        help="print what a subscription receives, one event a line",
        description=(
            "Prints events as they come to Pub/Sub, until Ctrl-C. Without --subscription it makes "
            "one of its own, which it deletes at its end: so it sees what comes from now on, and "
            "takes nothing away from anybody. An event may come more than once."
        ),
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config",
        metavar="FILE",
        default=default_config(),
        help="settings of the bridge or the hub (default: as other commands have it)",
    )
    where.add_argument(
        "--project",
        help="of Google Cloud, instead of settings; PUBSUB_EMULATOR_HOST leads to a local one",
    )
    parser.add_argument(
        "--topic", metavar="NAME", help="read this one (default: that of the events)"
    )
    parser.add_argument(
        "--subscription",
        metavar="NAME",
        help="read one that is there; what was printed is acknowledged, so nobody else gets it",
    )
    parser.add_argument(
        "--count",
        type=whole_number(1, 10**15, "how many, from 1"),
        metavar="N",
        help="end after N events",
    )
    parser.add_argument(
        "--seconds",
        type=seconds(1e9, "seconds, more than 0"),
        metavar="N",
        help="end after so long",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: one object a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    # Told to end by whatever means, it still deletes what it made.
    for number in END_SIGNALS:
        signal.signal(number, _interrupt)
    with _subscription(arguments, config) as name:
        source = assembly.make_source(config, name)
        try:
            if arguments.seconds is not None:  # of listening; getting ready is not part of it
                signal.setitimer(signal.ITIMER_REAL, arguments.seconds)
            _print_all(source, arguments)
        except KeyboardInterrupt:
            return ExitCode.OK  # this is how it ends
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            source.close()
    return ExitCode.OK


def _config(arguments: argparse.Namespace) -> Config:
    if arguments.project is None:
        return read_config(Path(arguments.config))
    try:
        pubsub = PubsubConfig(project=arguments.project)
    except ValueError as exc:
        raise ConfigError(
            f"--project {arguments.project}: want a project id like my-project-123"
        ) from exc
    return Config(registries=["none"], pubsub=pubsub)


@contextmanager
def _subscription(arguments: argparse.Namespace, config: Config) -> Iterator[str]:
    """Its short name; one that was made here is deleted at the end."""
    if arguments.subscription is not None:
        yield arguments.subscription
        return
    name = f"lookout-look-{secrets.token_hex(4)}"
    subscription = Subscription(
        name=config.pubsub.subscription(name),
        topic=config.pubsub.topic(arguments.topic or config.pubsub.events_topic),
        keep_s=KEEP_S,
        expires_after_s=DAY_S,
        min_backoff_s=None,
        max_backoff_s=None,
    )
    with assembly.make_admin(config.pubsub_address) as admin:
        admin.create_subscription(subscription)
        try:
            if not arguments.json:
                say(f"listening to {subscription.topic}")
            yield name
        finally:
            for number in END_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            admin.delete_subscription(subscription.name)


def _print_all(source: CommandSource, arguments: argparse.Namespace) -> None:
    """Until the count is reached; a Pub/Sub that is away is waited for."""
    jitter, pause = random.SystemRandom().random, Event()
    printed = failures = 0
    while True:
        try:
            for each in source.pull():
                say(_line(each, as_json=arguments.json))
                source.acknowledge([each.ack_id])
                printed += 1
                if printed == arguments.count:
                    return
            failures = 0
        except TransientError as exc:
            failures += 1
            if failures == 1:
                complain(f"{exc}; trying again")
            pause.wait(backoff_s(failures, jitter()))


def _line(received: Received, *, as_json: bool) -> str:
    event = event_of(received.attributes, received.body)
    if as_json:
        return json.dumps(event, ensure_ascii=False)
    words = (event.get(key, "") for key in ("time", "id", "type", "subject"))
    return "  ".join(str(each) for each in words if each) or json.dumps(event)


def event_of(attributes: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """A CloudEvent in structured form, of a message in binary mode (docs/decisions/0007).

    What is no event has `attributes` instead of the members of one.
    """
    came = {key[3:]: value for key, value in attributes.items() if key.startswith("ce-")}
    members: dict[str, Any] = {key: came.pop(key) for key in MEMBERS if key in came} | came
    if "id" not in members:
        members = {"attributes": dict(attributes)}
    elif "content-type" in attributes:
        members["datacontenttype"] = attributes["content-type"]
    try:
        return {**members, "data": json.loads(body)}
    except ValueError:  # of UnicodeDecodeError too
        return {**members, "data_base64": base64.b64encode(body).decode()}


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
