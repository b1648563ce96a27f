"""`lookout camera list`: the cameras of this machine, and the settings that choose each."""

import argparse
from typing import TYPE_CHECKING

from device import assembly
from device.commands.options import add_json
from device.commands.screen import complain, say, say_json
from device.errors import ExitCode

if TYPE_CHECKING:
    from device.camera.listing import FoundCamera

SIZES_SHOWN = 6
"""Of each format: webcams offer two dozen."""


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("camera", help="list the cameras that are there")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="show each camera with the settings that choose it")
    add_json(listing)
    listing.set_defaults(run=run_list)


def run_list(arguments: argparse.Namespace) -> int:
    """Exit code 0 also where there is no camera: that is an answer, not a failure."""
    listing = assembly.list_cameras()
    if arguments.json:
        for camera in listing.cameras:
            say_json(_as_json(camera))
        for hint in listing.hints:
            complain(f"note: {hint}")
        return ExitCode.OK
    for camera in listing.cameras:
        say("\n".join(describe(camera)))
    if not listing.cameras:
        say("No camera was found.")
        say(
            "A Pi camera wants its ribbon cable seated at both ends; a USB camera is listed as "
            "soon as it is plugged in; network cameras are not searched for (docs/cameras.md)."
        )
    for hint in listing.hints:
        say(f"note: {hint}")
    return ExitCode.OK


def describe(camera: "FoundCamera") -> list[str]:
    """Lines for people."""
    lines = [f"{camera.name} ({camera.source}, {camera.where})"]
    for each in camera.formats:
        sizes = [f"{width_px}x{height_px}" for height_px, width_px in each.sizes]
        more = [f"and {len(sizes) - SIZES_SHOWN} more"] if len(sizes) > SIZES_SHOWN else []
        lines.append(f"    {' '.join([each.name, *sizes[:SIZES_SHOWN], *more])}")
    lines.append("  to use it, put into the settings file:")
    return lines + [f"    {line}" for line in camera.settings.splitlines()]


def _as_json(camera: "FoundCamera") -> dict[str, object]:
    return {
        "source": camera.source,
        "name": camera.name,
        "where": camera.where,
        "formats": [
            {"format": each.name, "sizes": [list(size) for size in each.sizes]}
            for each in camera.formats
        ],
        "settings": camera.settings,
    }
