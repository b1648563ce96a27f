"""`lookout snap`: what the camera sees now, with the regions drawn on it for aiming."""

import argparse
from base64 import b64decode
from pathlib import Path

from device import assembly
from device.commands.options import add_json, add_socket, socket_of
from device.commands.screen import say, say_json
from device.errors import ExitCode, OutputError


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "snap",
        help="save the camera's picture, with the regions drawn on it",
        description="Saves what the running box sees now as a JPEG; says what each region sees.",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="a .jpg to write"
    )
    parser.add_argument("--regions", action="store_true", help="draw the regions and masks")
    add_socket(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = assembly.ask_box(socket_of(arguments), "snap", {"regions": arguments.regions})
    jpeg = b64decode(found.pop("jpeg"))
    try:
        arguments.output.write_bytes(jpeg)
    except OSError as exc:
        raise OutputError(
            f"{arguments.output}: cannot be written: {exc.strerror}; name another --output"
        ) from exc
    if arguments.json:
        say_json({"output": str(arguments.output), "size_bytes": len(jpeg), **found})
        return ExitCode.OK
    say(f"{arguments.output}: {found['height_px']} x {found['width_px']} pixels (height x width)")
    for sight in found["sights"]:
        best = ", ".join(f"{each['label']} {each['score']:.2f}" for each in sight["labels"])
        present = ", ".join(sight["present"]) or "nothing"
        say(f"  {sight['region']}: counts as {present}; best: {best or 'none'}")
    return ExitCode.OK
