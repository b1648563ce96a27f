"""Text to the bridge's settings; `/etc/lookout/bridge.toml` as a rule. Parsing opens nothing."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from device.wire.names import NAME_PATTERN

Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, Field(min_length=1, max_length=256)]


def _without_nul(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("want a path without the character U+0000")
    return path


FilePath = Annotated[Path, Field(strict=False), AfterValidator(_without_nul)]
"""Lax: TOML has no paths, only text."""

PROJECT_PATTERN = r"^[a-z][a-z0-9:.-]{4,61}[a-z0-9]$"
RESOURCE_PATTERN = r"^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$"
"""Of a topic or subscription. Source: Pub/Sub, "Guidelines to name a topic or a subscription"."""

Resource = Annotated[str, Field(pattern=RESOURCE_PATTERN)]
Registry = Annotated[str, Field(pattern=NAME_PATTERN)]

ADDRESS_PATTERN = r"^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"
"""HOST:PORT, as `PUBSUB_EMULATOR_HOST` has it."""

MIB = 1024 * 1024

HUB_PROJECT = "lookout-hub"
HUB_DOWNLINK = "lookout-downlink-bridge"
HUB_REGISTRIES = ("home",)
HUB_DATA_DIR = "/var/lib/lookout-hub"
HUB_OWN = (
    "address",
    "events_topic",
    "state_topic",
    "downlink_topic",
    "downlink_subscription",
    "credentials_file",
)
"""Keys of `[pubsub]` that a hub's file must not have: it makes a Pub/Sub of its own."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches who listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def reachable(host: str, port: int) -> str:
    """HOST:PORT by which programs of this machine reach who listens there."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}  # noqa: S104
    return f"{everywhere.get(host, host)}:{port}"


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class TlsConfig(Section):
    """`[mqtt.tls]`: with this table the connection is encrypted."""

    ca_file: FilePath | None = None
    """Who vouches for the broker; the system's authorities when absent."""
    cert_file: FilePath | None = None
    """The bridge's own certificate."""
    key_file: FilePath | None = None
    """Its key."""

    @model_validator(mode="after")
    def _both_or_none(self) -> "TlsConfig":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("want cert_file and key_file both, or neither")
        return self


class MqttConfig(Section):
    """`[mqtt]`: the broker."""

    host: Text = "localhost"
    """Name or address."""
    port: Port | None = None
    """8883 with `[mqtt.tls]`, else 1883."""
    client_id: Registry = "lookout-bridge"
    """Each bridge needs one of its own: the broker keeps what it missed under this name."""
    username: Text | None = None
    """When the broker wants one."""
    password_file: FilePath | None = None
    """Holds the password."""
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    """A silent link is noticed after two of these."""
    session_s: Annotated[int, Field(ge=60, le=2**32 - 2)] = 14 * 24 * 3600
    """How long the broker keeps events for a bridge that is away."""
    window: Annotated[int, Field(ge=1, le=65535)] = 2000
    """Messages under way from the broker at most (Receive Maximum)."""
    tls: TlsConfig | None = None

    @property
    def port_number(self) -> int:
        return self.port or (1883 if self.tls is None else 8883)


class PubsubConfig(Section):
    """`[pubsub]`: where events go."""

    project: Annotated[str, Field(pattern=PROJECT_PATTERN)]
    """Of Google Cloud; any such name with a local Pub/Sub."""
    events_topic: Resource = "lookout-events"
    """Takes every event."""
    state_topic: Resource = "lookout-state"
    """Takes `state` and `availability`, newest wins."""
    downlink_topic: Resource = "lookout-downlink"
    """Where `lookout-cloud send` puts commands and desired settings."""
    downlink_subscription: Resource | None = None
    """Of `downlink_topic`; without it nothing goes down to the devices."""
    address: Annotated[str, Field(pattern=ADDRESS_PATTERN)] | None = None
    """HOST:PORT of a local Pub/Sub to be used instead of Google's; when absent, that of
    PUBSUB_EMULATOR_HOST, if any."""
    credentials_file: FilePath | None = None
    """Key of a service account; what the environment offers when absent."""
    batch_messages: Annotated[int, Field(ge=1, le=1000)] = 500
    """Of one call at most."""
    batch_bytes: Annotated[int, Field(ge=64 * 1024, le=8 * MIB)] = 4 * MIB
    """Of one call, about."""
    batch_ms: Annotated[int, Field(ge=0, le=1000)] = 10
    """How long a batch is gathered."""
    in_flight: Annotated[int, Field(ge=1, le=32)] = 4
    """Calls under way at most."""
    check_subscriptions: bool = True
    """Forward only while the events topic has a subscription: Pub/Sub drops what has none."""
    check_s: Annotated[int, Field(ge=1, le=3600)] = 60
    """How often they are counted."""

    def topic(self, name: str) -> str:
        return f"projects/{self.project}/topics/{name}"

    def subscription(self, name: str) -> str:
        return f"projects/{self.project}/subscriptions/{name}"


class DeadLettersConfig(Section):
    """`[dead_letters]`: what nobody can read, kept in `state_dir`."""

    max_bytes: Annotated[int, Field(ge=MIB)] = 256 * MIB
    """When they are used up, the bridge stops acknowledging. One letter may take half a MiB."""


class HubConfig(Section):
    """`[hub]`: with this table, which may be empty, the file is a hub's: a bridge that brings its
    own Pub/Sub."""

    data_dir: FilePath = Path(HUB_DATA_DIR)
    """Everything that the hub keeps; one hub a folder."""
    host: Text = "127.0.0.1"
    """Address that its Pub/Sub listens on. It has no password: whoever reaches it may do all."""
    port: Port = 8085
    """Of its Pub/Sub."""
    max_bytes: Annotated[int, Field(ge=1_000_000)] = 2_000_000_000
    """Of messages that wait for their readers; when they are used up, events wait on the boxes."""
    keep_days: Annotated[int, Field(ge=1, le=31)] = 7
    """How long a message waits for its reader."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    @property
    def address(self) -> str:
        """Where programs of this machine find its Pub/Sub."""
        return reachable(self.host, self.port)


class Config(Section):
    """The whole file. With `[hub]` the keys that are needed have defaults."""

    registries: Annotated[list[Registry], Field(min_length=1)]
    """Those that this bridge serves."""
    location: Annotated[str, Field(max_length=64)] = "global"
    """Told to consumers as `deviceRegistryLocation`."""
    state_dir: FilePath = Path("/var/lib/lookout-bridge")
    """Dead letters and the status file."""
    queue_bytes: Annotated[int, Field(ge=MIB)] = 64 * MIB
    """Taken from the broker and not yet confirmed, at most, about."""
    receipts_ms: Annotated[int, Field(ge=0, le=10_000)] = 100
    """How long receipts are gathered."""
    mqtt: MqttConfig = MqttConfig()
    pubsub: PubsubConfig
    dead_letters: DeadLettersConfig = DeadLettersConfig()
    hub: HubConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_a_hub(cls, raw: Any) -> Any:  # noqa: ANN401 - text from outside
        if not isinstance(raw, dict) or not isinstance(raw.get("hub"), dict):
            return raw
        data_dir = raw["hub"].get("data_dir", HUB_DATA_DIR)
        own = {"registries": list(HUB_REGISTRIES), "state_dir": f"{data_dir}/bridge", "pubsub": {}}
        filled = {**own, **raw}
        if isinstance(filled["pubsub"], dict):
            names = {"project": HUB_PROJECT, "downlink_subscription": HUB_DOWNLINK}
            filled["pubsub"] = {**names, **filled["pubsub"]}
        return filled

    @property
    def pubsub_address(self) -> str | None:
        """HOST:PORT of the Pub/Sub that these settings name, if it is not Google's."""
        return self.pubsub.address if self.hub is None else self.hub.address
