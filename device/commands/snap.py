"""`lookout snap`: what the camera sees now, with the regions drawn on it for aiming.

Asks the running box; where none runs, opens the camera itself for one look.
"""

import argparse
from base64 import b64decode
from pathlib import Path
from typing import Any

from device import assembly
from device.album.pictures import png_of
from device.appliance import glance
from device.commands.options import add_json, add_socket, config_of, socket_of
from device.commands.screen import say, say_json
from device.errors import ExitCode, NotRunningError, OutputError
from device.pipeline.desk import captions
from device.settings_file import settings_text

PNG = ".png"
ENDINGS = (".jpg", ".jpeg", PNG)


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "snap",
        help="save the camera's picture, with the regions drawn on it",
        description="Saves what the camera sees now as a JPEG or PNG, and says what each region "
        "sees: through the running box, or, where none runs, by a look of its own.",
    )
    parser.add_argument(
        "--output",
        type=_picture_file,
        required=True,
        metavar="FILE",
        help="the file to write; its name ends in .jpg, .jpeg or .png, and it becomes what that "
        "says",
    )
    parser.add_argument("--regions", action="store_true", help="draw the regions and masks")
    add_socket(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    content, found = _snap(arguments)
    if arguments.output.suffix.lower() == PNG:
        content = png_of(content)
    try:
        arguments.output.write_bytes(content)
    except OSError as exc:
        raise OutputError(
            f"{arguments.output}: cannot be written: {exc.strerror}; name another --output"
        ) from exc
    if arguments.json:
        say_json({"output": str(arguments.output), "size_bytes": len(content), **found})
        return ExitCode.OK
    say(f"{arguments.output}: {found['height_px']} x {found['width_px']} pixels (height x width)")
    for sight in found["sights"]:
        best = ", ".join(f"{each['label']} {each['score']:.2f}" for each in sight["labels"])
        present = ", ".join(sight["present"]) or "nothing"
        say(f"  {sight['region']}: counts as {present}; best: {best or 'none'}")
    return ExitCode.OK


def _picture_file(text: str) -> Path:
    """For argparse: so that a wrong ending is refused before the camera is asked."""
    path = Path(text)
    if path.suffix.lower() not in ENDINGS:
        raise argparse.ArgumentTypeError(
            f'"{text}" names no kind of picture; want a name that ends in {", ".join(ENDINGS)}'
        )
    return path


def _snap(arguments: argparse.Namespace) -> tuple[bytes, dict[str, Any]]:
    """The JPEG, and what goes with it."""
    try:
        found = assembly.ask_box(socket_of(arguments), "snap", {"regions": arguments.regions})
        return b64decode(found.pop("jpeg")), found
    except NotRunningError:
        if arguments.socket is not None:
            raise
    config = config_of(arguments)
    seen = glance(config, str(arguments.config), settings_text(arguments.config))
    regions = captions(seen.plans, seen.sights) if arguments.regions else []
    masks = [mask for plan in seen.plans for mask in plan.masks] if arguments.regions else []
    height_px, width_px = seen.frame.main.size
    return assembly.draw_regions(seen.frame.main, regions, masks), {
        "height_px": height_px,
        "width_px": width_px,
        "sights": [sight.model_dump(mode="json") for sight in seen.sights],
    }
