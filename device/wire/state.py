"""`state` and `availability`: retained, newest wins, no seq and no receipt."""

import json
from typing import Literal

from pydantic import ValidationError

from device.wire.bodies import Part, RegionSight
from device.wire.errors import WireError
from device.wire.events import first_mistake


class Degraded(Part):
    """A part that is not itself, since when (RFC 3339) and why, and what to do about it."""

    part: str
    since: str
    reason: str


class Backend(Part):
    """What runs the model."""

    runtime: str
    version: str
    accelerator: str
    threads: int
    delegated_nodes: int
    nodes: int


class BundleState(Part):
    """A bundle in use."""

    name: str
    version: str
    sha256: str


class SettingsState(Part):
    """Where the settings in force come from, and what was refused."""

    source: str
    refused: list[str] = []


class Losses(Part):
    """What did not get through, counted since the run began."""

    frames_replaced: int = 0
    events_expelled: int = 0
    events_oversize: int = 0
    events_not_durable: int = 0
    pictures_dropped: int = 0


class State(Part):
    """The box as it is now; repeated every minute and on every change that matters."""

    time: str
    run: str
    last_seq: int
    waiting: int
    version: str
    started: str
    is_paused: bool
    camera: Literal["on", "opening", "paused", "ended", "failed"]
    backend: Backend | None = None
    bundles: list[BundleState] = []
    settings: SettingsState
    sights: list[RegionSight] = []
    outputs: dict[str, bool] = {}
    degraded: list[Degraded] = []
    losses: Losses = Losses()


class Availability(Part):
    """`online` or `offline`, with the run: a hint, not a proof."""

    status: Literal["online", "offline"]
    run: str


def encode_part(part: Part) -> bytes:
    """JSON, UTF-8."""
    return json.dumps(
        part.model_dump(mode="json", exclude_none=True), separators=(",", ":"), ensure_ascii=False
    ).encode()


def decode_state(payload: bytes) -> State:
    """Raises WireError."""
    try:
        return State.model_validate_json(payload)
    except ValidationError as exc:
        raise WireError(f"not a state: {first_mistake(exc)}") from exc


def decode_availability(payload: bytes) -> Availability:
    """Raises WireError."""
    try:
        return Availability.model_validate_json(payload)
    except ValidationError as exc:
        raise WireError(f"not an availability: {first_mistake(exc)}") from exc
