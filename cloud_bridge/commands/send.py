"""`lookout-cloud send`: desired settings or a command to a device, from a person."""

import argparse
import json
import random
import secrets
import tomllib
from pathlib import Path
from threading import Event
from typing import Any, get_args

from pydantic import ValidationError

from cloud_bridge import assembly
from cloud_bridge.clocks import SystemClock
from cloud_bridge.commands.options import add_config, seconds, whole_number
from cloud_bridge.commands.screen import say
from cloud_bridge.config import Config
from cloud_bridge.downlink.reading import COMMAND, CONFIG, attributes_of, read
from cloud_bridge.errors import BlockedError, ConfigError, ExitCode, TransientError
from cloud_bridge.ports import OutMessage, Received
from cloud_bridge.settings_file import read_config
from device.wire.downward import MAX_DOWN_BYTES, Command, CommandVerb, DesiredSettings, encode_down
from device.wire.errors import WireError
from device.wire.events import first_mistake, time_text
from device.wire.names import is_name
from device.wire.text import printable

EXPIRES_S = 60.0
EXPIRES_MOST_S = 7 * 24 * 3600.0
"""A box refuses what expires later."""

MQTT_S = 15.0


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "send",
        help="send a device desired settings or a command",
        description=(
            "Goes by Pub/Sub's downlink topic, and so through the bridge, or straight to the "
            "broker. What the device made of it comes back in its state and its events."
        ),
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    config = kinds.add_parser("config", help="desired settings: the tunable sections of a file")
    config.add_argument("device", metavar="DEVICE")
    config.add_argument("file", type=Path, metavar="FILE", help="TOML; an empty one takes all back")
    config.add_argument(
        "--version",
        type=whole_number(1, 10**15, "a whole number from 1 to 1000000000000000"),
        metavar="N",
        help="must be larger than the last one (default: seconds since 1970)",
    )
    command = kinds.add_parser("command", help="something to do now, once")
    command.add_argument("device", metavar="DEVICE")
    command.add_argument("verb", metavar="VERB", choices=get_args(CommandVerb), help="%(choices)s")
    command.add_argument(
        "--expires-s",
        type=seconds(
            EXPIRES_MOST_S, f"seconds, more than 0 and {EXPIRES_MOST_S:g} (seven days) at most"
        ),
        default=EXPIRES_S,
        metavar="N",
        help="not done later than in N seconds (default: %(default)g)",
    )
    command.add_argument(
        "--argument",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for the command; VALUE is JSON, or text",
    )
    for kind, run in ((config, send_config), (command, send_command)):
        add_config(kind)
        kind.add_argument("--registry", help="needed where the settings name several")
        kind.add_argument(
            "--mqtt",
            action="store_true",
            help="straight to the broker, without Pub/Sub and the bridge",
        )
        kind.add_argument("--json", action="store_true", help="JSON on standard output")
        kind.set_defaults(run=run)


def send_config(arguments: argparse.Namespace) -> int:
    settings = _read_settings(arguments.file)
    version = arguments.version
    if version is None:
        version = SystemClock().wall_ns() // 1_000_000_000
    try:
        desired = DesiredSettings(version=version, settings=settings)
    except ValidationError as exc:
        raise ConfigError(f"{arguments.file}, version {version}: {first_mistake(exc)}") from exc
    _send(arguments, CONFIG, encode_down(desired), {"version": version})
    return ExitCode.OK


def send_command(arguments: argparse.Namespace) -> int:
    expires_ns = SystemClock().wall_ns() + round(arguments.expires_s * 1e9)
    try:
        command = Command(
            id=secrets.token_hex(8),
            command=arguments.verb,
            expires=time_text(expires_ns),
            arguments=dict(_argument(text) for text in arguments.argument),
        )
    except ValidationError as exc:
        raise ConfigError(f"--argument: {first_mistake(exc)}") from exc
    _send(arguments, COMMAND, encode_down(command), {"id": command.id, "expires": command.expires})
    return ExitCode.OK


def _read_settings(path: Path) -> dict[str, Any]:
    """Raises ConfigError."""
    wish = "want a TOML file of settings: docs/remote.md"
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        json.dumps(settings)
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 at byte {exc.start}; {wish}") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}; {wish}") from exc
    except TypeError as exc:
        raise ConfigError(f"{path}: holds a date or a time; no setting is one: {wish}") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: not TOML: {str(exc)[:200]}; {wish}") from exc
    return settings


def _argument(text: str) -> tuple[str, Any]:
    key, equals, value = printable(text).partition("=")
    if not key or not equals:
        raise ConfigError(f"--argument {text!r}: want KEY=VALUE")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


def _send(arguments: argparse.Namespace, kind: str, body: bytes, told: dict[str, Any]) -> None:
    config = read_config(Path(arguments.config))
    registry = _registry(arguments, config)
    if not is_name(arguments.device):
        raise ConfigError(f"device {arguments.device!r}: want letters, digits, - and _")
    if len(body) > MAX_DOWN_BYTES:
        raise ConfigError(f"{len(body)} bytes: want at most {MAX_DOWN_BYTES}")
    attributes = attributes_of(registry, arguments.device, kind)
    if arguments.mqtt:
        _send_by_mqtt(config, Received("", body, attributes))
    else:
        _send_by_pubsub(config, OutMessage(body, attributes))
    if arguments.json:
        say(json.dumps({"registry": registry, "device": arguments.device, **told}))
    else:
        words = " ".join(f"{key}={value}" for key, value in told.items())
        say(f"sent to {registry}/{arguments.device} {words}")


def _registry(arguments: argparse.Namespace, config: Config) -> str:
    if arguments.registry is None and len(config.registries) == 1:
        return config.registries[0]
    if arguments.registry not in config.registries:
        raise ConfigError(
            f"--registry {arguments.registry}: want one of {', '.join(config.registries)}"
        )
    return str(arguments.registry)


def _send_by_pubsub(config: Config, message: OutMessage) -> None:
    topic = config.pubsub.topic(config.pubsub.downlink_topic)
    publisher = assembly.make_publisher(config)
    try:
        if config.pubsub.check_subscriptions and not publisher.subscriptions(topic):
            raise BlockedError(
                f"{topic} has no subscription, so no bridge hears it; make one, for example with "
                "lookout-cloud provision, and name it in [pubsub] downlink_subscription"
            )
        publisher.publish(topic, [message])
    finally:
        publisher.close()


def _send_by_mqtt(config: Config, received: Received) -> None:
    clock = SystemClock()
    try:
        downward = read(received, frozenset(config.registries), clock.wall_ns())
    except WireError as exc:
        raise ConfigError(str(exc)) from exc
    link = assembly.make_sending_link(config, random.SystemRandom().random)
    given, problems = Event(), list[str | None]()

    def done(problem: str | None) -> None:
        problems.append(problem)
        given.set()

    deadline_ns = clock.monotonic_ns() + round(MQTT_S * 1e9)
    try:
        while not link.is_connected and clock.monotonic_ns() < deadline_ns:
            link.turn(0.1, room=1)
        link.send(
            downward.topic,
            downward.payload,
            qos=1,
            retain=downward.is_retained,
            must_be_heard=not downward.is_retained,
            done=done,
        )
        while not given.is_set() and clock.monotonic_ns() < deadline_ns:
            link.turn(0.1, room=1)
    finally:
        link.close()
    problem = problems[0] if problems else "the broker does not acknowledge"
    if problem is not None:
        raise TransientError(problem)
