"""`lookout pause` and `lookout resume`: close the camera, and open it again."""

import argparse

from device import assembly
from device.commands.options import add_json, add_socket, socket_of
from device.commands.screen import say, say_json
from device.errors import ExitCode


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, words in (
        ("pause", "close the camera and put the outputs safe, until `resume`"),
        ("resume", "open the camera again after `pause`"),
    ):
        parser = subparsers.add_parser(name, help=words)
        add_socket(parser)
        add_json(parser)
        parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = assembly.ask_box(socket_of(arguments), arguments.command)
    if arguments.json:
        say_json(found)
    else:
        say(found["result"])
    return ExitCode.OK
