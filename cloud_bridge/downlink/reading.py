"""What comes from Pub/Sub for a device, checked, and made ready for MQTT."""

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from cloud_bridge.ports import Received
from device.wire.downward import (
    MAX_DOWN_BYTES,
    DesiredSettings,
    decode_command,
    decode_desired,
    encode_down,
)
from device.wire.errors import WireError
from device.wire.events import time_ns
from device.wire.names import Topics, is_name

CONFIG = "config"
COMMAND = "command"


class Downward(NamedTuple):
    """What goes to a device. version, digest: of desired settings, else None."""

    registry: str
    device: str
    topic: str
    payload: bytes
    is_retained: bool
    version: int | None
    digest: str | None


def attributes_of(registry: str, device: str, kind: str) -> dict[str, str]:
    """Of a message on the downlink topic. kind: `CONFIG` or `COMMAND`."""
    return {"deviceRegistryId": registry, "deviceId": device, "kind": kind}


def read(received: Received, registries: frozenset[str], wall_ns: int) -> Downward:
    """
    Raises:
        WireError: nobody's, malformed, or expired.
    """
    registry, device, kind = _addressed(received.attributes)
    if registry not in registries:
        raise WireError(f"registry {registry[:80]!r}: not one of this bridge")
    topics = Topics(registry, device)
    if kind == CONFIG:
        desired = decode_desired(received.body)
        payload = _small_enough(encode_down(desired))
        digest = sha256(encode_down(_ordered(desired))).hexdigest()
        return Downward(registry, device, topics.config, payload, True, desired.version, digest)
    if kind == COMMAND:
        command = decode_command(received.body)
        if time_ns(command.expires) <= wall_ns:
            raise WireError(f"command {command.id}: it expired at {command.expires[:80]}")
        topic = topics.commands(command.command)
        payload = _small_enough(encode_down(command))
        return Downward(registry, device, topic, payload, False, None, None)
    raise WireError(f"attribute kind {kind[:80]!r}: want {CONFIG} or {COMMAND}")


def _addressed(attributes: Mapping[str, str]) -> tuple[str, str, str]:
    found = [attributes.get(key, "") for key in ("deviceRegistryId", "deviceId", "kind")]
    registry, device, kind = found
    for key, value in (("deviceRegistryId", registry), ("deviceId", device)):
        if not is_name(value):
            raise WireError(f"attribute {key} {value[:80]!r}: want a name")
    return registry, device, kind


def _small_enough(payload: bytes) -> bytes:
    """Written out, `1e15` is longer than it came. A device refuses what is too large, and a
    broker ends the bridge's connection for it, each time that it comes again."""
    if len(payload) > MAX_DOWN_BYTES:
        raise WireError(f"{len(payload)} bytes once written out: want at most {MAX_DOWN_BYTES}")
    return payload


def _ordered(desired: DesiredSettings) -> DesiredSettings:
    """The same settings have one digest, whatever the order of their keys."""

    def ordered(value: object) -> object:
        if isinstance(value, dict):
            return {key: ordered(value[key]) for key in sorted(value)}
        return value

    return desired.model_copy(
        update={"settings": {key: ordered(each) for key, each in sorted(desired.settings.items())}}
    )
