"""A settings file to a `Config`, or to one error that lists every mistake with its line."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from device.config import HOURS_PATTERN, SECTION_NAME_PATTERN, Config
from device.errors import ConfigError
from device.wire.names import NAME_PATTERN

_HEADER = re.compile(r"^\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*([A-Za-z0-9_\-."' ]+?)\s*=""")

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with one key. line: from 1; 0 when the key is missing."""

    line: int
    key: str
    message: str


def read_config(path: Path) -> Config:
    """Read and check a settings file; relative paths in it count from its folder.

    Raises:
        ConfigError: unreadable, or with mistakes: all of them, one a line.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
        ConfigError: with mistakes: all of them, one a line.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{name}: not TOML: {exc}") from exc
    try:
        config = Config.model_validate(_with_paths_from(raw, folder) if folder else raw)
    except ValidationError as exc:
        lines = KeyLines(text)
        found = [_mistake(error, lines) for error in exc.errors(include_url=False)]
        raise ConfigError(render(name, found)) from exc
    unmet = cross_check(config, KeyLines(text))
    if unmet:
        raise ConfigError(render(name, unmet))
    return config


def render(name: str, mistakes: Sequence[Mistake]) -> str:
    """One line a mistake, in the order of the file: `FILE:LINE: key: message`."""
    return "\n".join(
        f"{name}:{each.line}: {each.key}: {each.message}"
        for each in sorted(mistakes, key=lambda each: each.line)
    )


class KeyLines:
    """Finds the line of a key: tomllib does not tell."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                table = _split(header[1])
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                self._lines.setdefault(table + _split(key[1]), number)

    def line(self, location: Location) -> int:
        """Of the key, or of the nearest table or value around it; 0 when nothing is there."""
        names = tuple(str(part) for part in location if isinstance(part, str))
        while names:
            if names in self._lines:
                return self._lines[names]
            # A table that is only ever named as a parent: [regions.feeder] for `regions`.
            inside = [n for key, n in self._lines.items() if key[: len(names)] == names]
            if inside:
                return min(inside)
            names = names[:-1]
        return 0


def cross_check(config: Config, lines: KeyLines) -> list[Mistake]:
    """What no single section can see: names that one section uses and another defines."""
    mistakes = []

    def add(location: Location, message: str) -> None:
        mistakes.append(Mistake(lines.line(location), _dotted(location), message))

    for name, rule in config.rules.items():
        if rule.output not in config.outputs:
            hint = _one_of(rule.output, list(config.outputs), "outputs")
            add(("rules", name, "output"), f'no output "{rule.output}"; {hint}')
        for place in rule.regions:
            if place not in config.all_regions:
                hint = _one_of(place, list(config.all_regions), "regions")
                add(("rules", name, "regions"), f'no region "{place}"; {hint}')
    users: dict[int, str] = {}
    for section, table in (("outputs", config.outputs), ("buttons", config.buttons)):
        for name, user in table.items():
            owner = f"{section}.{name}"
            if user.pin in users:
                add((section, name, "pin"), f"pin {user.pin} is already that of {users[user.pin]}")
            users.setdefault(user.pin, owner)
    for name, region in config.regions.items():
        for target in region.thresholds:
            if region.watch is not None and target not in region.watch:
                hint = _one_of(target, region.watch, "watched there")
                add(("regions", name, "thresholds", target), f"not watched here; {hint}")
    return mistakes


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
            resolved[key] = str(folder / Path(inner).expanduser())
        elif field is not None:
            resolved[key] = _resolve(field.annotation, inner, folder)
        else:
            resolved[key] = inner
    return resolved


def _is_path(annotation: Any) -> bool:  # noqa: ANN401 - an annotation of any shape
    return annotation is Path or any(map(_is_path, get_args(annotation)))


def _mistake(error: ErrorDetails, lines: KeyLines) -> Mistake:
    location = tuple(part for part in error["loc"] if part != "[key]")
    return Mistake(lines.line(location), _dotted(location), _message(error, location))


def _message(error: ErrorDetails, location: Location) -> str:
    found = error["input"]
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            known = _keys_beside(location)
            return f"unknown key; {_one_of(str(location[-1]), known, 'keys here')}"
        case "missing":
            return "missing; this key is needed here"
        case "literal_error":
            allowed = [each.strip("'") for each in _listed(str(context["expected"]))]
            return f"got {_shown(found)}; {_one_of(str(found), allowed, 'allowed')}"
        case "enum":
            allowed = [each.strip("'") for each in _listed(str(context["expected"]))]
            return f"got {_shown(found)}; {_one_of(str(found), allowed, 'allowed')}"
        case "string_pattern_mismatch":
            return f"got {_shown(found)}; want text like {_WANTED[context['pattern']]}"
        case "value_error":
            return str(context["error"])
        case _:
            wanted = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            return f"got {_shown(found)}; want {wanted}"


_WANTED = {
    SECTION_NAME_PATTERN: '"front-door": small letters, digits, - and _, a letter first',
    NAME_PATTERN: '"garden": letters, digits, - and _, a letter first',
    HOURS_PATTERN: '"22:00-06:00"',
}


def _keys_beside(location: Location) -> list[str]:
    """The keys that the section around `location` knows."""
    model: Any = Config
    for part in location[:-1]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            if field is None:
                return []
            model = field.annotation
        inner = [
            each
            for each in (model, *get_args(model))
            if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        if inner:
            # A table of sections (dict[Name, X]) is stepped into when its own name comes next.
            is_table = getattr(model, "__origin__", None) is dict
            model = model if is_table and part == location[0] and len(location) > 2 else inner[0]
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []


def _one_of(found: str, allowed: Sequence[str], what: str) -> str:
    close = get_close_matches(found, allowed, n=1, cutoff=0.6)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return f"{hint}{what}: {', '.join(allowed) or 'none'}"


def _listed(text: str) -> list[str]:
    return re.findall(r"'[^']*'|\b\d+\b", text)


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else f"{text[:57]}..."


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
