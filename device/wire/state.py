"""`state` and `availability`: retained, newest wins, no seq and no receipt."""

from typing import Literal

from pydantic import ValidationError

from device.wire.bodies import Part, RegionSight
from device.wire.errors import WireError
from device.wire.events import first_mistake
from device.wire.text import json_bytes


class Degraded(Part):
    """A part that is not itself, since when (RFC 3339) and why, and what to do about it."""

    part: str
    """`camera`, `disk`, `album` and the like."""
    since: str
    """RFC 3339."""
    reason: str
    """For people."""


class Backend(Part):
    """What runs the model."""

    runtime: str
    """`ai-edge-litert` or `tflite-runtime`."""
    version: str
    """The runtime's."""
    accelerator: str
    """`cpu`."""
    threads: int
    """Of one inference."""
    delegated_nodes: int
    """How many nodes of the network a delegate, such as XNNPACK, took."""
    nodes: int
    """How many nodes the network has."""


class BundleState(Part):
    """A bundle in use."""

    name: str
    """As in its `model.toml`."""
    version: str
    """As in its `model.toml`."""
    sha256: str
    """Of its `model.toml`."""


class SettingsState(Part):
    """Where the settings in force come from, and what was refused."""

    source: str
    """The file."""
    refused: list[str] = []
    """The mistakes of the settings that were refused, one a line, forty at most and then how many
    more; the last good ones hold."""
    desired_version: int | None = None
    """Of the desired settings last taken; absent where none were."""
    refused_version: int | None = None
    """Of the desired settings last refused, or taken back; absent where the last were taken."""
    is_on_trial: bool = False
    """The desired settings are in force and may yet be taken back."""


class DeliveryHealth(Part):
    """How events leave the box; counts since the run began."""

    mode: Literal["receipts", "broker"]
    """What lets an event go: a receipt, or the broker's acknowledgement."""
    receipts: int = 0
    """That were read."""
    repeated: int = 0
    """Events sent again because no receipt came."""
    unreadable: int = 0
    """Messages on the topic of receipts that are none."""
    unknown: int = 0
    """Ranges and refusals of receipts that name what this process never sent: forged, or about
    what an earlier one sent. They change nothing."""


class CertificateState(Part):
    """The box's certificate for the broker; told from 90 days before its end on."""

    expires: str
    """RFC 3339."""
    days_left: int
    """Whole days; negative when it has expired."""


class RefusedEvent(Part):
    """An event that the far side could not take and keeps as a dead letter."""

    event: str
    """Run and seq: `12-9f2c1a7b:42`."""
    reason: str
    """The far side's."""


class Losses(Part):
    """What did not get through, counted since the run began."""

    frames_replaced: int = 0
    """Frames that a newer one replaced before the loop took them."""
    events_expelled: int = 0
    """Events that made room for others in a full outbox; gap events name them."""
    events_oversize: int = 0
    """Events too large to send; gap events stand for them."""
    events_not_durable: int = 0
    """Events kept in memory alone, because the disk failed."""
    events_refused: int = 0
    """Events that a receipt refused: dead letters beyond the broker."""
    refused: list[RefusedEvent] = []
    """The latest of them."""
    messages_dropped: int = 0
    """Commands, settings and receipts that came faster than the box takes them, or that nobody
    could read."""
    pictures_dropped: int = 0
    """Records and pictures that the album could not keep."""


class State(Part):
    """The box as it is now; repeated every minute and on every change that matters."""

    time: str
    """When this was so (RFC 3339)."""
    run: str
    """The run that goes on."""
    last_seq: int
    """The last number given in it: a reader that has fewer waits for some, or lost some."""
    waiting: int
    """Events in the outbox."""
    version: str
    """Of Lookout."""
    started: str
    """When the run began (RFC 3339)."""
    is_paused: bool
    """Somebody paused the camera."""
    camera: Literal["on", "opening", "paused", "ended", "failed"]
    """`ended`: a clip came to its end, and was not to be repeated."""
    backend: Backend | None = None
    """What runs the model."""
    bundles: list[BundleState] = []
    """Those in use."""
    settings: SettingsState
    """Where the settings come from."""
    delivery: DeliveryHealth = DeliveryHealth(mode="broker")
    """How events leave the box."""
    certificate: CertificateState | None = None
    """Only when its end is near."""
    sights: list[RegionSight] = []
    """What each region saw last."""
    outputs: dict[str, bool] = {}
    """Each output's level: true is on."""
    degraded: list[Degraded] = []
    """Parts that are not themselves; empty is well."""
    losses: Losses = Losses()
    """What did not get through."""


class Availability(Part):
    """Whether the box is connected, as far as the broker knows."""

    status: Literal["online", "offline"]
    """`offline` is the will that the broker publishes when the box is silent, too."""
    run: str
    """The run that it speaks of."""


def encode_part(part: Part) -> bytes:
    """JSON, UTF-8."""
    return json_bytes(part.model_dump(mode="json", exclude_none=True))


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
