"""`lookout-cloud bridge`: MQTT to Pub/Sub and back, until it is told to stop."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from cloud_bridge import assembly
from cloud_bridge.assembly import PARTS, Bridge, Parts
from cloud_bridge.commands.options import add_config
from cloud_bridge.config import Config
from cloud_bridge.errors import ConfigError, ExitCode
from cloud_bridge.settings_file import read_config
from cloud_bridge.workers import STOP_SIGNALS, Worker, join_all, stop_signal_within, supervise

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
"""Python's default of 5 ms makes the link's thread wait that long behind a publisher."""

FINISH_S = 1.5
"""For parcels under way to be confirmed after the wish to stop; the rest comes again."""

JOIN_S = 0.8


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "bridge",
        help="take events from the broker on to Pub/Sub",
        description=(
            "Takes the events of one or more registries from the MQTT broker on to Pub/Sub, sends "
            "receipts back, and commands down; in the foreground until SIGTERM or Ctrl-C."
        ),
    )
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="log as JSON, one object a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    configure_log(as_json=arguments.json)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    config = read_config(Path(arguments.config))
    if config.hub is not None:
        raise ConfigError(
            f"{arguments.config}: has a [hub] table, so it is a hub's; want settings of a bridge, "
            "or `lookout-cloud hub`"
        )
    return serve(config)


def serve(
    config: Config,
    parts: Parts = PARTS,
    wait_for_stop: Callable[[float], bool] = stop_signal_within,
) -> int:
    """Until a stop signal; the exit code."""
    # Blocked before the first thread starts, so that they stay pending until asked for.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with ExitStack() as exits:
        bridge = assembly.make_bridge(config, exits, parts)
        say_start(config)
        bridge.health.write(bridge.now())  # from now on it has room, whatever fills the disk
        was_asked = supervise(
            bridge.workers,
            bridge.stop,
            lambda: tick(bridge, bridge.now()),
            wait_for_stop,
        )
        code = ExitCode.OK if was_asked else ExitCode.FAILED
        leave(bridge, finish(bridge), code)
    return code


def say_start(config: Config) -> None:
    log.info(
        "bridge starts registries=%s broker=%s:%d project=%s local_pubsub=%s",
        ",".join(config.registries),
        config.mqtt.host,
        config.mqtt.port_number,
        config.pubsub.project,
        config.pubsub_address or os.environ.get("PUBSUB_EMULATOR_HOST", "no"),
    )


def tick(bridge: Bridge, now: Mapping[str, int]) -> None:
    """Once a second. now: for the status."""
    problem = bridge.link.problem
    if bridge.link.is_connected:
        bridge.health.well("broker")
    elif problem is not None:
        bridge.health.trouble("broker", problem)
    ending = bridge.certificate.soon()
    if ending is None:
        bridge.health.well("certificate")
    else:
        bridge.health.trouble("certificate", ending)
    bridge.health.tick(now)


def finish(bridge: Bridge, now: Callable[[], Mapping[str, int]] | None = None) -> list[Worker]:
    """Let what is under way be confirmed and acknowledged; the rest stays with the broker.

    Returns those who did not end: they wait in a library.
    """
    bridge.stop.set()
    # The downlink waits for commands that will not come: whatever it holds comes again.
    not_waited_for = (bridge.link_worker.name, assembly.DOWNLINK)
    join_all([each for each in bridge.workers if each.name not in not_waited_for], FINISH_S)
    bridge.stop_link.set()
    bridge.link.wake()
    join_all([bridge.link_worker], JOIN_S)
    if not bridge.link_worker.is_alive():
        bridge.forwarding.settle()
        bridge.forwarding.send_receipts()
    bridge.health.write(bridge.now() if now is None else now())
    log.info("bridge ends counts=%s", json.dumps(bridge.health.counts))
    return [each for each in bridge.workers if each.is_alive()]


def leave(bridge: Bridge, left: Sequence[Worker], code: int) -> None:
    """End the process where threads are left that wait in a library: they must not hold it.
    Nothing of theirs is acknowledged, so nothing is lost with them."""
    if left:
        log.warning("ends without waiting for %s", ", ".join(each.name for each in left))
        bridge.link.close()
        logging.shutdown()
        os._exit(code)


class _JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def configure_log(*, as_json: bool) -> None:
    """The journal has its own times."""
    handler = logging.StreamHandler()
    time = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    handler.setFormatter(
        _JsonFormatter()
        if as_json
        else logging.Formatter(f"{time}%(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
