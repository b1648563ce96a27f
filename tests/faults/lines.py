"""Several devices, each with a bridge of its own and three lines that can be made bad: to the
broker, from it to the bridge, and on to Pub/Sub. Broker, Pub/Sub and consumer are everybody's.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal, TypeAlias

from device.clocks import SystemClock
from tests.kit.bridge import EVENTS, BridgeProcess, make_topics
from tests.kit.broker import Broker
from tests.kit.delivering_device import DeliveringDevice
from tests.kit.history import Handed
from tests.kit.processes import Spawn
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.storing import Storing
from tests.kit.tcp_proxy import TcpProxy
from tests.kit.waiting import pause, wait_until
from tests.tools import require_tool

Link: TypeAlias = Literal["device-broker", "broker-bridge", "bridge-pubsub"]
LINKS: tuple[Link, ...] = ("device-broker", "broker-bridge", "bridge-pubsub")
How: TypeAlias = Literal["silent", "silent-up", "silent-down", "refusing", "silent-then-reset"]
HOWS: tuple[How, ...] = ("silent", "silent-up", "silent-down", "refusing", "silent-then-reset")

BROKER_LINES = (
    "max_inflight_messages 2000",
    "max_packet_size 131072",
    "autosave_interval 60",
    "set_tcp_nodelay true",
)
"""As `lookout-cloud broker settings` writes it, beside what the kit has."""

CLOCK = SystemClock()
HEALED_WITHIN_S = 15.0


class Middle:
    """What the lines share."""

    def __init__(self, folder: Path, exits: ExitStack, spawn: Spawn) -> None:
        enter = exits.enter_context
        self.broker = enter(Broker(require_tool("mosquitto"), folder / "broker", BROKER_LINES))
        self.server = enter(PubsubServer(folder / "pubsub", spawn=spawn))
        self.pubsub = enter(Pubsub(self.server.host))
        make_topics(self.pubsub)
        self.consumer = enter(Storing(self.pubsub, self.pubsub.subscription(EVENTS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Of one link, for so long."""

    link: Link
    how: How
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Healing:
    """healed_ns: wall clock. first_s: from then until the first event that was made afterwards
    had arrived."""

    partition: Partition
    device: str
    healed_ns: int
    first_s: float


class Line:
    """One device and one bridge, with their links."""

    def __init__(
        self,
        folder: Path,
        exits: ExitStack,
        spawn: Spawn,
        middle: Middle,
        name: str,
        options: Sequence[str],
    ) -> None:
        enter = exits.enter_context
        self.name = name
        self._consumer = middle.consumer
        self.links: dict[Link, TcpProxy] = {
            "device-broker": enter(TcpProxy(middle.broker.port)),
            "broker-bridge": enter(TcpProxy(middle.broker.port)),
            "bridge-pubsub": enter(TcpProxy(middle.server.port)),
        }
        self.bridge = enter(
            BridgeProcess(
                folder / f"bridge-{name}",
                self.links["broker-bridge"].port,
                f"127.0.0.1:{self.links['bridge-pubsub'].port}",
                {"mqtt": f'client_id = "bridge-{name}"\n'},
                spawn=spawn,
                registry=f"home-{name}",
            )
        )
        told = ["--delivery", "receipts", "--window", "64", "--group-ms", "50", "--jitter"]
        self.device = enter(
            DeliveringDevice(
                folder / name,
                self.links["device-broker"].port,
                name,
                ["--registry", f"home-{name}", *told, *options],
                spawn,
            )
        )

    def is_up(self) -> bool:
        """Whether its first events have arrived."""
        return any(each.event_id.startswith(f"{self.name}:") for each in self._consumer.handed)

    def suffer(self, partition: Partition, within_s: float = HEALED_WITHIN_S) -> Healing:
        """One partition, until events that are made after it arrive."""
        line = self.links[partition.link]
        match partition.how:
            case "silent" | "silent-then-reset":
                line.blackhole()
            case "silent-up":
                line.blackhole("up")
            case "silent-down":
                line.blackhole("down")
            case "refusing":
                line.refuse()
        pause(partition.seconds)
        known = len(self._consumer.handed)
        if partition.how == "silent-then-reset":
            line.reset()
        line.heal()
        healed_ns, healed_s = CLOCK.wall_ns(), monotonic()
        found: list[Handed] = []

        def has_come() -> bool:
            found.extend(
                each
                for each in self._consumer.since(known)
                if each.event_id.startswith(f"{self.name}:") and each.made_ns >= healed_ns
            )
            return bool(found)

        wait_until(has_come, f"events after {partition}", within_s, every_s=0.05)
        first_ns = min(each.arrived_ns for each in found) - healed_ns
        return Healing(
            partition=partition,
            device=self.name,
            healed_ns=healed_ns,
            first_s=min(first_ns / 1e9, monotonic() - healed_s),
        )
