"""`lookout status`: how the running box is, on one screen."""

import argparse
from typing import Any

from device import assembly
from device.commands.options import add_json, add_socket, socket_of
from device.commands.screen import say, say_json
from device.errors import ExitCode


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("status", help="show how the running box is")
    add_socket(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = assembly.ask_box(socket_of(arguments), "status")
    if arguments.json:
        say_json(found)
    else:
        say("\n".join(lines(found)))
    return ExitCode.OK


def lines(found: dict[str, Any]) -> list[str]:
    """For people."""
    parts, uplink = found["parts"], found["uplink"]
    backend = found["backend"]
    bundles = ", ".join(f"{each['name']}@{each['version']}" for each in found["bundles"])
    link = "connected" if uplink["is_connected"] else f"away ({uplink.get('problem', 'not yet')})"
    told = [
        f"run      {found['run']}, since {found['started'][:19]}Z, version {found['version']}",
        f"camera   {found['camera']}: {parts['camera'] or 'not open'}",
        f"model    {bundles} on {backend['runtime']} {backend['version']}, "
        f"{backend['delegated_nodes']} of {backend['nodes']} nodes delegated",
        f"broker   {parts['broker']}: {link}",
        f"events   {found['waiting']} waiting, last seq {found['last_seq']}",
        f"pins     {parts['pins']}",
    ]
    for name, level in found["outputs"].items():
        told.append(f"output   {name}: {'on' if level else 'off'}")
    for sight in found["sights"]:
        best = ", ".join(f"{each['label']} {each['score']:.2f}" for each in sight["labels"])
        told.append(
            f"region   {sight['region']}: {', '.join(sight['present']) or 'nothing'}"
            f" (best: {best or 'none yet'})"
        )
    told.append(f"settings {found['settings']['source']}{_desired(found['settings'])}")
    told += [f"refused  {each}" for each in found["settings"]["refused"]]
    told += [
        f"degraded {each['part']} since {each['since'][:19]}Z: {each['reason']}"
        for each in found["degraded"]
    ]
    told += [
        f"lost     {count} {name}"
        for name, count in found["losses"].items()
        if count and name != "refused"
    ]
    told += [
        f"refused  event {each['event']} beyond the broker: {each['reason']}"
        for each in found["losses"].get("refused", [])
    ]
    return told


def _desired(settings: dict[str, Any]) -> str:
    version = settings.get("desired_version")
    if version is None:
        return ""
    return f", and version {version} from afar{' (on trial)' * settings['is_on_trial']}"
