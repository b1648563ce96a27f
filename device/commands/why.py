"""`lookout why`: the reasons of a decision, from the box's own record, running or not."""

import argparse
from typing import Any

from device import assembly
from device.commands.options import add_json, add_socket, config_of, socket_of
from device.commands.screen import complain, say, say_json
from device.errors import ExitCode, NotRunningError
from device.instance_lock import InstanceLock
from device.pipeline.desk import asked_of
from device.wire.control import Record


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "why",
        help="say why the box decided as it did",
        description="Prints gate, score history, thresholds, rules and model of a decision; "
        "--near lists what nearly counted as seen.",
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="of an event or a near miss")
    parser.add_argument("--near", action="store_true", help="list the latest near misses")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="of --near (default 20)")
    add_socket(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if (arguments.id is None) == (not arguments.near):
        complain("want either an ID (`lookout watch` shows them) or --near")
        return ExitCode.USAGE
    records = _records(arguments)
    if not records and not arguments.json:
        say("no near misses on record")
    for record in records:
        if arguments.json:
            say_json(record)
        else:
            say(explain(record))
    return ExitCode.OK


def _records(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """From the running box; where none runs, from the record that it left."""
    try:
        path = socket_of(arguments)
        if arguments.near:
            return list(assembly.stream_box(path, "near", {"limit": arguments.limit}))
        return [assembly.ask_box(path, "why", {"id": arguments.id})]
    except NotRunningError:
        if arguments.socket is not None:
            raise
    config = config_of(arguments)
    if not (config.device.state_dir / "album").is_dir():
        raise NotRunningError(
            f"no box runs on {config.device.state_dir}, and none has left a record there; "
            "start one with `lookout run`"
        )
    with InstanceLock(config.device.state_dir):
        album = assembly.open_album(config, assembly.system_clock())
        try:
            return [_plain(record) for record in asked_of(album, arguments.id, arguments.limit)]
        finally:
            album.close()


def _plain(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_none=True)


def explain(record: dict[str, Any]) -> str:
    """A record in lines for people."""
    lines = [f"{record['id']}  {record['time']}", f"  {record['headline']}"]
    detail = record["detail"]
    why = detail.get("why")
    if why is not None:
        if "gate" in why:
            gate = why["gate"]
            lines.append(
                f"  gate: {gate['reason']}, {gate['changed']:.1%} of the region had changed"
            )
        thresholds = why["thresholds"]
        lines.append(
            f"  thresholds: on from {thresholds['high']}, off below {thresholds['low']}; "
            f"decided because: {why['reason']}"
        )
        history = "  ".join(f"-{age_ms} ms {score:.2f}" for age_ms, score in why["history"])
        lines.append(f"  scores: {history}")
        if why.get("rules"):
            lines.append(f"  rules: {', '.join(why['rules'])}")
        lines.append(f"  model: {why['bundle']} sha256 {why['bundle_sha256'][:16]}...")
    if detail.get("labels"):
        best = ", ".join(f"{each['label']} {each['score']:.2f}" for each in detail["labels"])
        lines.append(f"  best labels: {best}")
    if "reason" in detail:
        lines.append(f"  because: {detail['reason']}")
    if "picture" in record:
        lines.append(f"  picture: {record['picture']}")
    return "\n".join(lines)
