"""`lookout config check | show | schema`: settings without running anything."""

import argparse
import json
from typing import Any

from device import assembly
from device.appliance import DESIRED_FILE, checked_plans
from device.commands.options import add_config, add_json, config_of
from device.commands.screen import say, say_json
from device.config import schema
from device.errors import ConfigError, ExitCode
from device.pipeline.tuning import Source, Start, read_record
from device.settings_file import DESIRED, settings_text


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("config", help="check, show or describe settings")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="say every mistake in a settings file")
    add_config(check)
    add_json(check)
    check.set_defaults(run=run_check)
    show = actions.add_parser("show", help="print each setting in force and where it comes from")
    add_config(show)
    add_json(show)
    show.set_defaults(run=run_show)
    describe = actions.add_parser("schema", help="print the JSON Schema of a settings file")
    add_json(describe)
    describe.set_defaults(run=run_schema)


def run_check(arguments: argparse.Namespace) -> int:
    try:
        config = config_of(arguments)
        store = assembly.open_bundles(config.device.state_dir)
        checked_plans(config, store, str(arguments.config), settings_text(arguments.config))
    except ConfigError as exc:
        if not arguments.json:
            raise
        say_json({"config": str(arguments.config), "ok": False, "mistakes": str(exc).splitlines()})
        return ExitCode.BAD_CONFIG
    if arguments.json:
        say_json({"config": str(arguments.config), "ok": True, "mistakes": []})
    else:
        say(f"{arguments.config}: ok")
    return ExitCode.OK


def run_show(arguments: argparse.Namespace) -> int:
    config, path = config_of(arguments), arguments.config
    source = Source(name=str(path), path=path, text=settings_text(path))
    # As the running box has them: on trial too.
    kept = assembly.open_small_file(config.device.state_dir, DESIRED_FILE)
    start = Start.of(source, read_record(kept))
    for key, value, origin in origins(start):
        if arguments.json:
            say_json({"key": key, "value": value, "origin": origin})
        else:
            say(f"{key} = {json.dumps(value, ensure_ascii=False)}  # {origin}")
    return ExitCode.OK


def run_schema(arguments: argparse.Namespace) -> int:
    if arguments.json:
        say_json(schema())
    else:
        say(json.dumps(schema(), indent=2, ensure_ascii=False))
    return ExitCode.OK


def origins(start: Start) -> list[tuple[str, Any, str]]:
    """(key, value, origin) of every setting; the origin is `default`, the file's name, or
    `desired` for what came from afar."""
    given = _flat(start.config.model_dump(mode="json", exclude_unset=True))
    desired = _flat(start.record.settings)

    def origin(key: str) -> str:
        if key in desired:
            return DESIRED
        return start.source.name if key in given else "default"

    return [
        (key, value, origin(key))
        for key, value in _flat(start.config.model_dump(mode="json")).items()
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves.update(_flat(value, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
