"""The parser of the command line; each command is a file in `cloud_bridge/commands/`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from cloud_bridge.commands.screen import complain
from cloud_bridge.errors import CloudError

MODULES = {
    "bridge": "cloud_bridge.commands.bridge",
    "hub": "cloud_bridge.commands.hub",
    "events": "cloud_bridge.commands.events",
    "deadletters": "cloud_bridge.commands.deadletters",
    "send": "cloud_bridge.commands.send",
    "pubsub": "cloud_bridge.commands.pubsub",
    "broker": "cloud_bridge.commands.broker",
    "device": "cloud_bridge.commands.device",
    "provision": "cloud_bridge.commands.provision",
}
"""Where each command lives, in the order in which help shows them."""

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The command line; of one command where its name is known, so that nothing else is loaded."""
    top = argparse.ArgumentParser(
        prog="lookout-cloud",
        description="What runs beside Lookout's boxes: takes their events on to Pub/Sub.",
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = [MODULES[command]] if command in MODULES else dict.fromkeys(MODULES.values())
    for module in wanted:
        importlib.import_module(module).add_to(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (`cloud_bridge.errors.ExitCode`)."""
    # gRPC's C library would write beside our one message; it is loaded with the command.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser(words[0] if words else None).parse_args(words)
    try:
        return int(arguments.run(arguments))
    except CloudError as exc:
        complain(str(exc))
        return int(exc.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
