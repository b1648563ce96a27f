"""The parser of the command line; each command is a file in `device/commands/`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from device.commands.screen import complain
from device.errors import LookoutError

MODULES = {
    "demo": "device.demo.command",
    "run": "device.commands.run",
    "classify": "device.commands.classify",
    "watch": "device.commands.watch",
    "status": "device.commands.status",
    "snap": "device.commands.snap",
    "look": "device.commands.look",
    "pause": "device.commands.pause",
    "resume": "device.commands.pause",
    "why": "device.commands.why",
    "model": "device.commands.model",
    "camera": "device.commands.camera",
    "config": "device.commands.config",
    "version": "device.commands.version",
    "trial": "device.commands.trial",
}
"""Where each command lives, in the order in which help shows them."""

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The command line; of one command where its name is known, so that nothing else is loaded."""
    top = argparse.ArgumentParser(
        prog="lookout",
        description="Lookout sees, decides, acts and reports. Start with: lookout demo",
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = [MODULES[command]] if command in MODULES else dict.fromkeys(MODULES.values())
    for module in wanted:
        importlib.import_module(module).add_to(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (`device.errors.ExitCode`, docs/exit-codes.md)."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        arguments = parser(words[0] if words else None).parse_args(words)
        return int(arguments.run(arguments))
    except LookoutError as exc:
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
