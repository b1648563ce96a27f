"""What came from a device, made ready for Pub/Sub, or the reason why nobody can read it.

The topic says who speaks: the broker's access rules hold every device to its own. The payload must
agree. On Pub/Sub an event is a CloudEvent in binary mode (docs/decisions/0007): its attributes are
those of the message, `ce-` in front, and its data is the message's.
"""

import re
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from cloud_bridge.ports import Arrival, Letter, OutMessage
from device.wire.errors import WireError
from device.wire.events import MAX_EVENT_BYTES
from device.wire.names import EventId, is_name

MAX_STATE_BYTES = 256 * 1024
ATTRIBUTE_BYTES = 1024
"""Of a value at most. Source: Pub/Sub quotas and limits."""

OWN_MEMBERS = frozenset({"specversion", "id", "source", "type", "time", "datacontenttype", "data"})
PLAIN_MEMBERS = len(OWN_MEMBERS)
MEMBERS_AT_MOST = 40
"""Pub/Sub takes 100 attributes."""

STATE_KINDS = ("state", "availability")

_ID = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,63}):([1-9][0-9]{0,17}-[0-9a-f]{8}):([1-9][0-9]{0,17})")
"""`device.wire.names.EventId`, kept here as one match without objects: every event passes."""

_ID_BYTES = re.compile(rb'"id"\s*:\s*"([A-Za-z][A-Za-z0-9_:-]{0,110})"')
_ATTRIBUTE_NAME = re.compile(r"[a-z0-9]{1,20}")
"""Source: CloudEvents 1.0.2, "Naming conventions"."""

_SUBFOLDER = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


class Reading(NamedTuple):
    """An event that may go on. device: (registry, name), the topic's. came: how it came."""

    device: tuple[str, str]
    run: str
    seq: int
    message: OutMessage
    came: Arrival


class Place(NamedTuple):
    """What a topic says. kind: `events`, `state` or `availability`; subfolder: of events."""

    registry: str
    device: str
    kind: str
    subfolder: str
    source: str
    type_prefix: str
    attributes: dict[str, str]


class Reader:
    """Reads the messages of some registries. project, location: told to consumers."""

    def __init__(self, registries: frozenset[str], project: str, location: str) -> None:
        self._registries = registries
        self._project = project
        self._location = location
        self.place = lru_cache(maxsize=4096)(self._place)

    def _place(self, topic: bytes) -> Place:
        """Raises WireError."""
        try:
            parts = topic.decode("utf-8").split("/")
        except UnicodeDecodeError as exc:
            raise WireError("topic: not UTF-8") from exc
        if len(parts) < 4 or parts[1] != "devices" or not is_name(parts[2]):
            raise WireError(f"topic {shown(topic)}: want REGISTRY/devices/DEVICE/...")
        registry, device, kind, rest = parts[0], parts[2], parts[3], parts[4:]
        if registry not in self._registries:
            raise WireError(f"registry {registry[:80]!r}: not one of this bridge")
        is_event = kind == "events" and len(rest) == 1 and _SUBFOLDER.fullmatch(rest[0])
        if not is_event and (kind not in STATE_KINDS or rest):
            raise WireError(f"topic {shown(topic)}: want .../events/KIND, .../state or the like")
        source = f"/{registry}/devices/{device}"
        attributes = {
            "deviceId": device,
            "deviceNumId": str(device_number(registry, device)),
            "deviceRegistryId": registry,
            "deviceRegistryLocation": self._location,
            "projectId": self._project,
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-source": source,
        }
        if is_event:
            attributes["subFolder"] = rest[0]
        else:
            attributes["ce-type"] = f"lookout.{kind}"
        prefix = f"lookout.{rest[0]}" if is_event else ""
        return Place(
            registry, device, kind, rest[0] if is_event else "", source, prefix, attributes
        )

    def event(self, place: Place, arrival: Arrival) -> Reading:
        """Check the envelope of an event.

        Its body is the consumers' business: kinds and fields that this bridge does not know pass.

        Raises:
            WireError: nobody can read it, or it is not the topic's device that it speaks of.
        """
        payload = arrival.payload
        if len(payload) > MAX_EVENT_BYTES:
            raise WireError(f"event of {len(payload)} bytes: want at most {MAX_EVENT_BYTES}")
        try:
            envelope: Any = from_json(payload, allow_inf_nan=False)
        except (ValueError, RecursionError) as exc:
            raise WireError(f"not JSON: {exc}") from exc
        if not isinstance(envelope, dict):
            raise WireError("not an event: want a JSON object")
        get = envelope.get
        if get("specversion") != "1.0":
            raise WireError(f"specversion {brief(get('specversion'))}: want 1.0")
        event_id: Any = get("id")
        type_name: Any = get("type")
        moment: Any = get("time")
        inner: Any = get("data")
        found = _ID.fullmatch(event_id) if isinstance(event_id, str) else None
        if found is None:
            raise WireError(f"id {brief(event_id)}: want DEVICE:RUN:SEQ")
        name, run, digits = found.groups()
        if name != place.device:
            raise WireError(f"id {event_id}: the topic is that of device {place.device}")
        if get("source") != place.source:
            raise WireError(f"source {brief(get('source'))}: want {place.source}, as the topic has")
        prefix = place.type_prefix
        if not isinstance(type_name, str) or not (
            type_name == prefix or type_name.startswith(prefix + ".")
        ):
            raise WireError(f"type {brief(type_name)}: want {prefix}, as the topic has")
        if not isinstance(moment, str) or not _is_time(moment):
            raise WireError(f"time {brief(moment)}: want RFC 3339, such as 2026-11-24T12:00:00Z")
        if not isinstance(inner, dict):
            raise WireError(f"data {brief(inner)}: want an object")
        seq = int(digits)
        if inner.get("run") != run or type(inner.get("seq")) is not int or inner["seq"] != seq:
            raise WireError(f"id {event_id}: data names another run or seq")
        attributes = {
            **place.attributes,
            "ce-id": event_id,
            "ce-type": type_name,
            "ce-time": moment,
        }
        if len(type_name) > ATTRIBUTE_BYTES // 4:
            raise WireError(f"type of {len(type_name)} characters: want at most 256")
        if len(envelope) > PLAIN_MEMBERS or "subject" in envelope:
            attributes |= _other_attributes(envelope)
        try:
            body = to_json(inner)
        except ValueError as exc:
            raise WireError(f"data: {exc}") from exc
        if b"Infinity" in body:
            _prove_finite(body)
        return Reading(
            (place.registry, place.device),
            run,
            seq,
            OutMessage(body, attributes),
            arrival,
        )

    def state(self, place: Place, arrival: Arrival, time_text: str, number: int) -> OutMessage:
        """`state` or `availability`; time_text, number: the bridge's, as they have none.

        Raises WireError.
        """
        payload = arrival.payload
        if len(payload) > MAX_STATE_BYTES:
            raise WireError(f"{place.kind} of {len(payload)} bytes: want at most {MAX_STATE_BYTES}")
        try:
            said: Any = from_json(payload, allow_inf_nan=False)
        except (ValueError, RecursionError) as exc:
            raise WireError(f"{place.kind}: not JSON: {exc}") from exc
        if not isinstance(said, dict) or not isinstance(said.get("run"), str):
            raise WireError(f"{place.kind}: want a JSON object with a run")
        identity = {"ce-id": f"{place.device}:{place.kind}:{number}", "ce-time": time_text}
        return OutMessage(payload, {**place.attributes, **identity})

    def letter(self, arrival: Arrival, reason: str) -> Letter:
        """The dead letter of a message, with as much of its origin as the topic and, for run and
        seq, the payload tell. They are told to the topic's device only, so a lie hurts the liar."""
        try:
            place = self.place(arrival.topic)
        except WireError:
            return Letter(topic=shown(arrival.topic), payload=arrival.payload, reason=reason)
        run, seq = _origin_of(arrival.payload)
        return Letter(
            topic=shown(arrival.topic),
            payload=arrival.payload,
            reason=reason,
            registry=place.registry,
            device=place.device,
            run=run,
            seq=seq,
        )


def _other_attributes(envelope: dict[str, Any]) -> dict[str, str]:
    """Subject, and extensions that this bridge does not know. What is no attribute by CloudEvents'
    rules, or too long for Pub/Sub, is left out. Raises WireError."""
    if len(envelope) > MEMBERS_AT_MOST:
        raise WireError(f"{len(envelope)} members: want at most {MEMBERS_AT_MOST}")
    found: dict[str, str] = {}
    others = [name for name in envelope if name not in OWN_MEMBERS]
    for name in others:
        if not _ATTRIBUTE_NAME.fullmatch(name):
            continue
        value = envelope[name]
        match value:
            case bool():
                text = "true" if value else "false"
            case str():
                text = value
            case int() if abs(value) < 2**31:
                text = str(value)
            case _:
                continue
        if text and len(text.encode()) <= ATTRIBUTE_BYTES:
            found[f"ce-{name}"] = text
    return found


def _prove_finite(body: bytes) -> None:
    """A number too large for a float has become infinite, which JSON cannot say."""
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError as exc:
        raise WireError("data: a number is too large") from exc


def _is_time(text: str) -> bool:
    """RFC 3339."""
    if _TIME.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _origin_of(payload: bytes) -> tuple[str | None, int | None]:
    """Run and seq of the first thing in a broken event that looks like its id."""
    for found in _ID_BYTES.finditer(payload[:4096]):
        try:
            event_id = EventId.parse(found[1].decode("ascii"))
        except WireError:
            continue
        return str(event_id.run), event_id.seq
    return None, None


def device_number(registry: str, device: str) -> int:
    """IoT Core gave each device a number; ours comes from its names and stays the same."""
    digest = sha256(f"{registry}/{device}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # fits a signed 64-bit number too


def shown(topic: bytes) -> str:
    """Printable, whatever it holds."""
    return topic.decode("utf-8", errors="backslashreplace")[:512]


def brief(value: object) -> str:
    """For a message to people."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of over 4,300 digits
        text = "a number of many digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
