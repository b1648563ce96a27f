"""`lookout version`: what is installed, for questions and reports."""

import argparse
import platform

from device import assembly
from device.commands.options import add_json
from device.commands.screen import say, say_json
from device.errors import ExitCode, ModelError


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("version", help="print the versions of Lookout and its runtime")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        runtime = assembly.open_runtime()
        described = f"{runtime.name} {runtime.version}"
    except ModelError:
        described = "none"
    facts = {
        "lookout": assembly.lookout_version(),
        "python": platform.python_version(),
        "runtime": described,
        "machine": platform.machine(),
    }
    if arguments.json:
        say_json(facts)
    else:
        for name, value in facts.items():
            say(f"{name} {value}")
    return ExitCode.OK
