"""Does memory stay flat? The whole chain at 200 events a second, its processes watched.

    python -m tests.faults.soaking [SECONDS]

device (receipts) -> mosquitto -> `lookout-cloud bridge` -> `lookout-cloud pubsub` -> a subscriber
that acknowledges. Prints each process's growth after a warm-up, fitted so that jumps do not count,
and exits 1 when bridge or device grow. broker, Pub/Sub and their growth are shown beside, for
comparison: a local Pub/Sub's cache fills for a while.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from tests.kit.bridge import EVENTS, BridgeProcess, make_topics
from tests.kit.broker import Broker
from tests.kit.delivering_device import DeliveringDevice
from tests.kit.memory import Growth, Sample, sample
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.waiting import pause
from tests.tools import require_tool

RATE = 200.0
SOAK_S = 600.0
EVERY_S = 2.0
DEVICE = ("--delivery", "receipts", "--rate", f"{RATE}", "--window", "64", "--group-ms", "50")
LEAKY_DEVICE = (*DEVICE, "--double", "hoarding")
LEAKY_BRIDGE = ("-m", "tests.faults.leaking")

BOUND_BYTES = 2_000_000
"""What a fit may say that a process has grown, over the time that counts: less than an eighth of
what a kilobyte an event comes to in two minutes, and what an allocator's arenas move by anyway."""


def bound_bytes_a_second(counted_s: float) -> float:
    """A short look must allow for noise, and still see 1 kB an event at `RATE`: a quarter of it."""
    return min(BOUND_BYTES / counted_s, RATE * 1000 / 4)


@dataclass
class Soaked:
    """growth by process; events that the subscriber acknowledged, each once, and seconds."""

    growth: dict[str, Growth]
    counted_s: float
    events: int
    seconds: float
    waiting: int
    """Events still on the device at the end."""

    def grows(self, name: str) -> bool:
        return self.growth[name].rss_bytes_a_second > bound_bytes_a_second(self.counted_s)

    @property
    def rate(self) -> float:
        return self.events / self.seconds


@dataclass
class Consumer:
    """Acknowledges, and remembers nothing of what came."""

    events: int = 0
    repeats: int = 0
    _last: set[str] = field(default_factory=set)

    def __call__(self, message: Any) -> None:  # noqa: ANN401 - the library's own
        self.events += 1
        message.ack()


def soak(
    folder: Path,
    seconds: float,
    warm_up_s: float,
    say: Callable[[str], object],
    has_leaks: bool = False,
) -> Soaked:
    """has_leaks: a second bridge and a second device, which keep a kilobyte of each event, run
    beside the sound ones in the same minutes."""
    with ExitStack() as exits:
        enter = exits.enter_context
        broker = enter(Broker(require_tool("mosquitto"), folder / "broker", ["log_type error"]))
        server = enter(PubsubServer(folder / "pubsub"))
        pubsub = enter(Pubsub(server.host))
        make_topics(pubsub)
        consumer = Consumer()
        subscription = pubsub.subscription(EVENTS)
        future = pubsub.subscriber.subscribe(subscription, consumer)
        exits.callback(future.cancel)
        bridges = {"bridge": enter(BridgeProcess(folder / "bridge", broker.port, server.host))}
        if has_leaks:
            more = {"mqtt": 'client_id = "leaky-bridge"\n'}
            bridges["leaky bridge"] = enter(
                BridgeProcess(folder / "leaky-bridge", broker.port, server.host, more, LEAKY_BRIDGE)
            )
        for bridge in bridges.values():
            bridge.wait_for_log("broker connected")
        devices = {
            "device": enter(DeliveringDevice(folder / "device", broker.port, options=DEVICE))
        }
        if has_leaks:
            devices["leaky device"] = enter(
                DeliveringDevice(folder / "leaky", broker.port, "leaky", LEAKY_DEVICE)
            )
        pids = {name: each.pid for name, each in (bridges | devices).items()}
        pids |= {"pubsub": server.pid, "broker": broker.pid}
        samples = {name: list[Sample]() for name in pids}
        for at_s in _beats(seconds):
            for name, pid in pids.items():
                samples[name].append(sample(pid, at_s))
            if round(at_s / EVERY_S) % 30 == 0:
                sizes = " ".join(
                    f"{name}={each[-1].rss_bytes / 1e6:.1f}" for name, each in samples.items()
                )
                say(f"{at_s:5.0f} s, MB: {sizes}; events={consumer.events}")
        events, waiting = consumer.events, devices["device"].waiting()
    growth = {name: Growth.of(each, warm_up_s) for name, each in samples.items()}
    for name, each in growth.items():
        say(f"{name}: {each}")
    return Soaked(growth, seconds - warm_up_s, events, seconds, waiting)


def _beats(seconds: float) -> Iterator[float]:
    """Every `EVERY_S`, the seconds since the beginning."""
    began_s = monotonic()
    at_s = 0.0
    while at_s <= seconds:
        yield at_s
        pause(max(began_s + at_s + EVERY_S - monotonic(), 0.0))
        at_s = monotonic() - began_s


def main(seconds: float) -> int:
    def say(words: str) -> None:
        sys.stdout.write(f"{words}\n")
        sys.stdout.flush()

    say(f"load before: {os.getloadavg()[0]:.2f}, processors: {os.cpu_count()}")
    with tempfile.TemporaryDirectory() as folder:
        soaked = soak(Path(folder), seconds, max(seconds / 5, 20.0), say)
    bound = bound_bytes_a_second(soaked.counted_s)
    say(f"events={soaked.events} rate={soaked.rate:.0f}/s waiting={soaked.waiting}")
    say(f"bound: {bound / 1e3:.2f} kB a second; load after: {os.getloadavg()[0]:.2f}")
    grown = [name for name in ("device", "bridge") if soaked.grows(name)]
    is_busy = soaked.rate > 0.9 * RATE
    say(f"flat={not grown} grown={','.join(grown) or 'none'} at_full_rate={is_busy}")
    return 0 if is_busy and not grown else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else SOAK_S))
