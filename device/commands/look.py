"""`lookout look`: look now, whatever the gate says, as a short press of the button does."""

import argparse

from device import assembly
from device.commands.options import add_json, add_socket, socket_of
from device.commands.screen import say, say_json
from device.errors import ExitCode


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("look", help="look now and say what each region sees")
    add_socket(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = assembly.ask_box(socket_of(arguments), "look")
    if arguments.json:
        say_json(found)
    elif found["result"] == "no_picture":
        say("no picture yet: `lookout status` says what the camera waits for")
    else:
        for sight in found["sights"]:
            best = ", ".join(f"{each['label']} {each['score']:.2f}" for each in sight["labels"])
            say(f"{sight['region']}: {best}")
    return ExitCode.OK
