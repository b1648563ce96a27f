"""kill -9 of the bridge in 5,000 messages: 0 lost; and bridges that are broken on purpose lose."""

import json
import os
import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.bridge_doubles import DOUBLES
from tests.kit import receipts
from tests.kit.bridge import EVENTS, RUN, BridgeProcess, collect, event_payload, make_topics
from tests.kit.broker import Broker
from tests.kit.devices import Device
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import pause, wait_until
from tests.tools import require_tool

TOPIC = "home/devices/garden/events/detection"
COUNT = 5000
RECEIPT_S = 0.5
"""A receipt that is sent too early has come by then."""

BROKEN = 20
SEED = int(os.environ.get("LOOKOUT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
BRIDGE = ("-m", "cloud_bridge.main", "bridge")


class Scene:
    """Broker, Pub/Sub, bridge, and somebody who listens to receipts."""

    def __init__(self, folder: Path, command: tuple[str, ...], exits: ExitStack) -> None:
        enter = exits.enter_context
        self.broker = enter(Broker(require_tool("mosquitto"), folder / "broker"))
        self.server = enter(PubsubServer(folder / "pubsub"))
        self.pubsub = enter(Pubsub(self.server.host))
        make_topics(self.pubsub)
        self.subscription = self.pubsub.subscription(EVENTS)
        self.bridge = enter(
            BridgeProcess(folder / "bridge", self.broker.port, self.server.host, command=command)
        )
        self.device = enter(Device(self.broker.port))
        self.listener = enter(Subscriber(self.broker.port, ["home/devices/+/receipts"]))
        self.found: list[str] = []

    def collect(self, seqs: range, timeout_s: float) -> None:
        ids = {f"garden:{RUN}:{seq}" for seq in seqs} - set(self.found)
        self.found += collect(self.pubsub, self.subscription, ids, timeout_s)

    @property
    def receipted(self) -> set[int]:
        return receipts.confirmed(self.listener)

    def sent_to_bridge(self) -> int:
        """Messages that the broker has handed to the bridge, ever."""
        return self.broker.log_path.read_text(errors="replace").count(
            "Sending PUBLISH to lookout-bridge"
        )

    def acknowledged_by_bridge(self) -> int:
        return self.broker.log_path.read_text(errors="replace").count(
            "Received PUBACK from lookout-bridge"
        )


def prove(
    folder: Path,
    command: tuple[str, ...],
    say: Callable[[str], None],
    count: int,
    rounds: int,
    timeout_s: float,
) -> None:
    """count: of events; BROKEN unreadable messages are among them."""
    chance = random.Random(SEED)
    with ExitStack() as exits:
        scene = Scene(folder, command, exits)
        scene.bridge.wait_for_log("broker connected")
        # One event through: the gate is open.
        scene.device.publish(TOPIC, [event_payload(1)])
        scene.collect(range(1, 2), timeout_s)
        for first in range(2, count, count // rounds):
            last = min(first + count // rounds - 1, count)
            before, acknowledged = scene.sent_to_bridge(), scene.acknowledged_by_bridge()
            # Pub/Sub stands still, so that what the bridge takes stays unconfirmed.
            os.kill(scene.server.pid, signal.SIGSTOP)
            payloads = [event_payload(seq) for seq in range(first, last + 1)]
            payloads += [f'{{"broken":{first + each}'.encode() for each in range(BROKEN // rounds)]
            scene.device.publish(TOPIC, payloads)
            least = chance.randint(count // (2 * rounds), count // rounds)
            wait_until(
                lambda least=least, before=before: scene.sent_to_bridge() - before >= least,  # type: ignore[misc]
                f"{least} events with the bridge",
                timeout_s,
            )
            in_flight = scene.sent_to_bridge() - before
            in_flight -= scene.acknowledged_by_bridge() - acknowledged
            pause(RECEIPT_S)
            too_early = scene.receipted & set(range(first, last + 1))
            scene.bridge.kill()
            os.kill(scene.server.pid, signal.SIGCONT)
            assert not too_early, f"{len(too_early)} receipts before confirmation"
            say(f"killed the bridge with {in_flight} messages in flight")
            scene.bridge.start()
        scene.collect(range(1, count + 1), timeout_s)
        wait_until(lambda: scene.receipted >= set(range(1, count + 1)), "all receipts", timeout_s)
        listed = scene.bridge.command("deadletters", "list", "--json")
        assert json.loads(listed.stdout)["count"] == BROKEN, "dead letters lost"
        repeats = len(scene.found) - len(set(scene.found))
        say(f"{count} events, {rounds} kills, 0 lost, {repeats} sent twice")


def test_killed_bridges_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(words: str) -> None:
        with capsys.disabled():
            os.write(1, f"\n    {words}".encode())

    say(f"LOOKOUT_FAULT_SEED={SEED}")
    prove(tmp_path, BRIDGE, say, COUNT, rounds=4, timeout_s=60.0)


FOUND_OUT = {
    "acknowledging-on-arrival": "events? at the subscriber; .* missing",
    "receipt-before-confirmation": "receipts before confirmation",
    "dropping-letters": "dead letters lost",
    "dying-of-a-callback": "at the subscriber; .* missing",
}


@pytest.mark.parametrize("name", DOUBLES)
def test_a_bridge_that_is_broken_on_purpose_goes_red(name: str, tmp_path: Path) -> None:
    command = ("-m", "tests.faults.bridge_doubles", name)
    with pytest.raises(AssertionError, match=FOUND_OUT[name]):
        prove(tmp_path, command, lambda _: None, count=600, rounds=2, timeout_s=10.0)
