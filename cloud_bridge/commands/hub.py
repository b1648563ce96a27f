"""`lookout-cloud hub`: bridge and local Pub/Sub in one process, for people without Google Cloud."""

import argparse
import logging
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from cloud_bridge import assembly
from cloud_bridge.assembly import PARTS, Bridge, Parts
from cloud_bridge.commands.bridge import (
    SWITCH_INTERVAL_S,
    configure_log,
    finish,
    leave,
    say_start,
    tick,
)
from cloud_bridge.commands.options import HUB_CONFIG
from cloud_bridge.commands.providing import provide
from cloud_bridge.commands.screen import complain
from cloud_bridge.config import Config, HubConfig
from cloud_bridge.errors import ConfigError, ExitCode, OutputError
from cloud_bridge.instance_lock import InstanceLock
from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.settings_file import read_config
from cloud_bridge.workers import STOP_SIGNALS, join_all, stop_signal_within, supervise

log = logging.getLogger(__name__)

SETTINGS_FILE = "hub.toml"
LAST_S = 0.3
"""For whoever still waited for the Pub/Sub to notice that it has ended."""

_FIRST_SETTINGS = """\
# Made by `lookout-cloud hub --data-dir`; docs/hub.md has every key. Commands that are to find this
# hub want this file: lookout-cloud events --config FILE

# registries = ["home"]

[hub]
data_dir = "."
# port = 8085          # of its Pub/Sub, on 127.0.0.1

# [mqtt]
# host = "localhost"   # the broker
# port = 1883
"""


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "hub",
        help="bridge and Pub/Sub in one process, without Google Cloud",
        description=(
            "Serves Pub/Sub on this machine, makes its topics and subscriptions, and takes the "
            "events of boxes from the MQTT broker there, sends receipts back, and commands down; "
            "in the foreground until SIGTERM or Ctrl-C."
        ),
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("LOOKOUT_HUB_CONFIG", HUB_CONFIG)),
        metavar="FILE",
        help=f"the hub's settings (default: $LOOKOUT_HUB_CONFIG, else {HUB_CONFIG})",
    )
    which.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help=f"the settings are DIR/{SETTINGS_FILE}, made where there are none: all that a hub "
        "needs is a broker on this machine",
    )
    parser.add_argument("--json", action="store_true", help="log as JSON, one object a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    configure_log(as_json=arguments.json)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    path = arguments.config if arguments.data_dir is None else first_settings(arguments.data_dir)
    if not path.exists():
        raise ConfigError(
            f"{path}: no such file; want settings of a hub: name them with --config FILE, or begin "
            "with --data-dir DIR, which makes some: docs/hub.md"
        )
    config = read_config(path)
    if config.hub is None:
        raise ConfigError(
            f"{path}: no [hub] table; want one, which may be empty, or `lookout-cloud bridge` for "
            "a bridge to Google Cloud: docs/hub.md"
        )
    return serve(config, config.hub)


def first_settings(folder: Path) -> Path:
    """The settings in a hub's folder, made where there are none. Raises OutputError."""
    path = folder / SETTINGS_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        if path.exists():
            return path
        path.write_text(_FIRST_SETTINGS, encoding="utf-8")
    except OSError as exc:
        raise OutputError(
            f"{path}: {exc.strerror}; want a folder that this user can write: name another "
            "--data-dir"
        ) from exc
    log.info("settings made file=%s", path)
    return path


def serve(
    config: Config,
    hub: HubConfig,
    parts: Parts = PARTS,
    pubsub_kind: type[LocalPubsub] = LocalPubsub,
) -> int:
    """Until a stop signal, or until a part of it has died; the exit code.

    parts, pubsub_kind: fault tests put broken ones in.
    """
    # Blocked before the first thread starts, so that they stay pending until asked for.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with ExitStack() as exits:
        exits.enter_context(InstanceLock(hub.data_dir, "give each hub a data_dir of its own"))
        if not hub.is_loopback:
            complain(
                f"warning: [hub] host {hub.host} is not this machine alone; whoever reaches the "
                "port may read, publish and delete"
            )
        pubsub = exits.enter_context(
            pubsub_kind(hub.data_dir / "pubsub", hub.host, hub.port, hub.max_bytes)
        )
        provide(config.pubsub.project, hub.address, hub.keep_days)
        bridge = assembly.make_bridge(config, exits, parts)
        say_start(config)
        log.info("hub serves Pub/Sub on=%s project=%s", hub.address, config.pubsub.project)
        watched = _Watched(bridge, pubsub)
        bridge.health.write(watched.now())  # from now on it has room, whatever fills the disk
        was_asked = supervise(bridge.workers, bridge.stop, watched.tick, stop_signal_within)
        code = ExitCode.OK if was_asked and not watched.has_died else ExitCode.FAILED
        # First the bridge, so that what is under way is confirmed yet.
        left = finish(bridge, watched.now)
        pubsub.close()
        join_all(left, LAST_S)
        leave(bridge, [each for each in left if each.is_alive()], code)
    return code


class _Watched:
    """Both halves, seen once a second: neither dies in silence."""

    def __init__(self, bridge: Bridge, pubsub: LocalPubsub) -> None:
        self._bridge = bridge
        self._pubsub = pubsub
        self.has_died = False

    def tick(self) -> None:
        if not self._pubsub.is_alive() and not self.has_died:
            self.has_died = True
            self._bridge.health.trouble(
                "pubsub", "the local Pub/Sub has died; the hub ends, start it again"
            )
            self._bridge.stop.set()
        tick(self._bridge, self.now())

    def now(self) -> dict[str, int]:
        """For the status. pubsub_*: since the start."""
        counts = self._pubsub.counts
        return {
            **self._bridge.now(),
            "pubsub_published": counts.published,
            "pubsub_acknowledged": counts.acknowledged,
            "pubsub_unsubscribed": counts.unsubscribed,
            "pubsub_dead_lettered": counts.dead_lettered,
            "pubsub_expired": counts.expired,
        }
