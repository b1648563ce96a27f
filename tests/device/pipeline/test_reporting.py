"""`state`, telemetry and clock anchors, from the real loop and the real delivery over fakes."""

import json
from typing import Any

from device.album.fake_album import FakeAlbum
from device.core.delivery import DeliverySettings
from device.core.headlines import record_of
from device.core.rules import Rule
from device.errors import TransientError
from device.messaging.fake_uplink import FakeUplink
from device.messaging.memory_outbox import MemoryOutbox
from device.pipeline.deliver import Delivery
from device.pipeline.journal import Feed, Journal
from device.pipeline.reporting import Identity, Reporting
from device.ports import PreviousRun, Vitals
from device.wire.bodies import RunStarted
from device.wire.events import Draft, decode
from device.wire.names import Topics
from device.wire.state import Backend, SettingsState
from tests.device.pipeline.scene import CAT, EMPTY, Scene

BACKEND = Backend(
    runtime="none", version="0", accelerator="cpu", threads=1, delegated_nodes=0, nodes=1
)


class Reported:
    """A scene whose reporting is ticked by hand."""

    def __init__(self) -> None:
        self.scene = Scene(rules=(Rule(name="r", output="lamp", target="cat"),))
        self.uplink = FakeUplink(acknowledges=True)
        clock = self.scene.clock

        def first(previous: PreviousRun | None) -> Draft:
            assert previous is None
            body = RunStarted(reason="first", version="0", bundle="b@1", runtime="none")
            return Draft(time_ns=clock.wall_ns(), mono_ns=clock.monotonic_ns(), body=body)

        journal = Journal(FakeAlbum(), Feed(), record_of)
        self.delivery = Delivery(
            outbox_factory=lambda: MemoryOutbox("box", "test", 1_000_000),
            uplink_factory=lambda _: self.uplink,
            settings=DeliverySettings(),
            topics=Topics("home", "garden"),
            group_ms=0,
            turn_s=0.001,
            clock=clock,
            on_committed=journal.committed,
            first=first,
        )
        self.reporting = Reporting(
            identity=Identity(
                version="0", backend=BACKEND, bundles=[], settings=SettingsState(source="here")
            ),
            loop=self.scene.loop,
            capture=self.scene.capture,
            delivery=self.delivery,
            journal=journal,
            clock=clock,
            read_vitals=lambda: Vitals(41.5, 1000),
            state_s=60.0,
            telemetry_s=300.0,
        )

        self._deliver()

    def tick(self) -> None:
        self.reporting.tick()
        self._deliver()

    def _deliver(self) -> None:
        for _ in range(4):
            self.delivery.wake()
            self.delivery.outbox_turn()
            self.delivery.wake()
            self.delivery.uplink_turn()

    @property
    def states(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in self.uplink.states]

    def bodies(self, kind: str) -> list[Any]:
        events = [decode(each.payload) for each in self.uplink.published]
        return [event.body for event in events if event.subfolder == kind]


def test_state_is_told_when_what_is_seen_changes_and_not_with_every_frame() -> None:
    box = Reported()
    box.scene.show(EMPTY)
    box.tick()
    told = len(box.states)
    box.scene.show(EMPTY, EMPTY)
    box.tick()
    assert len(box.states) == told
    box.scene.show(CAT)
    box.tick()
    assert box.states[-1]["sights"][0]["present"] == ["cat"]
    assert box.states[-1]["outputs"] == {"lamp": True}


def test_state_is_repeated_every_minute() -> None:
    box = Reported()
    box.scene.show(EMPTY)
    box.tick()
    told = len(box.states)
    box.scene.show(*[EMPTY] * 60, step_s=1.0)
    box.tick()
    assert len(box.states) == told + 1
    assert box.states[-1]["run"].startswith("1-")
    assert box.states[-1]["last_seq"] >= 1


def test_a_part_that_is_not_itself_is_named_since_when_and_why() -> None:
    box = Reported()
    box.scene.show(EMPTY)
    box.tick()
    assert "degraded" not in box.states[-1] or box.states[-1]["degraded"] == []
    box.scene.cameras[-1].give(TransientError("unplugged"))
    box.scene.capture.turn()
    box.scene.loop.turn()
    box.tick()
    [degraded] = box.states[-1]["degraded"]
    assert (degraded["part"], degraded["reason"]) == ("camera", "unplugged")
    since = degraded["since"]
    box.scene.clock.advance(61.0)
    box.tick()
    assert box.states[-1]["degraded"][0]["since"] == since


def test_telemetry_comes_every_so_often() -> None:
    box = Reported()
    box.scene.show(EMPTY, CAT)
    box.tick()
    assert box.bodies("telemetry") == []
    box.scene.clock.advance(300.0)
    box.tick()
    [body] = box.bodies("telemetry")
    assert (body.frames, body.looks, body.temperature_c, body.disk_free_bytes) == (2, 2, 41.5, 1000)


def test_a_clock_that_was_set_leaves_an_anchor_and_nothing_else_changes() -> None:
    box = Reported()
    box.scene.show(CAT)
    box.tick()
    assert box.bodies("clock") == []
    box.scene.clock.set_wall(box.scene.clock.wall_ns() + 3600 * 10**9)
    box.tick()
    box.tick()
    [anchor] = box.bodies("clock")
    assert anchor.step_s == 3600.0
    assert box.scene.pins.levels["lamp"]
