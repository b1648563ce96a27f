"""The settings files of the demo's box and bridge, and where its events go."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from device.demo_broker import HOST

PICTURES = Path(__file__).parents[1] / "demo_pictures"
REGISTRY, DEVICE = "demo", "demo-box"
LOCAL_PROJECT = "lookout-demo"
PROJECT_PATTERN = r"[a-z][a-z0-9:.-]{4,61}[a-z0-9]"
"""What the bridge's settings take; here, so that nothing is begun with a name that is none."""


class FarEnd(Enum):
    """Whose subscriber the demo shows."""

    LOCAL = "local Pub/Sub"
    GOOGLE = "Google's Pub/Sub"
    BROKER = "broker"
    """No bridge and no Pub/Sub: where the cloud side is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """folder: of everything. prefix: what the names of topics and subscriptions begin with."""

    folder: Path
    far_end: FarEnd
    broker_port: int
    project: str = LOCAL_PROJECT
    prefix: str = "lookout"
    pubsub_address: str | None = None

    @property
    def box_file(self) -> Path:
        return self.folder / "lookout.toml"

    @property
    def bridge_file(self) -> Path:
        return self.folder / "bridge.toml"

    @property
    def subscription(self) -> str:
        return f"{self.prefix}-events-dashboard"

    def box_settings(self) -> str:
        return _BOX.format(
            device=DEVICE,
            registry=REGISTRY,
            pictures=PICTURES,
            host=HOST,
            port=self.broker_port,
            delivery="broker" if self.far_end is FarEnd.BROKER else "receipts",
        )

    def bridge_settings(self) -> str:
        address = f'address = "{self.pubsub_address}"\n' if self.pubsub_address else ""
        return _BRIDGE.format(
            registry=REGISTRY,
            host=HOST,
            port=self.broker_port,
            project=self.project,
            prefix=self.prefix,
            address=address,
        )


_BOX = """\
# The settings of the box of `lookout demo`; docs/settings.md explains every key.
[device]
name = "{device}"
registry = "{registry}"
state_dir = "state"

[camera]
source = "pictures"
path = "{pictures}"
picture_s = 2.0
frames_per_s = 10.0

[gpio]
driver = "file"
folder = "pins"

[outputs.lamp]
pin = 17
longest_on_s = 60

[outputs.bell]
pin = 27

[rules.lamp_while_cat]
output = "lamp"
seen = "cat"
keep_s = 0.5

[rules.bell_for_coffee]
output = "bell"
seen = "cup"
action = "pulse"
pulse_s = 0.5

[detection]
absence_s = 0.3

[mqtt]
host = "{host}"
port = {port}
delivery = "{delivery}"

[report]
telemetry_s = 10.0
"""

_BRIDGE = """\
# The settings of the bridge of `lookout demo`; docs/bridge.md explains every key.
registries = ["{registry}"]
state_dir = "bridge"

[mqtt]
host = "{host}"
port = {port}

[pubsub]
project = "{project}"
events_topic = "{prefix}-events"
state_topic = "{prefix}-state"
downlink_topic = "{prefix}-downlink"
downlink_subscription = "{prefix}-downlink-bridge"
{address}"""
