"""What comes down to a device: commands, each done once and not after its expiry, and desired
settings with a version that must grow."""

import json
import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field

from device.wire.bodies import Part
from device.wire.errors import WireError
from device.wire.events import first_mistake

MAX_DOWN_BYTES = 64 * 1024

CommandVerb: TypeAlias = Literal["classify", "identify", "pause", "resume", "reload", "restart"]


def _finite(table: dict[str, Any]) -> dict[str, Any]:
    """Pydantic lets `NaN` and `1e999` pass where anything may stand, and would write null."""
    if not _is_finite(table):
        raise ValueError("found a number that is infinite or none (NaN); want what JSON can say")
    return table


def _is_finite(value: object) -> bool:
    """As deep as pydantic's JSON reader goes, which is 200."""
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(_is_finite(each) for each in value.values())
        case list():
            return all(_is_finite(each) for each in value)
    return True


Table = Annotated[dict[str, Any], AfterValidator(_finite)]
"""Whatever JSON can say, by name."""


class Command(Part):
    """Something that a box is asked to do, once."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """Chosen by the sender: a command of an id that was taken before is not done again."""
    command: CommandVerb
    """`classify`: look now; `identify`: blink; `pause` and `resume`: the camera; `reload`: read the
    settings file again; `restart`: end, and be started again."""
    expires: str
    """RFC 3339, at most seven days ahead; after it the command is not done."""
    arguments: Table = {}
    """None of the commands wants any yet."""


class DesiredSettings(Part):
    """Settings that somebody wants from afar."""

    version: Annotated[int, Field(ge=1, le=10**15)]
    """Larger than that of the settings taken last."""
    settings: Table
    """As a settings file has them, in JSON, and only what may be desired from afar. They replace
    all that was desired before; an empty table takes everything back."""


def encode_down(part: Part) -> bytes:
    """JSON, UTF-8."""
    return json.dumps(
        part.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False
    ).encode()


def decode_command(payload: bytes) -> Command:
    """Raises WireError."""
    try:
        return Command.model_validate_json(_bounded(payload))
    except (ValueError, RecursionError) as exc:  # a ValidationError is a ValueError
        raise WireError(f"not a command: {first_mistake(exc)}") from exc


def decode_desired(payload: bytes) -> DesiredSettings:
    """Raises WireError."""
    try:
        return DesiredSettings.model_validate_json(_bounded(payload))
    except (ValueError, RecursionError) as exc:  # a ValidationError is a ValueError
        raise WireError(f"not desired settings: {first_mistake(exc)}") from exc


def _bounded(payload: bytes) -> bytes:
    if len(payload) > MAX_DOWN_BYTES:
        raise WireError(f"message of {len(payload)} bytes: want at most {MAX_DOWN_BYTES}")
    return payload
