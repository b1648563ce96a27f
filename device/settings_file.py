"""A settings file to a `Config`, or to one error that lists every mistake with its line."""

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from device.config import HOURS_PATTERN, SECTION_NAME_PATTERN, Config, schema
from device.core.desired import forbidden, merge
from device.core.toml_keys import KeyLines, Location, TomlError, read_toml
from device.errors import ConfigError
from device.wire.names import NAME_PATTERN

_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)$| \(at end of document\)$")

DESIRED = "desired"
"""Where settings come from that have no file: from afar."""

ROUNDS = 4
"""How often what is left of refused settings is tried again."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with one key. line: from 1; 0 when the key is missing."""

    line: int
    key: str
    message: str


class SettingsError(ConfigError):
    """A settings file with mistakes.

    rest: the settings with everything wrong left out, so that further checks can look at them;
    None where that makes no sense. text: the file's.
    """

    def __init__(
        self, name: str, mistakes: Sequence[Mistake], rest: Config | None, text: str
    ) -> None:
        super().__init__(render(name, mistakes))
        self.name = name
        self.mistakes = mistakes
        self.rest = rest
        self.text = text

    def with_more(self, mistakes: Sequence[Mistake]) -> "SettingsError":
        return SettingsError(self.name, [*self.mistakes, *mistakes], self.rest, self.text)


def read_config(path: Path) -> Config:
    """Read and check a settings file; relative paths in it count from its folder.

    Raises:
        ConfigError: unreadable; SettingsError: with mistakes, all of them, one a line.
    """
    try:
        # utf-8-sig: some editors put a byte order mark in front.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path}: no such file; name the settings file with --config FILE, "
            "and see docs/settings.md for an example"
        ) from exc
    except IsADirectoryError as exc:
        raise ConfigError(f"{path}: a folder; want a settings file (TOML)") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 at byte {exc.start}; want a TOML file") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    return parse_config(text, str(path), path.resolve().parent)


def parse_config(text: str, name: str, folder: Path | None = None) -> Config:
    """`name` stands in messages; `folder` is where relative paths count from.

    Raises:
        ConfigError: not TOML; SettingsError: with mistakes, all of them, one a line.
    """
    try:
        raw = read_toml(text)
    except TomlError as exc:
        place = _TOML_PLACE.search(str(exc))
        line = f":{place[1] or len(text.splitlines())}" if place else ""
        message = _TOML_PLACE.sub("", str(exc))
        raise ConfigError(
            f"{name}{line}: not TOML: {message}; docs/settings.md shows how settings are written"
        ) from exc
    return _check(raw, name, text, folder)


def parse_with_desired(
    text: str, name: str, folder: Path | None, desired: Mapping[str, Any]
) -> Config:
    """The file's settings with `desired` over them, checked as a whole.

    Raises:
        SettingsError: with every mistake: named `desired`, if the file alone has none.
    """
    config = parse_config(text, name, folder)
    if not desired:
        return config
    may_rule = config.device.allow_remote_rules
    found = [
        Mistake(0, key, message)
        for key, message in forbidden(desired, tuple(config.all_regions), may_rule)
    ]
    merged = merge(read_toml(text), desired)
    try:
        config = _check(merged, DESIRED, "", folder)
    except SettingsError as exc:
        raise exc.with_more(found) from exc
    if found:
        raise SettingsError(DESIRED, found, config, "")
    return config


def _check(raw: dict[str, Any], name: str, text: str, folder: Path | None) -> Config:
    lines = KeyLines(text)
    found = cross_check(raw, lines)
    raw = _with_paths_from(raw, folder or Path())
    try:
        config = Config.model_validate(raw)
    except ValidationError as exc:
        found += [_mistake(error, lines) for error in exc.errors(include_url=False)]
        raise SettingsError(name, found, _rest_of(raw, exc), text) from exc
    if found:
        raise SettingsError(name, found, config, text)
    return config


def _rest_of(raw: dict[str, Any], refused: ValidationError) -> Config | None:
    """What is left when every refused value, and every section that lacks one, is taken out."""
    rest = deepcopy(raw)
    for _ in range(ROUNDS):
        for error in refused.errors(include_url=False):
            path = _location(error)
            _take_out(rest, path[:-1] if error["type"] == "missing" else path)
        try:
            return Config.model_validate(rest)
        except ValidationError as exc:
            refused = exc  # an output without its wrong pin lacks a pin
    return None


def _take_out(raw: dict[str, Any], path: Location) -> None:
    """Of a list with a wrong value, the list."""
    for depth, step in enumerate(path, start=1):
        inner = raw.get(str(step))
        if depth == len(path) or not isinstance(inner, dict):
            raw.pop(str(step), None)
            return
        raw = inner


def render(name: str, mistakes: Sequence[Mistake]) -> str:
    """One line a mistake, in the order of the file: `FILE:LINE: key: message`; desired settings
    have no lines."""
    return "\n".join(
        f"{name if name == DESIRED else f'{name}:{each.line}'}: {each.key}: {each.message}"
        for each in sorted(dict.fromkeys(mistakes), key=lambda each: each.line)
    )


def cross_check(raw: Mapping[str, Any], lines: KeyLines) -> list[Mistake]:
    """What no single section can see: names that one section uses and another defines.

    raw: as TOML gives it, whatever else is wrong in it, so that all mistakes are told at once.
    """
    mistakes = []

    def add(location: Location, message: str) -> None:
        mistakes.append(Mistake(lines.line(location), _dotted(location), message))

    identify = _table(raw, "device").get("identify_output")
    outputs, places = list(_table(raw, "outputs")), list(_table(raw, "regions")) or ["whole"]
    if isinstance(identify, str) and identify not in outputs:
        hint = _one_of(identify, outputs, "outputs")
        add(("device", "identify_output"), f"no output {_shown(identify)}; {hint}")
    for name, rule in _tables(raw, "rules").items():
        output = rule.get("output")
        if isinstance(output, str) and output not in outputs:
            hint = _one_of(output, outputs, "outputs")
            add(("rules", name, "output"), f"no output {_shown(output)}; {hint}")
        for place in _texts(rule.get("regions")):
            if place not in places:
                hint = _one_of(place, places, "regions")
                add(("rules", name, "regions"), f"no region {_shown(place)}; {hint}")
    users: dict[int, str] = {}
    for section in ("outputs", "buttons"):
        for name, user in _tables(raw, section).items():
            pin = user.get("pin")
            if type(pin) is not int:  # true is an int too
                continue
            if pin in users:
                add((section, name, "pin"), f"pin {pin} is already that of {users[pin]}")
            users.setdefault(pin, f"{section}.{name}")
    for name, region in _tables(raw, "regions").items():
        watch = _texts(region.get("watch"))
        for target in _tables(region, "thresholds"):
            if "watch" in region and target not in watch:
                hint = _one_of(target, watch, "watched there")
                add(("regions", name, "thresholds", target), f"not watched here; {hint}")
    return mistakes


def _table(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The table `key`; empty where it is none, which is another check's business."""
    section = raw.get(key)
    return section if isinstance(section, dict) else {}


def _tables(raw: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """The tables inside the table `key`."""
    return {name: each for name, each in _table(raw, key).items() if isinstance(each, dict)}


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _with_paths_from(raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Relative paths of the known path settings, made to count from the file's folder."""
    return {
        key: _resolve(Config.model_fields[key].annotation, value, folder)
        if key in Config.model_fields
        else value
        for key, value in raw.items()
    }


def _resolve(model: Any, value: Any, folder: Path) -> Any:  # noqa: ANN401 - raw TOML of any shape
    section = next(
        (
            each
            for each in (model, *get_args(model))
            if isinstance(each, type) and issubclass(each, BaseModel)
        ),
        None,
    )
    if section is None or not isinstance(value, dict):
        return value
    resolved = {}
    for key, inner in value.items():
        field = section.model_fields.get(key)
        if isinstance(inner, str) and inner and field and _is_path(field.annotation):
            resolved[key] = _from_folder(inner, folder)
        elif field is not None:
            resolved[key] = _resolve(field.annotation, inner, folder)
        else:
            resolved[key] = inner
    return resolved


def _from_folder(path: str, folder: Path) -> str:
    try:
        return str(folder / Path(path).expanduser())
    except RuntimeError:  # ~ of somebody who is nobody here: `device.config` refuses it
        return path


def _is_path(annotation: Any) -> bool:  # noqa: ANN401 - an annotation of any shape
    return annotation is Path or any(map(_is_path, get_args(annotation)))


def _mistake(error: ErrorDetails, lines: KeyLines) -> Mistake:
    location = _location(error)
    if error["type"] == "missing" and isinstance(location[-1], int):
        location = location[:-1]  # too few values in a list: it is the list that is wrong
    return Mistake(lines.line(location), _dotted(location), _message(error, location))


def _location(error: ErrorDetails) -> Location:
    """Pydantic marks a wrong name of a table with a last step of its own."""
    return error["loc"][:-1] if error["loc"][-1:] == ("[key]",) else error["loc"]


def _message(error: ErrorDetails, location: Location) -> str:
    found = _shown(error["input"])
    node = _schema_at(location)
    match error["type"]:
        case "extra_forbidden":
            known = list(_schema_at(location[:-1]).get("properties", {}))
            return f"unknown key; {_one_of(str(location[-1]), known, 'keys here')}"
        case "missing" if "prefixItems" in node:
            return f"got {found}; want {len(node['prefixItems'])} values"
        case "missing":
            return "missing; this key is needed here"
        case "literal_error" | "enum":
            allowed = [str(each) for each in node.get("enum", [node.get("const")])]
            return f"got {found}; {_one_of(str(error['input']), allowed, 'allowed')}"
        case "string_pattern_mismatch":
            return f"got {found}; want text like {_WANTED[error['ctx']['pattern']]}"
        case "value_error":
            return str(error["ctx"]["error"])
        case "too_long":
            return f"got {error['ctx']['actual_length']} values; want {error['ctx']['max_length']}"
        case kind:
            return f"got {found}; want {_KINDS.get(kind, error['msg'])}{_limits(node)}"


_WANTED = {
    SECTION_NAME_PATTERN: '"front-door": small letters, digits, - and _, a letter first',
    NAME_PATTERN: '"garden": letters, digits, - and _, a letter first',
    HOURS_PATTERN: '"22:00-06:00"',
}

GROUPED_FROM = 1_000_000

_TABLE = "a table, such as [section] with its keys below"
_LIST = "a list in brackets"
_NUMBER = "a number"
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": _NUMBER,
    "finite_number": "a finite number",
    "greater_than": _NUMBER,
    "greater_than_equal": _NUMBER,
    "less_than": _NUMBER,
    "less_than_equal": _NUMBER,
    "bool_type": "true or false",
    "string_type": 'text in "quotes"',
    "string_too_short": "text that is not empty",
    "path_type": 'a path in "quotes"',
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "list_type": _LIST,
    "tuple_type": _LIST,
}


def _limits(node: Mapping[str, Any]) -> str:
    """What the schema allows a number to be, in words."""
    above, least, most = (
        _number(node[key]) if key in node else ""
        for key in ("exclusiveMinimum", "minimum", "maximum")
    )
    if least and most:
        return f" from {least} to {most}"
    told = [f"above {above}" if above else "", f"of at least {least}" if least else ""]
    told = [each for each in (*told, f"at most {most}" if most else "") if each]
    return f" {', '.join(told)}" if told else ""


def _number(value: float) -> str:
    """As a settings file may have it, large ones with their digits grouped."""
    if value != int(value):
        return f"{value:g}"
    return f"{int(value):_}" if abs(value) >= GROUPED_FROM else f"{int(value)}"


def _schema_at(location: Location) -> Mapping[str, Any]:
    """The part of the settings' JSON Schema that describes `location`; empty where none does."""
    whole = schema()
    node: Any = whole
    for step in (*location, None):
        while "$ref" in node or "anyOf" in node:
            name = node.get("$ref", "").rpartition("/")[2]
            node = whole["$defs"][name] if name else node["anyOf"][0]  # the other is null
        if isinstance(step, int):
            node = node.get("items") or node.get("prefixItems", [])[step]
        elif step is not None:
            named = node.get("properties", {}).get(step)
            patterns = list(node.get("patternProperties", {}).values())
            node = named or (patterns or [node.get("additionalProperties") or {}])[0]
    return dict(node)


def _one_of(found: str, allowed: Sequence[str], what: str) -> str:
    close = get_close_matches(found, allowed, n=1, cutoff=0.6)
    hint = f'did you mean "{close[0]}"? ' if close and not found.isdigit() else ""
    return f"{hint}{what}: {', '.join(allowed) or 'none'}"


def _shown(value: object) -> str:
    is_float = isinstance(value, float)  # JSON has no word for `inf`
    text = repr(value) if is_float else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def settings_text(path: Path) -> str:
    """The file's text, for the lines of later messages; empty when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""
