"""`lookout watch`: what the running box decides, one line each, as it happens."""

import argparse

from device import assembly
from device.commands.options import add_json, add_socket, socket_of
from device.commands.screen import say, say_json
from device.errors import ExitCode


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "watch",
        help="show what the running box decides, one line an event",
        description="Prints one line for each event, output change and near miss, until Ctrl-C.",
    )
    add_socket(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    for record in assembly.stream_box(socket_of(arguments), "watch"):
        if arguments.json:
            say_json(record)
        else:
            say(f"{record['time'][:19]}Z  {record['headline']}  [{record['id']}]")
    return ExitCode.OK
