"""Who may be called what: boxes, bridges, brokers. A certificate's common name is its holder's
name, and the broker's rules go by it."""

import ipaddress
import re
from typing import Literal, TypeAlias

from cloud_bridge.errors import ConfigError
from device.wire.names import is_name

Role: TypeAlias = Literal["device", "bridge", "broker", "eviction"]
"""eviction: lives for minutes, and only takes a revoked holder's session away from it."""

BRIDGE_PREFIX = "bridge-"
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")


def check_device(name: str) -> str:
    """Raises ConfigError."""
    if not is_name(name):
        raise ConfigError(
            f"{name!r} cannot be a box's name; want letters, digits, - and _, a letter first, "
            "at most 64"
        )
    if name.startswith(BRIDGE_PREFIX):
        raise ConfigError(
            f"{name!r} cannot be a box's name: those that start with {BRIDGE_PREFIX!r} are "
            "bridges; choose another"
        )
    return name


def check_bridge(name: str) -> str:
    """Raises ConfigError."""
    if not is_name(name) or not name.startswith(BRIDGE_PREFIX) or name == BRIDGE_PREFIX:
        raise ConfigError(
            f"{name!r} cannot be a bridge's name; want {BRIDGE_PREFIX!r} and letters, digits, - "
            "and _, such as bridge-home"
        )
    return name


def check_registry(name: str) -> str:
    """Raises ConfigError."""
    if not is_name(name):
        raise ConfigError(
            f"{name!r} cannot be a registry's name; want letters, digits, - and _, a letter "
            "first, at most 64"
        )
    return name


def check_host(host: str) -> str:
    """A host's name or address, as boxes will call it. Raises ConfigError."""
    if is_address(host) or (len(host) <= 253 and _HOST.fullmatch(host)):
        return host
    raise ConfigError(
        f"{host!r} is no host; want a name such as broker.local, or an address, without a port"
    )


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
