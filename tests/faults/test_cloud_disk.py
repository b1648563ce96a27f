"""Disks of the cloud side that are full, read-only or broken while it runs: nothing is said that is
not so, good events pass, and it heals without a restart."""

import errno
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable

from cloud_bridge.downlink.reading import attributes_of
from cloud_bridge.local_pubsub.server import LocalPubsub
from device.wire.downward import DesiredSettings, encode_down
from tests.kit import receipts
from tests.kit.bridge import (
    DOWNLINK,
    EVENTS,
    PROJECT,
    STATES,
    BridgeProcess,
    collect,
    event_payload,
    make_topics,
)
from tests.kit.broker import Broker
from tests.kit.devices import Device
from tests.kit.full_disk import SmallDisk
from tests.kit.power_cut_folder import PowerCutFolder
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import wait_until
from tests.tools import absent, require_tool

TOPIC = "home/devices/garden/events/detection"
DOWN = f"projects/{PROJECT}/subscriptions/lookout-downlink-bridge"


@dataclass(frozen=True)
class Disk:
    """A folder on a disk that fails when it is told to."""

    path: Path
    fail: Callable[[], None]
    mend: Callable[[], None]


@contextmanager
def full(folder: Path) -> Iterator[Disk]:
    with SmallDisk(folder / "small", 4_000_000) as small:
        yield Disk(small.path, small.fill, small.empty)


@contextmanager
def refusing(folder: Path, number: int) -> Iterator[Disk]:
    require_tool("fusermount3")
    if not Path("/dev/fuse").exists():
        absent("/dev/fuse")
    with PowerCutFolder(folder) as refuser:
        yield Disk(refuser.path, lambda: refuser.refuse(number), refuser.mend)


DISKS: dict[str, Callable[[Path], Any]] = {
    "full": full,
    "read-only": lambda folder: refusing(folder, errno.EROFS),
}


class Scene:
    """A bridge whose state lies on a disk of its own; all else is well."""

    def __init__(
        self, folder: Path, disk: Disk, exits: ExitStack, name: str = "sound", more: str = ""
    ) -> None:
        enter = exits.enter_context
        self.broker = enter(Broker(require_tool("mosquitto"), folder / "broker"))
        host = f"127.0.0.1:{enter(LocalPubsub(folder / 'pubsub')).port}"
        self.pubsub = enter(Pubsub(host))
        make_topics(self.pubsub, (EVENTS, STATES, DOWNLINK))
        self.subscription = self.pubsub.subscription(EVENTS)
        self.pubsub.subscriber.create_subscription(
            request={"name": DOWN, "topic": DOWNLINK, "ack_deadline_seconds": 10}, timeout=10.0
        )
        self.bridge = enter(
            BridgeProcess(
                folder / "bridge",
                self.broker.port,
                host,
                {
                    "mqtt": more,
                    "pubsub": f'downlink_subscription = "{DOWN.rpartition("/")[2]}"\n',
                },
                ("-m", "tests.faults.hurried_bridge", name),
                disk.path,
            )
        )
        self.device = enter(Device(self.broker.port))
        self.listener = enter(Subscriber(self.broker.port, ["home/devices/+/#"]))
        self._seq = 0

    def wait_ready(self) -> None:
        self.bridge.wait_for_log("broker connected")
        self.collect(self.publish(1))

    def publish(self, count: int) -> list[int]:
        seqs = list(range(self._seq + 1, self._seq + count + 1))
        self._seq += count
        self.device.publish(TOPIC, [event_payload(seq) for seq in seqs])
        return seqs

    def publish_bad(self, count: int) -> list[int]:
        """Events that nobody can read, with ids that can be."""
        seqs = list(range(self._seq + 1, self._seq + count + 1))
        self._seq += count
        self.device.publish(TOPIC, [event_payload(seq)[:-1] for seq in seqs])
        return seqs

    def collect(self, seqs: list[int], timeout_s: float = 6.0) -> None:
        ids = {f"garden:1-9f2c1a7b:{seq}" for seq in seqs}
        collect(self.pubsub, self.subscription, ids, timeout_s)

    @property
    def receipted(self) -> set[int]:
        return receipts.confirmed(self.listener)

    @property
    def refused(self) -> set[int]:
        return set(receipts.refused(self.listener))

    def acknowledged(self) -> int:
        return self.broker.log_path.read_text(errors="replace").count(
            "Received PUBACK from lookout-bridge"
        )

    def dead(self) -> set[int]:
        listed = json.loads(self.bridge.command("deadletters", "list", "--json").stdout)
        return {each["seq"] for each in listed["letters"]}

    def send_down(self, kind: str, body: bytes) -> None:
        attributes = attributes_of("home", "garden", kind)
        self.pubsub.publish_at_once(DOWNLINK, [{"data": body, "attributes": attributes}])

    def came_down(self, end: str) -> list[bytes]:
        """Payloads of one topic of the device."""
        return [each.payload for each in self.listener.messages if each.topic.endswith(end)]


def settings(version: int) -> bytes:
    return encode_down(DesiredSettings(version=version, settings={}))


def command(name: str) -> bytes:
    expires = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    return json.dumps({"id": name, "command": "identify", "expires": expires}).encode()


def prove(scene: Scene, disk: Disk) -> None:
    """The disk fails; events that would be dead letters come, and good ones behind them; desired
    settings whose version must be noted, and commands behind them."""
    scene.wait_ready()
    scene.send_down("config", settings(1))
    wait_until(lambda: scene.came_down("/config") == [settings(1)], "the first settings")
    wait_until(lambda: scene.acknowledged() >= 1, "the first event acknowledged")
    disk.fail()
    before = scene.acknowledged()
    scene.send_down("config", settings(2))
    scene.send_down("command", command("one"))
    scene.send_down("command", command("two"))
    bad = scene.publish_bad(3)
    good = scene.publish(200)
    scene.bridge.wait_for_log("nothing is acknowledged until there is room")
    scene.collect(good)
    wait_until(lambda: set(good) <= scene.receipted, "receipts of the good ones")
    assert scene.acknowledged() == before, "acknowledged without a dead letter"
    assert not set(bad) & (scene.refused | scene.receipted), "told without a dead letter"
    wait_until(lambda: len(scene.came_down("/identify")) >= 2, "both commands")
    scene.bridge.wait_for_log("downlink settings: versions")
    assert len(scene.came_down("/config")) == 1, "sent without a note of its version"
    disk.mend()
    wait_until(lambda: scene.acknowledged() == before + 203, "all acknowledged", 20.0)
    wait_until(lambda: set(bad) <= scene.refused, "the box hears of the refused ones")
    # First what counts: a keeper that lies never gets well, and must go red for what it lost.
    assert scene.dead() == set(bad), "dead letters lost"
    scene.bridge.wait_for_log("dead letters: well again")


@pytest.mark.parametrize("kind", DISKS)
def test_without_a_disk_what_needs_none_passes_and_nothing_is_lost(
    kind: str, tmp_path: Path
) -> None:
    with DISKS[kind](tmp_path) as disk, ExitStack() as exits:
        scene = Scene(tmp_path, disk, exits)
        prove(scene, disk)
        # And once more, with a death in the middle of it.
        before = scene.dead()
        disk.fail()
        bad = scene.publish_bad(3)
        wait_until(lambda: scene.bridge.log.count("until there is room") >= 2, "said again")
        scene.bridge.kill()
        disk.mend()
        scene.bridge.start()
        wait_until(lambda: set(bad) <= scene.refused, "the box hears of them", 20.0)
        assert scene.dead() == before | set(bad)
        # With the end of their lease, ten seconds after the disk refused their version.
        wait_until(lambda: scene.came_down("/config")[-1] == settings(2), "the settings", 20.0)


def test_the_window_bounds_what_passes_behind_a_dead_letter(tmp_path: Path) -> None:
    """Acknowledgements go in order, so the broker sends no more than the window beyond the first
    that waits; the rest stays with it."""
    with full(tmp_path) as disk, ExitStack() as exits:
        scene = Scene(tmp_path, disk, exits, more="window = 50\n")
        scene.wait_ready()
        disk.fail()
        [bad] = scene.publish_bad(1)
        good = scene.publish(300)
        scene.collect(good[:40])
        disk.mend()
        wait_until(lambda: set(good) <= scene.receipted, "receipts of all", 20.0)
        assert scene.dead() == {bad}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO], ids=["read-only", "broken"])
def test_the_local_pubsub_refuses_publishers_and_serves_subscribers(
    tmp_path: Path, number: int
) -> None:
    prove_pubsub(tmp_path, number, ("-m", "cloud_bridge.main", "pubsub"))


def prove_pubsub(tmp_path: Path, number: int, command: tuple[str, ...]) -> None:
    with refusing(tmp_path, number) as disk, ExitStack() as exits:
        server = exits.enter_context(PubsubServer(disk.path, command=command))
        pubsub = exits.enter_context(Pubsub(server.host))
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        stored = set(pubsub.publish_at_once(topic, [{"data": b"1"}] * 20))
        disk.fail()
        for _ in range(3):
            with pytest.raises(ServiceUnavailable, match="nothing was stored"):
                pubsub.publish_at_once(topic, [{"data": b"2"}])
        received = pubsub.pull_some(subscription)
        assert {each.message.message_id for each in received} == stored
        pubsub.acknowledge(subscription, received)
        disk.mend()
        [identity] = pubsub.publish_at_once(topic, [{"data": b"3"}])
        [last] = pubsub.pull_some(subscription)
        assert last.message.message_id == identity
        pubsub.acknowledge(subscription, [last])
        # What was acknowledged meanwhile reached the disk, so a restart brings nothing back.
        server.stop()
        server.start()
        with Pubsub(server.host) as again:
            assert again.pull(subscription) == []


DOUBLES = {
    "lying-keeper": ("acknowledged without a dead letter", "dead letters lost"),
    "waiting-for-letters": ("at the subscriber",),
}


def test_bridges_that_are_broken_on_purpose_go_red(tmp_path: Path) -> None:
    """Both at the same time, since most of it is waiting."""
    with ExitStack() as exits:
        disks = [exits.enter_context(full(tmp_path / name)) for name in DOUBLES]
        scenes = [
            Scene(tmp_path / name, disk, exits, name)
            for name, disk in zip(DOUBLES, disks, strict=True)
        ]
        with ThreadPoolExecutor(len(DOUBLES)) as pool:
            proofs = [
                pool.submit(prove, scene, disk) for scene, disk in zip(scenes, disks, strict=True)
            ]
            for name, proof in zip(DOUBLES, proofs, strict=True):
                found = str(proof.exception())
                assert any(each in found for each in DOUBLES[name]), f"{name}: {found}"


def test_a_pubsub_that_answers_before_it_stores_goes_red(tmp_path: Path) -> None:
    """The teeth."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        prove_pubsub(tmp_path, errno.EROFS, ("-m", "tests.faults.publishing", "early"))
