"""JSON Schema read for people: what a value may be, in a few words."""

from collections.abc import Mapping
from typing import Any

from device.config import HOURS_PATTERN, SECTION_NAME_PATTERN
from device.wire.names import NAME_PATTERN

Schema = Mapping[str, Any]

_PATTERNS = {HOURS_PATTERN: "`HH:MM-HH:MM`", NAME_PATTERN: "name", SECTION_NAME_PATTERN: "name"}
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "table",
    "null": "",
}


def target_of(node: Schema, defs: Schema) -> tuple[str, Schema] | None:
    """Name and schema of the section or part that `node` refers to, through null and list."""
    for each in (node, *node.get("anyOf", []), node.get("items", {}), named_values(node)):
        if "$ref" in each:
            name = each["$ref"].rpartition("/")[2]
            return (name, defs[name]) if "properties" in defs[name] else None
    return None


def named_values(node: Schema) -> Schema:
    """What stands behind each name in a table whose names are free; empty where there is none."""
    values = node.get("additionalProperties")
    return values if isinstance(values, dict) else {}


def allowed(node: Schema, defs: Schema) -> str:
    """What a value may be: `text`, `whole number, 1 to 65535`, ..."""
    if "$ref" in node:
        return allowed(defs[node["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in node:
        return " or ".join(filter(None, (allowed(each, defs) for each in node["anyOf"])))
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{each}`" for each in node["enum"])
    if "prefixItems" in node:
        kinds = [allowed(each, defs) for each in node["prefixItems"]]
        same = len(set(kinds)) == 1
        return f"list of {len(kinds)}: {kinds[0] if same else '; '.join(kinds)}"
    if node.get("type") == "array":
        return f"list of {allowed(node.get('items', {}), defs) or 'values'}"
    if named_values(node):
        return f"table of {allowed(named_values(node), defs)}"
    if node.get("format") == "path":
        return "path"
    if "pattern" in node:
        return _PATTERNS.get(node["pattern"], "text")
    limits = _limits(node)
    return _TYPES.get(node.get("type", ""), "") + (f", {limits}" if limits else "")


NO_LIMIT = 1e8
"""A maximum from here up only keeps numbers sane, and is no news to a reader."""


def _limits(node: Schema) -> str:
    low = f"{node['minimum']:.10g}" if "minimum" in node else ""
    if "exclusiveMinimum" in node:
        low = f"more than {node['exclusiveMinimum']:.10g}"
    high = f"{node['maximum']:.10g}" if node.get("maximum", NO_LIMIT) < NO_LIMIT else ""
    if low and high:
        return f"{low} to {high}"
    return f"{low} or more" if low and "exclusiveMinimum" not in node else low
