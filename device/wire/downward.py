"""What comes down to a device: commands, each done once and not after its expiry, and desired
settings with a version that must grow."""

import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationError

from device.wire.bodies import Part
from device.wire.errors import WireError

MAX_DOWN_BYTES = 64 * 1024

CommandVerb: TypeAlias = Literal["classify", "identify", "pause", "resume", "reload", "restart"]


class Command(Part):
    """One command. id: chosen by the sender, done once. expires: RFC 3339; not done after it."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    command: CommandVerb
    expires: str
    arguments: dict[str, Any] = {}


class DesiredSettings(Part):
    """Settings that somebody wants from afar. version: must be larger than the last one taken.

    settings: as a settings file has them, only the tunable sections; an empty table takes all
    desired settings back.
    """

    version: Annotated[int, Field(ge=1, le=10**15)]
    settings: dict[str, Any]


def encode_down(part: Part) -> bytes:
    """JSON, UTF-8."""
    return json.dumps(
        part.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False
    ).encode()


def decode_command(payload: bytes) -> Command:
    """Raises WireError."""
    try:
        return Command.model_validate_json(_bounded(payload))
    except (ValidationError, RecursionError) as exc:
        raise WireError(f"not a command: {_said(exc)}") from exc


def decode_desired(payload: bytes) -> DesiredSettings:
    """Raises WireError."""
    try:
        return DesiredSettings.model_validate_json(_bounded(payload))
    except (ValidationError, RecursionError) as exc:
        raise WireError(f"not desired settings: {_said(exc)}") from exc


def _bounded(payload: bytes) -> bytes:
    if len(payload) > MAX_DOWN_BYTES:
        raise WireError(f"message of {len(payload)} bytes: want at most {MAX_DOWN_BYTES}")
    return payload


def _said(exc: Exception) -> str:
    if isinstance(exc, ValidationError):
        mistake = exc.errors()[0]
        return f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}"
    return type(exc).__name__
