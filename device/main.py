"""The parser of the command line; each command is a file in `device/commands/`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from device.commands.screen import complain
from device.errors import LookoutError

COMMANDS = (
    "run",
    "classify",
    "watch",
    "status",
    "snap",
    "look",
    "pause",
    "why",
    "model",
    "camera",
    "config",
    "version",
    "trial",
)
"""Modules of `device/commands/`, in the order in which help shows them."""

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="lookout",
        description="Lookout sees, decides, acts and reports. Start with: lookout demo",
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    importlib.import_module("device.demo").add_to(subparsers)
    for name in COMMANDS:
        importlib.import_module(f"device.commands.{name}").add_to(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (`device.errors.ExitCode`, docs/exit-codes.md)."""
    arguments = parser().parse_args(argv)
    try:
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
