"""`docs/settings.md`: every setting, from the schema in `device/config.py`."""

import json
from collections.abc import Iterator
from pathlib import Path

from device.config import schema
from docs.generators.json_schema import Schema, allowed, named_values, target_of
from docs.generators.markdown import note, page, table

_INTRO = """\
One file in TOML holds all settings: `/etc/lookout/lookout.toml`, or the one named with `--config`
or in the environment's `LOOKOUT_CONFIG`. Every key has a default unless its row says *needed*, so
a file holds only what is different. An empty file is a box with a Pi camera that watches the whole
frame for every group of the embedded bundle.

Check a file before it counts:

    lookout config check --config lookout.toml

All mistakes are told at once, each with its line, what is allowed, and what was probably meant:

    lookout.toml:2: camera.sorce: unknown key; did you mean "source"? keys here: source, path, ...
    lookout.toml:9: rules.greet.output: no output "lmap"; did you mean "lamp"? outputs: lamp

`lookout config show` prints each value in force and where it comes from; `lookout config schema`
prints the JSON Schema that this page is made from. A box that is started with a bad file runs on
the last settings that were good, and says so in `state`; without any it exits with code 78.

- Values are strict: `30` and not `"30"`, `true` and not `1`. Unknown keys are mistakes.
- Names of keys carry their unit: `_s` seconds, `_ms` milliseconds, `_px` pixels. Shares and scores
  go from 0 to 1.
- Relative paths count from the folder of the settings file; `~` is a home folder.
- Secrets never stand in the file: `password_file` and `key_file` name files that hold them.
- Settings are read when the box starts; some can be read again while it runs, or be desired from
  afar ([remote.md](remote.md)).

What changed between versions: [settings-changes.md](settings-changes.md). Regions and rules
explained with examples: [rules.md](rules.md). Cameras: [cameras.md](cameras.md). Pins:
[wiring.md](wiring.md). What `delivery` means: [delivery.md](delivery.md)."""

_NAMED = """\
Sections such as `[regions.NAME]` may stand any number of times, each with a NAME of your own:
small letters, digits, `-` and `_`, a letter first, at most 32. Their order counts for rules alone:
of several active rules on one output, the first in the file wins."""


def settings_page(repository: Path) -> str:
    """The whole page, Markdown."""
    whole = schema()
    example = (repository / "docs/examples/bird-feeder.toml").read_text(encoding="utf-8")
    return page(
        note("`device/config.py` and `docs/generators/settings.py`"),
        "# Settings",
        _INTRO,
        "## An example",
        f"```toml\n{example.strip()}\n```",
        "More in [examples/](examples/).",
        "## Every key",
        _NAMED,
        *_sections(whole, whole["$defs"]),
    )


def _sections(whole: Schema, defs: Schema) -> Iterator[str]:
    for key, node in whole["properties"].items():
        inner = next(iter(node.get("patternProperties", {}).values()), None)
        header = f"{key}.NAME" if inner else key
        yield from _section(header, inner or node, node.get("description", ""), defs)


def _section(header: str, node: Schema, remark: str, defs: Schema) -> Iterator[str]:
    found = target_of(node, defs)
    if found is None:
        raise ValueError(f"setting {header}: want a section")
    _, section = found
    yield f"### `[{header}]`"
    yield f"{section['description']} {remark}".strip()
    rows, below = [], []
    for key, each in section["properties"].items():
        inner = target_of(each, defs)
        if inner is not None:
            place = f"{header}.{key}" + (".LABEL" if named_values(each) else "")
            below.append((place, each))
            told = f"table `[{place}]`"
        else:
            told = allowed(each, defs)
        default = _default(each, key in section.get("required", []))
        rows.append([f"`{key}`", told, default, each.get("description", "")])
    yield table(["key", "allowed", "default", "meaning"], rows)
    for name, each in below:
        if "DetectionConfig" not in str(each):  # the same as [detection], told there
            yield from _section(name, each, "", defs)


def _default(node: Schema, is_needed: bool) -> str:
    if is_needed:
        return "*needed*"
    default = node.get("default")
    if default is None or default == {} or default == []:
        return ""
    return f"`{json.dumps(default)}`"
