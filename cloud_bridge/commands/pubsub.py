"""`lookout-cloud pubsub`: Pub/Sub on this machine, where there is no Google Cloud."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from cloud_bridge.commands.options import whole_number
from cloud_bridge.commands.providing import provide
from cloud_bridge.commands.screen import complain, say
from cloud_bridge.config import is_loopback, reachable
from cloud_bridge.errors import ExitCode
from cloud_bridge.local_pubsub.server import LEAST_BYTES, MAX_BYTES, LocalPubsub
from cloud_bridge.workers import STOP_SIGNALS, stop_signal_within

SWITCH_INTERVAL_S = 0.0005
"""Python's default of 5 ms makes the thread that writes wait that long for its turn."""


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "pubsub",
        help="serve Pub/Sub on this machine",
        description=(
            "Serves Google's Pub/Sub interface (gRPC) from a folder of this machine, in the "
            "foreground until SIGTERM or Ctrl-C. Programs find it through the environment "
            "variable PUBSUB_EMULATOR_HOST=HOST:PORT."
        ),
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of topics, subscriptions and messages; made where there is none",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s); whoever reaches it may do everything",
    )
    parser.add_argument(
        "--port",
        type=whole_number(0, 65535, "a port, 0 to 65535"),
        default=8085,
        help="port (default: %(default)s); 0 picks a free one",
    )
    parser.add_argument(
        "--max-bytes",
        type=whole_number(LEAST_BYTES, 10**15, f"bytes, {LEAST_BYTES} or more"),
        default=MAX_BYTES,
        metavar="N",
        help="bytes of messages on disk at most (default: %(default)s); when they are used up, "
        "publishers are told to wait",
    )
    parser.add_argument(
        "--provision",
        metavar="PROJECT",
        help="make topics and subscriptions of this project where they are missing, as `provision` "
        "does; without Google Cloud any name will do, such as my-project",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    _configure_log()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # Blocked before the first thread starts, so that they stay pending until asked for.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    if not is_loopback(arguments.host):
        complain(
            f"warning: {arguments.host} is not this machine alone; whoever reaches the port may "
            "read, publish and delete"
        )
    with LocalPubsub(
        arguments.data_dir, arguments.host, arguments.port, arguments.max_bytes
    ) as pubsub:
        if arguments.provision is not None:
            provide(arguments.provision, reachable(arguments.host, pubsub.port))
        say(f"listening on {arguments.host}:{pubsub.port}")
        while pubsub.is_alive():
            if stop_signal_within(1.0):
                return ExitCode.OK
    return ExitCode.FAILED


def _configure_log() -> None:
    """The journal has its own times."""
    time = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(level=logging.INFO, format=f"{time}%(levelname)s %(name)s: %(message)s")
