"""A settings file to a `Config`, or to one error that lists every mistake with its line."""

import json
import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cloud_bridge.config import (
    ADDRESS_PATTERN,
    HUB_OWN,
    PROJECT_PATTERN,
    RESOURCE_PATTERN,
    Config,
)
from cloud_bridge.errors import ConfigError
from device.wire.names import NAME_PATTERN

_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)$| \(at end of document\)$")
_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.\s-]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=")

_WANTED = {
    NAME_PATTERN: 'text like "garden": letters, digits, - and _, a letter first',
    PROJECT_PATTERN: 'a project id like "my-project-123"',
    ADDRESS_PATTERN: 'HOST:PORT, such as "127.0.0.1:8085"',
    RESOURCE_PATTERN: 'text like "lookout-events": 3 letters or more, a letter first',
}


def read_config(path: Path) -> Config:
    """Relative paths in it count from its folder. Raises ConfigError: unreadable or mistaken."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path}: no such file; name the settings of the bridge or of the hub with --config "
            "FILE: docs/bridge.md and docs/hub.md have examples"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 at byte {exc.start}; want a TOML file") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}; want a TOML file") from exc
    return parse_config(text, str(path), path.resolve().parent)


def parse_config(text: str, name: str, folder: Path | None = None) -> Config:
    """name: stands in messages. Raises ConfigError with every mistake, one a line."""
    try:
        return _parse(text, name, folder)
    except (RecursionError, ValueError) as exc:
        # Nothing of ours is three tables deep, or has a number of thousands of digits.
        raise ConfigError(
            f"{name}: cannot be read: {str(exc)[:200]}; docs/bridge.md shows how settings are "
            "written"
        ) from exc


def _parse(text: str, name: str, folder: Path | None) -> Config:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        place = _TOML_PLACE.search(str(exc))
        line = f":{place[1] or len(text.splitlines())}" if place else ""
        message = _TOML_PLACE.sub("", str(exc))
        raise ConfigError(
            f"{name}{line}: not TOML: {message}; docs/bridge.md shows how settings are written"
        ) from exc
    try:
        config = Config.model_validate(raw)
    except ValidationError as exc:
        lines = _lines_of(text)
        found = sorted({_mistake(error, lines) for error in exc.errors(include_url=False)})
        raise ConfigError("\n".join(f"{name}:{line}: {words}" for line, words in found)) from exc
    if config.hub is not None:
        _refuse_what_a_hub_makes(raw.get("pubsub", {}), text, name)
    repeated = {each for each in config.registries if config.registries.count(each) > 1}
    if repeated:
        at = _lines_of(text).get(("registries",), 1)
        raise ConfigError(f"{name}:{at}: registries: {sorted(repeated)} twice; want each once")
    return config if folder is None else _with_paths_from(config, folder)


def _refuse_what_a_hub_makes(pubsub: dict[str, Any], text: str, name: str) -> None:
    """Raises ConfigError."""
    lines = _lines_of(text)
    found = [key for key in HUB_OWN if key in pubsub]
    if found:
        raise ConfigError(
            "\n".join(
                f"{name}:{lines.get(('pubsub', key), 1)}: pubsub.{key}: found beside [hub], which "
                "has a Pub/Sub of its own; want this key left out"
                for key in found
            )
        )


def _lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Of tables and keys that begin a line; inline tables are found by their key."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if (header := _HEADER.match(line)) is not None:
            table = tuple(part.strip() for part in header[1].split("."))
            lines.setdefault(table, number)
        elif (key := _KEY.match(line)) is not None:
            lines.setdefault((*table, *key[1].split(".")), number)
    return lines


def _mistake(error: ErrorDetails, lines: dict[tuple[str, ...], int]) -> tuple[int, str]:
    location = tuple(str(part) for part in error["loc"])
    names = tuple(str(part) for part in error["loc"] if isinstance(part, str))
    line = next((lines[names[:n]] for n in range(len(names), 0, -1) if names[:n] in lines), 1)
    return line, f"{'.'.join(location)}: {_message(error)}"


def _message(error: ErrorDetails) -> str:
    shown = json.dumps(error["input"], ensure_ascii=False, default=str)
    found = shown if len(shown) <= 60 else f"{shown[:57]}..."
    match error["type"]:
        case "extra_forbidden":
            known = _keys_at(tuple(str(part) for part in error["loc"][:-1]))
            close = get_close_matches(str(error["loc"][-1]), known, n=1)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            return f"unknown key; {hint}keys here: {', '.join(known)}"
        case "missing":
            return "missing; this key is needed here"
        case "string_pattern_mismatch":
            return f"got {found}; want {_WANTED[error['ctx']['pattern']]}"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return f"got {found}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _keys_at(location: tuple[str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for step in location:
        field = model.model_fields.get(step)
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - an annotation
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _with_paths_from(config: Config, folder: Path) -> Config:
    return config.model_copy(update=_moved(config, folder))


def _moved(section: BaseModel, folder: Path) -> dict[str, Any]:
    moved: dict[str, Any] = {}
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Path):
            try:
                moved[key] = folder / value.expanduser()
            except RuntimeError as exc:
                raise ConfigError(
                    f"{key}: got {str(value)!r}; want a path: there is no such user here"
                ) from exc
        elif isinstance(value, BaseModel):
            moved[key] = value.model_copy(update=_moved(value, folder))
    return moved
