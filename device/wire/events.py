"""Drafts and events, and the CloudEvents 1.0 JSON that carries an event.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device.wire.bodies import BODIES, Body
from device.wire.errors import WireError
from device.wire.names import EventId, is_name
from device.wire.text import json_bytes

MAX_EVENT_BYTES = 64 * 1024
CONTENT_TYPE = "application/cloudevents+json"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rank(IntEnum):
    """What goes first when the outbox is full: the lowest."""

    TELEMETRY = 0
    DETECTION = 1
    KEEP = 2
    """Buttons and alarms, and what tells of losses."""


RANKS = {"telemetry": Rank.TELEMETRY, "detection": Rank.DETECTION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Something to report, not yet numbered.

    time_ns: wall clock, since 1970, a label only. mono_ns: monotonic clock of this run.
    """

    time_ns: int
    mono_ns: int
    body: Body

    @property
    def rank(self) -> Rank:
        return RANKS.get(self.body.subfolder, Rank.KEEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A draft that the outbox has numbered: immutable from now on.

    is_durable: it was on disk before anybody heard of it.
    """

    id: EventId
    registry: str
    draft: Draft
    is_durable: bool = True

    @property
    def body(self) -> Body:
        return self.draft.body

    @property
    def subfolder(self) -> str:
        return self.draft.body.subfolder


class Numbered(BaseModel):
    """What the data of every event begins with."""

    model_config = ConfigDict(strict=True, extra="ignore", use_attribute_docstrings=True)

    run: str
    """One start of the box: a number that grows, a dash, 8 random hex digits."""
    seq: Annotated[int, Field(ge=1)]
    """Grows by one from 1 within the run, over all kinds of events: a number that never comes
    was lost."""
    mono_ns: Annotated[int, Field(ge=0)]
    """Monotonic clock of the run, in nanoseconds: differences hold even where `time` jumps."""
    durable: bool
    """It was on disk before anybody heard of it. False: the disk failed, and a power cut would
    have lost it."""


class Envelope(BaseModel):
    """The CloudEvents attributes that a reader needs."""

    model_config = ConfigDict(strict=True, extra="ignore", use_attribute_docstrings=True)

    specversion: Literal["1.0"]
    """Of CloudEvents."""
    id: str
    """`{device}:{run}:{seq}`: never given twice. Drop what you have seen before."""
    source: str
    """`/{registry}/devices/{device}`."""
    type: str
    """`lookout.` and the kind."""
    time: str
    """When it happened by the box's clock, RFC 3339 in UTC."""
    data: dict[str, Any]
    """What the kind says."""


def encode(event: Event) -> bytes:
    """CloudEvents JSON, UTF-8.

    Raises:
        WireError: larger than `MAX_EVENT_BYTES`; the broker would drop the connection for it.
    """
    body = event.body
    subject = body.subject()
    message: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": f"/{event.registry}/devices/{event.id.device}",
        "type": body.type_name(),
        **({} if subject is None else {"subject": subject}),
        "time": time_text(event.draft.time_ns),
        "datacontenttype": "application/json",
        "data": {
            "run": str(event.id.run),
            "seq": event.id.seq,
            "mono_ns": event.draft.mono_ns,
            "durable": event.is_durable,
            **body.model_dump(mode="json", exclude_none=True),
        },
    }
    payload = json_bytes(message)
    if len(payload) > MAX_EVENT_BYTES:
        raise WireError(f"event of {len(payload)} bytes: want at most {MAX_EVENT_BYTES}")
    return payload


def decode(payload: bytes) -> Event:
    """Read what `encode` wrote, or a newer writer.

    Raises:
        WireError: not UTF-8, not JSON, not a CloudEvent of Lookout, or over the size limit.
    """
    if len(payload) > MAX_EVENT_BYTES:
        raise WireError(f"event of {len(payload)} bytes: want at most {MAX_EVENT_BYTES}")
    try:
        raw = json.loads(payload)
        envelope = Envelope.model_validate(raw)
        numbered = Numbered.model_validate(envelope.data)
        body = _body_model(envelope.type).model_validate_json(json.dumps(envelope.data))
    except (ValueError, RecursionError) as exc:
        raise WireError(f"not an event: {first_mistake(exc)}") from exc
    event_id = EventId.parse(envelope.id)
    if (str(event_id.run), event_id.seq) != (numbered.run, numbered.seq):
        raise WireError(
            f"event id {envelope.id}: data names run {numbered.run[:80]} seq {numbered.seq}"
        )
    root, registry, *rest = [*envelope.source.split("/"), ""]
    if root or not is_name(registry) or rest != ["devices", event_id.device, ""]:
        raise WireError(
            f"source {envelope.source[:80]!r}: want /REGISTRY/devices/{event_id.device}"
        )
    return Event(
        id=event_id,
        registry=registry,
        draft=Draft(time_ns=time_ns(envelope.time), mono_ns=numbered.mono_ns, body=body),
        is_durable=numbered.durable,
    )


def time_text(wall_ns: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    moment = _EPOCH + timedelta(microseconds=wall_ns // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_ns(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time. Raises WireError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise WireError(f"time {text[:80]!r}: want RFC 3339, such as 2026-11-24T12:00:00Z") from exc
    if moment.tzinfo is None:
        raise WireError(f"time {text[:80]!r}: want an offset or Z at its end")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _body_model(type_name: str) -> type[Body]:
    for model in BODIES:
        prefix = f"lookout.{model.subfolder}"
        if type_name == prefix or type_name.startswith(f"{prefix}."):
            return model
    raise WireError(f"type {type_name[:80]!r}: no event of this reader")


def first_mistake(exc: Exception) -> str:
    """What is wrong first, with its place where pydantic found it."""
    if isinstance(exc, ValidationError):
        mistake = exc.errors()[0]
        place = ".".join(map(str, mistake["loc"]))
        return f"{place}: {mistake['msg']}" if place else mistake["msg"]
    return str(exc) or type(exc).__name__
