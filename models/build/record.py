"""Writes model.toml: the head that people wrote, then what only the recipe knows."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

Value = str | int | float | list[str]

RECORD = "model.toml"


def write_record(bundle: Path, head: str, provenance: Mapping[str, Value]) -> None:
    """Write `bundle`'s model.toml: `head`, the sha256 of every other file, the provenance."""
    paths = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != RECORD)
    hashes = {
        path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }
    text = head + _table("files", hashes) + _table("provenance", provenance)
    (bundle / RECORD).write_text(text, "utf-8")


def _table(name: str, values: Mapping[str, Value]) -> str:
    rows = [f"{_key(key)} = {_literal(value)}\n" for key, value in values.items()]
    return f"\n[{name}]\n" + "".join(rows)


def _key(key: str) -> str:
    is_bare = key.replace("_", "").replace("-", "").isalnum() and key.isascii()
    return key if is_bare else _literal(key)


def _literal(value: Value) -> str:
    """A TOML literal. JSON's are the same for these types, if nothing is escaped beyond \\uXXXX."""
    return json.dumps(value, ensure_ascii=False)
