"""The whole way of an event as four processes, with a consumer at its end: broken while it works,
judged afterwards by the history checker.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Literal, Protocol, TypeAlias

from device.core.delivery import RECEIPT_FIRST_S
from tests.faults.lines import BROKER_LINES
from tests.kit.bridge import EVENTS, BridgeProcess, make_topics
from tests.kit.broker import Broker
from tests.kit.delivering_device import DeliveringDevice
from tests.kit.history import Verdict, compare
from tests.kit.mqtt_tap import MqttTap
from tests.kit.processes import Spawn
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.storing import Storing, take_all
from tests.kit.tcp_proxy import TcpProxy
from tests.kit.waiting import pause, wait_until
from tests.tools import require_tool

Name: TypeAlias = Literal["device", "broker", "bridge", "pubsub"]
NAMES: tuple[Name, ...] = ("device", "broker", "bridge", "pubsub")
WINDOW = 12
IDLE_S = 60.0
"""For the chain to get to work again after a fault."""


class Part(Protocol):
    """A process of the chain."""

    @property
    def pid(self) -> int: ...

    @property
    def is_running(self) -> bool: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the chain is made of; a double stands for one of them."""

    device: Sequence[str] = ()
    bridge: Sequence[str] = ("-m", "cloud_bridge.main", "bridge")
    pubsub: Sequence[str] = ("-m", "cloud_bridge.main", "pubsub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """kills: at once, in this order. freezes: stands still for `seconds`, the kills amid them.
    seconds: without a freeze, how long the killed are away."""

    kills: tuple[Name, ...] = ()
    freezes: Name | None = None
    seconds: float


SHARP: tuple[Fault, ...] = (
    Fault(kills=("device",), seconds=0.1),
    # What was acknowledged and not confirmed is with bridge and broker alone, and goes with them.
    Fault(freezes="pubsub", kills=("bridge", "broker"), seconds=0.7),
    Fault(freezes="broker", seconds=0.7),
    Fault(kills=("pubsub",), seconds=0.1),
    Fault(kills=("device", "bridge"), seconds=0.1),
    Fault(freezes="pubsub", kills=("broker", "bridge"), seconds=0.7),
    Fault(kills=("pubsub",), seconds=0.1),
)
"""A few, each where it hurts most."""


def plan(chance: random.Random, kills: int, freezes: int) -> list[Fault]:
    """So many kills, as many of each part; about every tenth takes another part with it. Among
    them so many freezes, as many of each part."""
    victims: list[Name] = [NAMES[each % len(NAMES)] for each in range(kills)]
    chance.shuffle(victims)
    faults = []
    while victims:
        count = 2 if chance.random() < 0.1 and len(set(victims[-2:])) == 2 else 1
        taken = tuple(victims.pop() for _ in range(count))
        faults.append(Fault(kills=taken, seconds=chance.uniform(0.0, 0.3)))
    for each in range(freezes):
        faults.append(Fault(freezes=NAMES[each % len(NAMES)], seconds=chance.uniform(1.0, 3.0)))
    chance.shuffle(faults)
    return faults


@dataclass(slots=True)
class Account:
    """What was done, and how many events were on their way each time."""

    in_flight: list[int] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)
    frozen: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        killed = " ".join(f"{name}={self.killed[name]}" for name in NAMES)
        frozen = " ".join(f"{name}={self.frozen[name]}" for name in NAMES)
        on_the_way = sorted(self.in_flight) or [0]
        return (
            f"kills={self.killed.total()} ({killed}) freezes={self.frozen.total()} ({frozen}) "
            f"in flight at each: least={on_the_way[0]} median={median(on_the_way):g} "
            f"most={on_the_way[-1]}"
        )


class Chain:
    """All of it, running. A context manager's part: `exits` ends it."""

    def __init__(
        self,
        folder: Path,
        exits: ExitStack,
        parts: Parts,
        spawn: Spawn,
        rate: float,
        receipt_s: float,
    ) -> None:
        enter = exits.enter_context
        self.account = Account()
        self.deaths: list[str] = []
        self.broker = enter(Broker(require_tool("mosquitto"), folder / "broker", BROKER_LINES))
        self.tap = MqttTap()
        self.line = enter(TcpProxy(self.broker.port, self.tap))
        self.server = enter(PubsubServer(folder / "pubsub", command=parts.pubsub, spawn=spawn))
        self.pubsub = enter(Pubsub(self.server.host))
        make_topics(self.pubsub)
        self.consumer = enter(Storing(self.pubsub, self.pubsub.subscription(EVENTS)))
        self._audit = self.pubsub.subscription(EVENTS)
        # Quick steps: a window this small moves `WINDOW` events in each round trip.
        more = {"": "receipts_ms = 10\n", "pubsub": "batch_ms = 3\n"}
        self.bridge = enter(
            BridgeProcess(
                folder / "bridge",
                self.broker.port,
                self.server.host,
                more,
                command=parts.bridge,
                spawn=spawn,
            )
        )
        self.bridge.wait_for_log("broker connected")
        options = ["--delivery", "receipts", "--rate", f"{rate}", "--window", f"{WINDOW}"]
        options += ["--receipt-s", f"{receipt_s}"]
        self.device = enter(
            DeliveringDevice(
                folder / "device",
                self.line.port,
                options=[*options, *parts.device],
                spawn=spawn,
            )
        )
        self._parts: dict[Name, Part] = {
            "device": self.device,
            "broker": self.broker,
            "bridge": self.bridge,
            "pubsub": self.server,
        }

    def in_flight(self) -> int:
        """Events that were seen to leave the device, and whose receipt was not seen to come."""
        return self.tap.in_flight

    def suffer(self, fault: Fault) -> None:
        """One fault, while events are in flight."""

        def is_at_work() -> bool:
            self.check()
            return self.in_flight() > 0

        wait_until(is_at_work, "events in flight", IDLE_S, 0.005)
        self.account.in_flight.append(self.in_flight())
        frozen = None if fault.freezes is None else self._parts[fault.freezes].pid
        if frozen is not None and fault.freezes is not None:
            self.account.frozen[fault.freezes] += 1
            os.kill(frozen, signal.SIGSTOP)
            pause(fault.seconds)
        for name in fault.kills:
            self.account.killed[name] += 1
            self._parts[name].kill()
        if frozen is not None:
            os.kill(frozen, signal.SIGCONT)
        else:
            pause(fault.seconds)
        for name in fault.kills:
            self._parts[name].start()

    def tend(self) -> None:
        """What has ended by itself is noted, and started again, as systemd does."""
        for name, part in self._parts.items():
            if not part.is_running:
                self.deaths.append(name)
                part.start()

    def check(self) -> None:
        """What must hold at any time."""
        self.tend()
        assert not self.deaths, f"ended by themselves: {Counter(self.deaths)}"
        most = self.tap.most_unanswered
        assert most <= WINDOW, f"{most} events on the wire at once, window {WINDOW}"

    def drain(self, timeout_s: float) -> Verdict:
        """Nothing new; all that is there arrives; the verdict."""
        self.device.hush()

        def is_empty() -> bool:
            self.check()
            return self.device.waiting() == 0

        wait_until(is_empty, "the outbox is empty", timeout_s, every_s=0.1)
        self.device.stop()
        # Whatever Pub/Sub has stored waits here too: nothing can be late, only lost.
        audited = take_all(self.pubsub, self._audit)
        verdict = compare([self.device.committed], [*self.consumer.handed, *audited])
        if verdict.faults:
            return verdict
        ids = self.device.committed.ids
        wait_until(lambda: not self.consumer.missing(ids), "all events with the consumer", 30.0)
        return compare([self.device.committed], self.consumer.handed)


def prove(
    folder: Path,
    parts: Parts,
    faults: Sequence[Fault],
    count: int,
    *,
    spawn: Spawn,
    rate: float,
    timeout_s: float,
    receipt_s: float = RECEIPT_FIRST_S,
    say: Callable[[str], None],
) -> Verdict:
    """At least `count` events through a chain that suffers `faults`, spread over them."""
    began_s = monotonic()
    with ExitStack() as exits:
        chain = Chain(folder, exits, parts, spawn, rate, receipt_s)
        for number, fault in enumerate(faults):
            least = count * number // (len(faults) + 1)
            wait_until(lambda least=least: chain.device.count() >= least, "events", IDLE_S, 0.05)  # type: ignore[misc]
            chain.suffer(fault)
            chain.check()
        wait_until(lambda: chain.device.count() >= count, "the last events", IDLE_S)
        say(f"{chain.account}")
        assert min(chain.account.in_flight) > 0
        broken_s = monotonic() - began_s
        verdict = chain.drain(timeout_s)
        say(
            f"committed={verdict.committed} arrived={verdict.stored} lost={len(verdict.lost)} "
            f"sent_twice={verdict.repeats} ({verdict.repeated_share:.1%}), "
            f"{chain.tap.sent.total() - len(chain.tap.sent)} of it by the device; "
            f"redelivered={verdict.redelivered} most_unanswered={chain.tap.most_unanswered} "
            f"seconds={monotonic() - began_s:.0f}, faults in the first {broken_s:.0f}"
        )
        assert not verdict.faults, "; ".join(verdict.faults)
        assert verdict.stored == verdict.committed >= count
    return verdict
