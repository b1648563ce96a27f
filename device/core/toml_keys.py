"""TOML texts, which somebody may have written to do harm; and on which line a key stands, which
tomllib does not tell."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, TypeAlias

Location: TypeAlias = tuple[str | int, ...]
"""Keys, and places in lists, from the outermost in."""

_TOKEN = re.compile(
    r"""
    (?P<space>[\ \t\r]+|\#[^\n]*)
    |(?P<text>\"{3}(?:[^\\]|\\.)*?\"{3}(?!\")|'{3}.*?'{3}(?!')|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')
    |(?P<mark>[\[\]{}=,.\n])
    |(?P<bare>[^\s\[\]{}=,.\#"']+)
    |(?P<stray>.)
    """,
    re.VERBOSE | re.DOTALL,
)
"""The words of TOML, as far as finding keys needs them. Source: https://toml.io/en/v1.0.0"""


DEEPEST = 16
"""Tables and lists inside each other; nothing of ours is deeper than six."""
LARGEST = 1 << 63
"""TOML's whole numbers have 64 bits; tomllib takes any, and then they cannot even be printed."""


class TomlError(Exception):
    """Not TOML, or none that anybody would write. Says what, and mostly where."""


def read_toml(text: str) -> dict[str, Any]:
    """Raises TomlError, whatever the text is."""
    try:
        raw = tomllib.loads(text)
    except RecursionError as exc:
        raise TomlError("tables or lists too deep inside each other") from exc
    except tomllib.TOMLDecodeError as exc:
        raise TomlError(str(exc)) from exc
    except ValueError as exc:  # an integer of thousands of digits
        raise TomlError("a whole number of thousands of digits") from exc
    layer: list[Any] = [raw]
    for _ in range(DEEPEST):
        layer = [inner for each in layer for inner in _inside(each)]
        if any(isinstance(each, int) and not -LARGEST <= each < LARGEST for each in layer):
            raise TomlError("a whole number of more than 64 bits")
    if layer:
        raise TomlError(f"tables or lists more than {DEEPEST} deep inside each other")
    return raw


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


class KeyLines:
    """The lines of one text. It should be TOML; of what is not, some keys are missing."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, ...], int] = {}
        for key, number in _keys_of(text):
            self._lines.setdefault(key, number)

    def line(self, location: Location) -> int:
        """Of the key, or of the nearest table or value around it; 1 when nothing is there."""
        names = tuple(part for part in location if isinstance(part, str))
        while names:
            # A table may only ever be named as a parent: [regions.feeder] for `regions`.
            inside = [n for key, n in self._lines.items() if key[: len(names)] == names]
            if inside:
                return self._lines.get(names, min(inside))
            names = names[:-1]
        return 1


def _keys_of(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every table and key of a TOML text with its line, from 1; those of inline tables too."""
    table: tuple[str, ...] = ()
    around: list[tuple[str, tuple[str, ...]]] = []  # open { and [ of a value, and whose they are
    key: list[str] = []
    path: tuple[str, ...] = ()
    line = key_line = 1
    in_header, in_value = False, False
    for token in _TOKEN.finditer(text):
        word, kind, here = token[0], token.lastgroup, line
        line += word.count("\n")
        if kind in ("space", "stray"):
            continue
        if in_value:
            if word in ("{", "["):
                around.append((word, path))
                in_value = word == "["
            elif word in ("}", "]") and around:
                around.pop()
            elif word == "," and around:
                path = around[-1][1]
                in_value = around[-1][0] == "["
            elif word == "\n" and not around:
                in_value = False
        elif kind in ("text", "bare"):
            key_line = key_line if key else here
            key.append(_unquoted(word) if kind == "text" else word)
        elif word == "[":
            in_header = True
        elif word == "]" and in_header:
            table, key, in_header = tuple(key), [], False
            yield table, key_line
        elif word == "=":
            path = (around[-1][1] if around else table) + tuple(key)
            key, in_value = [], True
            yield path, key_line
        elif word == "}" and around:
            around.pop()
            in_value = True


def _unquoted(word: str) -> str:
    if "\\" not in word:
        return word[1:-1]
    try:
        return str(read_toml(f"key = {word}")["key"])
    except TomlError:
        return word  # not TOML after all: no key to be found
