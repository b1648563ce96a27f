"""kill -9 of a hub in mid-stream: both halves go at once, and 0 is lost."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from tests.kit.bridge import RUN, collect, event_payload
from tests.kit.broker import Broker
from tests.kit.devices import Device
from tests.kit.hub import EVENTS, HubProcess
from tests.kit.pubsub_clients import Pubsub
from tests.kit.waiting import pause, wait_until
from tests.tools import require_tool

TOPIC = "home/devices/garden/events/detection"
SEED = int(os.environ.get("LOOKOUT_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
HUB = ("-m", "cloud_bridge.main", "hub")
DOUBLE = ("-m", "tests.faults.hub_doubles", "acknowledging-on-arrival")


def prove(
    folder: Path,
    command: tuple[str, ...],
    say: Callable[[str], None],
    rounds: int,
    each: int,
    timeout_s: float,
) -> None:
    """each: events of a round, published while the hub runs and is killed."""
    chance = random.Random(SEED)
    with (
        Broker(require_tool("mosquitto"), folder / "broker") as broker,
        Device(broker.port) as device,
        HubProcess(folder / "hub", broker.port, command=command) as hub,
    ):
        hub.wait_for_log("broker connected")

        def handed_over() -> int:
            """Messages that the broker has sent to the hub, ever."""
            log = broker.log_path.read_text(errors="replace")
            return log.count("Sending PUBLISH to lookout-bridge")

        for number in range(rounds):
            seqs = range(number * each + 1, (number + 1) * each + 1)
            payloads = [event_payload(seq, pad=500) for seq in seqs]
            before = handed_over()
            publishing = Thread(target=device.publish, args=(TOPIC, payloads), daemon=True)
            publishing.start()
            least = chance.randint(each // 20, each // 2)
            wait_until(
                lambda least=least, before=before: handed_over() - before >= least,  # type: ignore[misc]
                f"{least} events with the hub",
                20.0,
                every_s=0.002,
            )
            hub.kill()
            say(f"killed the hub after {handed_over() - before} of {each} events")
            publishing.join(60.0)
            hub.start()
            hub.wait_until_served()
            pause(chance.uniform(0.0, 0.5))
        ids = {f"garden:{RUN}:{seq}" for seq in range(1, rounds * each + 1)}
        with Pubsub(hub.host) as pubsub:
            found = collect(pubsub, EVENTS, ids, timeout_s)
        say(f"{len(ids)} events, {rounds} kills, 0 lost, {len(found) - len(ids)} came twice")


def test_killed_hubs_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(words: str) -> None:
        with capsys.disabled():
            os.write(1, f"\n    {words}".encode())

    say(f"LOOKOUT_FAULT_SEED={SEED}")
    prove(tmp_path, HUB, say, rounds=3, each=1000, timeout_s=60.0)


def test_a_hub_that_acknowledges_on_arrival_goes_red(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"at the subscriber; \d+ missing"):
        prove(tmp_path, DOUBLE, lambda _: None, rounds=2, each=1000, timeout_s=8.0)
