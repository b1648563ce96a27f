"""`lookout look`: look now, whatever the gate says, as a short press of the button does."""

import argparse

from device import assembly
from device.commands.options import add_json, add_socket, socket_of
from device.commands.screen import say, say_json
from device.errors import ExitCode, TransientError


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("look", help="look now and say what each region sees")
    add_socket(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = assembly.ask_box(socket_of(arguments), "look")
    if found["result"] == "no_picture":
        raise TransientError(
            "the camera gives no picture now; `lookout status` says why: it may be paused "
            "(`lookout resume`), at the end of its clip, or not there"
        )
    if arguments.json:
        say_json(found)
    else:
        for sight in found["sights"]:
            best = ", ".join(f"{each['label']} {each['score']:.2f}" for each in sight["labels"])
            say(f"{sight['region']}: {best}")
    return ExitCode.OK
