"""On which line a TOML text has a key: tomllib does not tell."""

import re
import tomllib
from collections.abc import Iterator
from typing import TypeAlias

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
        return str(tomllib.loads(f"key = {word}")["key"])
    except tomllib.TOMLDecodeError:
        return word  # not TOML after all: no key to be found
