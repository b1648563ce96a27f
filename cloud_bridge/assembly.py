"""Puts the bridge together: the only file that names adapters."""

import logging
import random
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from cloud_bridge.clocks import WAITS, SystemClock, Waits
from cloud_bridge.config import Config
from cloud_bridge.downlink.sending import Sending
from cloud_bridge.downlink.sqlite_versions import SqliteVersions
from cloud_bridge.errors import OutputError
from cloud_bridge.forward.forwarding import Bounds, Forwarding
from cloud_bridge.forward.gate import Gate, Watching
from cloud_bridge.forward.keeping import Keeping
from cloud_bridge.forward.mistimed import Mistimed
from cloud_bridge.forward.paho_link import PahoLink
from cloud_bridge.forward.publishing import Publishing, Retrying, StatePublishing
from cloud_bridge.forward.reading import Reader
from cloud_bridge.forward.receipts import ReceiptBook
from cloud_bridge.forward.sqlite_dead_letters import SqliteDeadLetters
from cloud_bridge.forward.states import StateSlots
from cloud_bridge.health import FILE_EVERY_S, Health
from cloud_bridge.instance_lock import InstanceLock
from cloud_bridge.ports import CommandSource, DeadLetters, Link, Publisher
from cloud_bridge.workers import Worker

if TYPE_CHECKING:
    from cloud_bridge.provision.google_admin import GoogleAdmin

log = logging.getLogger(__name__)

LINK_TURN_S = 120.0
"""A name server may hold a lookup for a minute."""

DEAD_LETTERS_FILE = "dead_letters.db"
VERSIONS_FILE = "downlink.db"
STATUS_FILE = "status.json"
DOWNLINK = "downlink"
"""The worker that waits in Pub/Sub's library for commands most of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a bridge is made of; fault tests put broken ones in, and hurried ones."""

    link: type[PahoLink] = PahoLink
    forwarding: type[Forwarding] = Forwarding
    keeping: type[Keeping] = Keeping
    publishing: type[Publishing] = Publishing
    state_publishing: type[StatePublishing] = StatePublishing
    watching: type[Watching] = Watching
    sending: type[Sending] = Sending
    waits: Waits = WAITS
    status_every_s: float = FILE_EVERY_S


PARTS = Parts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """Everything that a running bridge has. link_worker is among `workers`."""

    link: Link
    forwarding: Forwarding
    workers: list[Worker]
    link_worker: Worker
    certificate: Mistimed
    health: Health
    stop: Event
    stop_link: Event
    """Set after `stop`: the link's thread ends last, and acknowledges what is confirmed yet."""

    def now(self) -> dict[str, int]:
        """For the status: what is so at this moment."""
        return {"in_flight": self.forwarding.held, "connected": int(self.link.is_connected)}


def filters_of(config: Config) -> list[str]:
    """What the bridge subscribes to."""
    return [
        f"{registry}/devices/+/{kind}"
        for registry in config.registries
        for kind in ("events/#", "state", "availability")
    ]


def make_state_dir(config: Config) -> Path:
    """Raises OutputError."""
    try:
        config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as exc:
        raise OutputError(
            f"state_dir {config.state_dir}: {exc.strerror}; want a folder that this user can "
            "write: mend its rights, or name another one"
        ) from exc
    return config.state_dir


def make_dead_letters(config: Config) -> DeadLetters:
    """Raises OutputError."""
    path = make_state_dir(config) / DEAD_LETTERS_FILE
    return SqliteDeadLetters(path, config.dead_letters.max_bytes, SystemClock())


def make_publisher(config: Config, waits: Waits = WAITS) -> Publisher:
    """Raises ConfigError."""
    # 60 MB and up to a second: commands that look at files alone go without.
    from cloud_bridge.forward.google_pubsub import GooglePublisher

    return GooglePublisher(config.pubsub.credentials_file, waits, address=config.pubsub_address)


def make_source(config: Config, subscription: str, waits: Waits = WAITS) -> CommandSource:
    """What a subscription of the project holds. Raises ConfigError."""
    from cloud_bridge.downlink.google_commands import GoogleCommands

    return GoogleCommands(
        config.pubsub.subscription(subscription),
        config.pubsub.credentials_file,
        waits,
        address=config.pubsub_address,
    )


def make_admin(address: str | None = None) -> "GoogleAdmin":
    """Of Google's Pub/Sub, or of the one at HOST:PORT. Raises ConfigError."""
    from cloud_bridge.provision.google_admin import GoogleAdmin

    return GoogleAdmin(address)


def make_reader(config: Config) -> Reader:
    return Reader(frozenset(config.registries), config.pubsub.project, config.location)


def make_sending_link(config: Config, jitter: Callable[[], float]) -> Link:
    """For a command that sends one message: no session, and a client id of its own."""
    name = f"{config.mqtt.client_id[:48]}-send-{secrets.token_hex(4)}"
    mqtt = config.mqtt.model_copy(update={"client_id": name})
    return PahoLink(mqtt, (), SystemClock(), jitter)


def make_bridge(config: Config, exits: ExitStack, parts: Parts = PARTS) -> Bridge:
    """Connects to nothing yet; `exits` closes all of it.

    Raises ConfigError, OutputError, and TransientError when another bridge has the folder.
    """
    clock, jitter, pubsub = SystemClock(), random.SystemRandom().random, config.pubsub
    exits.enter_context(
        InstanceLock(make_state_dir(config), "give each bridge a state_dir of its own")
    )
    letters = make_dead_letters(config)
    exits.callback(letters.close)
    publisher = make_publisher(config, parts.waits)
    exits.callback(publisher.close)
    link = parts.link(config.mqtt, filters_of(config), clock, jitter)
    exits.callback(link.close)
    health = Health(clock, config.state_dir / STATUS_FILE, parts.status_every_s)
    stop, stop_link = Event(), Event()
    states, gate = StateSlots(), Gate(is_open=not pubsub.check_subscriptions)
    forwarding = parts.forwarding(
        link,
        make_reader(config),
        ReceiptBook(clock, config.receipts_ms / 1000),
        states,
        Bounds(
            held_messages=2 * config.mqtt.window,
            held_bytes=config.queue_bytes,
            batch_messages=pubsub.batch_messages,
            batch_bytes=pubsub.batch_bytes,
            batch_s=pubsub.batch_ms / 1000,
        ),
        clock,
        health,
    )

    def worker(name: str, turn: Callable[[], None]) -> Worker:
        return Worker(name, turn, stop, clock, jitter)

    events_topic, state_topic = (
        pubsub.topic(name) for name in (pubsub.events_topic, pubsub.state_topic)
    )
    link_worker = Worker("link", forwarding.turn, stop_link, clock, jitter, LINK_TURN_S)
    workers = [link_worker]
    for number in range(pubsub.in_flight):
        publishing = parts.publishing(
            forwarding.to_publish,
            publisher,
            events_topic,
            gate,
            forwarding.tell,
            forwarding.is_stale,
            Retrying("publishing events", health, stop, jitter, parts.waits),
        )
        workers.append(worker(f"publisher-{number}", publishing.turn))
    keeping = parts.keeping(
        forwarding.to_keep, letters, forwarding.tell, health, stop, jitter, parts.waits
    )
    workers.append(worker("dead-letters", keeping.turn))
    state_publishing = parts.state_publishing(
        states,
        publisher,
        state_topic,
        Retrying("publishing states", health, stop, jitter, parts.waits),
        health,
    )
    workers.append(worker("states", state_publishing.turn))
    if pubsub.check_subscriptions:
        watching = parts.watching(gate, publisher, events_topic, pubsub.check_s, health, stop.wait)
        workers.append(worker("subscriptions", watching.turn))
    if pubsub.downlink_subscription is not None:
        source = make_source(config, pubsub.downlink_subscription, parts.waits)
        exits.callback(source.close)
        versions = SqliteVersions(config.state_dir / VERSIONS_FILE)
        exits.callback(versions.close)
        sending = parts.sending(
            source,
            link,
            versions,
            frozenset(config.registries),
            clock,
            health,
            stop.wait,
            jitter,
            parts.waits,
        )
        workers.append(worker(DOWNLINK, sending.turn))
    return Bridge(
        link=link,
        forwarding=forwarding,
        workers=workers,
        link_worker=link_worker,
        certificate=Mistimed(config.mqtt, clock),
        health=health,
        stop=stop,
        stop_link=stop_link,
    )
