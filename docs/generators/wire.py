"""`docs/wire-format.md` and `docs/wire-schema.json`: from `device/wire/` and its golden files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from device.wire.bodies import BODIES
from device.wire.downward import Command, DesiredSettings
from device.wire.events import CONTENT_TYPE, MAX_EVENT_BYTES, Envelope, Numbered
from device.wire.names import Topics
from device.wire.receipts import Receipt
from device.wire.state import Availability, State
from docs.generators.json_schema import Schema, allowed, target_of
from docs.generators.markdown import note, page, table

GOLDEN = "tests/device/wire/golden"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_EXAMPLES = {
    "Detection": "detection_began",
    "Button": "button_short",
    "RunStarted": "run_started",
    "Gap": "gap",
    "Telemetry": "telemetry",
    "ClockAnchor": "clock_anchor",
    "CommandDone": "command_done",
}

_DOWNWARD: tuple[type[BaseModel], ...] = (Receipt, DesiredSettings, Command)

_INTRO = f"""\
What a box says and hears over MQTT 5: JSON, UTF-8. Events are
[CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md)
in structured form (`{CONTENT_TYPE}`). [wire-schema.json](wire-schema.json) is the JSON Schema of
all of it: `#/$defs/Event`, `#/$defs/State`, `#/$defs/Availability`, and for the way down
`#/$defs/Receipt`, `#/$defs/DesiredSettings`, `#/$defs/Command`.

What a reader may rely on:

- **An id is never given twice.** An event may arrive more than once; drop what you have seen.
- **`seq` has no holes.** It grows by one from 1 within a run, over all kinds of events. A number
  that does not come was lost, or waits on the box's disk; a `gap` event names what the box itself
  had to give up. `run.started` names the run before and its last `seq`, and `state` the current
  ones, so a lost end shows too.
- **Events are not changed once sent**, and need not come in the order in which they happened: after
  an outage new ones are sent beside the backlog. Sort by run and `seq`.
- **`time` is a label.** A box without network has a wrong clock. `mono_ns` measures time within the
  run, and a `clock.anchor` event tells what `time` should have been: an earlier event of the run
  with `mono_ns` m happened at the anchor's `time` minus (the anchor's `mono_ns` minus m).
- **Fields are only ever added.** Ignore those that you do not know, and kinds that you do not know.
- An event has at most {MAX_EVENT_BYTES:,} bytes; a detection has less than 1 KiB as a rule.
- Scores and shares go from 0 to 1 and have three decimals. What is absent is not there: there is no
  `null`."""

_EVENTS = """\
Published with QoS 1 to `{root}/events/{subfolder}`; not retained. Around every kind stands the
same envelope, and `data` begins with the same four fields."""


def wire_page(repository: Path) -> str:
    """The whole page, Markdown."""
    schema = wire_schema()
    defs = schema["$defs"]
    told: set[str] = set()
    return page(
        note("`device/wire/` and `docs/generators/wire.py`"),
        "# Wire format",
        _INTRO,
        "## Topics",
        _topics(),
        "## Events",
        _EVENTS.replace("{root}", Topics("REGISTRY", "DEVICE").root).replace("{subfolder}", "KIND"),
        _fields(defs["Event"], defs),
        "`subject` says what of the box an event is about, such as `feeder/bird` or a button's "
        "name, and `datacontenttype` is `application/json`.\n\nIn `data`:",
        _fields(defs["Numbered"], defs),
        *_kinds(defs, told, repository),
        "## State",
        "Published with QoS 1, retained: on every change that matters, and every minute "
        "(`[report]` `state_s`). Newest wins; it has no `seq`.",
        *_parts("State", defs, told),
        _example("state", repository),
        "## Availability",
        "Published with QoS 1, retained. `offline` is the connection's will too, so the broker "
        "says it for a box that has gone silent. It may be wrong for a while, both ways.",
        *_parts("Availability", defs, told),
        _example("availability", repository),
        "## Receipts",
        "Published to a box by a bridge, with QoS 0, once events are stored beyond the broker. "
        'A box with `delivery = "receipts"` keeps each event until a receipt names it '
        "([delivery.md](delivery.md)); what a receipt names and the box has not sent stays.",
        *_parts("Receipt", defs, told),
        _example("receipt", repository),
        "## Desired settings",
        "Published to a box with QoS 1, retained; what may be desired, and what becomes of it: "
        "[remote.md](remote.md).",
        *_parts("DesiredSettings", defs, told),
        _example("desired", repository),
        "## Commands",
        "Published to a box with QoS 1, not retained. An event of the kind `command` tells what "
        "came of each ([remote.md](remote.md)).",
        *_parts("Command", defs, told),
        _example("command", repository),
    )


def wire_schema_text() -> str:
    return json.dumps(wire_schema(), indent=2, ensure_ascii=False) + "\n"


def wire_schema() -> dict[str, Any]:
    """JSON Schema of all that a box sends and reads; one definition a kind of message."""
    models: list[type[BaseModel]] = [Envelope, Numbered, *BODIES, State, Availability]
    models += _DOWNWARD
    _, found = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_WithoutTitles
    )
    defs = found["$defs"]
    envelope = defs.pop("Envelope")
    kinds = [
        {
            "if": {"properties": {"type": {"pattern": rf"^lookout\.{body.subfolder}(\.|$)"}}},
            "then": {"properties": {"data": {"$ref": f"#/$defs/{body.__name__}"}}},
        }
        for body in BODIES
    ]
    envelope["properties"]["data"] = {
        "description": envelope["properties"]["data"]["description"],
        "$ref": "#/$defs/Numbered",
    }
    return {
        "$schema": DIALECT,
        "$comment": "Made by `make docs` from device/wire/: change that, not this.",
        "title": "What a Lookout box sends and reads",
        "anyOf": [
            {"$ref": f"#/$defs/{name}"}
            for name in ("Event", "State", "Availability", *(each.__name__ for each in _DOWNWARD))
        ],
        "$defs": {"Event": {**envelope, "allOf": kinds}, **defs},
    }


class _WithoutTitles(GenerateJsonSchema):
    """Titles that only repeat the key are noise."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - pydantic's own
        del schema
        return False


def _topics() -> str:
    topics = Topics("REGISTRY", "DEVICE")
    rows = [
        [f"`{topics.events(body.subfolder)}`", _first_line(body.__doc__ or "")] for body in BODIES
    ]
    rows += [
        [f"`{topics.state}`", "The box as it is now; retained."],
        [f"`{topics.availability}`", "`online` or `offline`; retained, and the will."],
    ]
    heard = [
        [f"`{topics.receipts}`", _first_line(Receipt.__doc__ or "")],
        [f"`{topics.config}`", f"{_first_line(DesiredSettings.__doc__ or '')} Retained."],
        [f"`{topics.commands('SUBFOLDER')}`", _first_line(Command.__doc__ or "")],
    ]
    return (
        "REGISTRY and DEVICE are `registry` and `name` in `[device]`.\n\n"
        + table(["the box publishes to", "content"], rows)
        + "\n\nSUBFOLDER is any name: it is for whoever sends, and for access rules.\n\n"
        + table(["the box listens to", "content"], heard)
    )


def _kinds(defs: Schema, told: set[str], repository: Path) -> Iterator[str]:
    for body in BODIES:
        name = body.__name__
        yield f"### {body.subfolder}"
        yield from _parts(name, defs, told)
        yield _example(_EXAMPLES[name], repository)


def _parts(name: str, defs: Schema, told: set[str]) -> Iterator[str]:
    """The fields of a part, then those of the parts inside it that were not told before."""
    waiting = [name]
    while waiting:
        each = waiting.pop(0)
        if each in told:
            continue
        told.add(each)
        head = "" if each == name else f"`{each}`: "
        yield head + defs[each].get("description", "")
        yield _fields(defs[each], defs)
        for field in defs[each]["properties"].values():
            inner = target_of(field, defs)
            if inner is not None:
                waiting.append(inner[0])


def _fields(part: Schema, defs: Schema) -> str:
    needed = part.get("required", [])
    rows = []
    for key, node in part["properties"].items():
        inner = target_of(node, defs)
        kind = allowed(node, defs) if inner is None else f"`{inner[0]}`"
        if inner is not None and node.get("type") == "array":
            kind = f"list of {kind}"
        rows.append(
            [
                f"`{key}`",
                kind,
                "" if key in needed else "may be absent",
                node.get("description", ""),
            ]
        )
    return table(["field", "is", "", "meaning"], rows)


def _example(name: str, repository: Path) -> str:
    message = json.loads((repository / GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return f"```json\n{_pretty(message)}\n```"


def _pretty(value: object, indent: int = 0) -> str:
    """JSON with what fits a line on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= 88 or not isinstance(value, dict | list):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {_pretty(each, indent + 2)}" for key, each in value.items()]
        return "{\n" + ",\n".join(pad + line for line in lines) + "\n" + " " * indent + "}"
    lines = [_pretty(each, indent + 2) for each in value]
    return "[\n" + ",\n".join(pad + line for line in lines) + "\n" + " " * indent + "]"


def _first_line(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())
