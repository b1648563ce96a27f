"""`state`, telemetry and clock anchors, from the real loop and the real delivery over fakes."""

import json
from typing import Any

from device.album.fake_album import FakeAlbum
from device.core.delivery import DeliveryMode, DeliverySettings
from device.core.headlines import record_of
from device.core.rules import Rule
from device.errors import ModelError, TransientError
from device.messaging.fake_uplink import FakeUplink
from device.messaging.memory_outbox import MemoryOutbox
from device.pipeline.deliver import Delivery
from device.pipeline.journal import Feed, Journal
from device.pipeline.reporting import Identity, Reporting
from device.ports import PreviousRun, Vitals
from device.wire.bodies import RunStarted
from device.wire.events import Draft, decode
from device.wire.names import Topics
from device.wire.receipts import Receipt, Refusal, encode_receipt
from device.wire.state import Backend, SettingsState
from tests.device.pipeline.scene import CAT, EMPTY, Scene

BACKEND = Backend(
    runtime="none", version="0", accelerator="cpu", threads=1, delegated_nodes=0, nodes=1
)


class Reported:
    """A scene whose reporting is ticked by hand."""

    def __init__(self, mode: DeliveryMode = "broker") -> None:
        self.expiry_ns: int | None = None
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
            settings=DeliverySettings(mode=mode),
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
            certificate_expiry_ns=lambda: self.expiry_ns,
            messages_dropped=lambda: 3,
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


def test_a_model_that_fails_and_a_pin_that_refuses_are_degraded_parts() -> None:
    box = Reported()
    box.scene.pins.refuse("lamp", TransientError("the pin is taken"))
    box.scene.show(CAT)
    box.tick()
    box.scene.model_error = ModelError("failed when invoked")
    box.scene.show(CAT)
    box.tick()
    parts = {each["part"]: each["reason"] for each in box.states[-1]["degraded"]}
    assert "failed when invoked" in parts["model"]
    assert "pins" not in parts, "off is where the pin is"
    assert [each["part"] for each in box.states[-2]["degraded"]] == ["pins"]


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


def test_receipts_refusals_and_the_mode_of_delivery_are_told() -> None:
    box = Reported("receipts")
    box.scene.show(EMPTY)
    box.tick()
    run = box.states[-1]["run"]
    receipt = Receipt(run=run, ok=[(500, 500)], refused=[Refusal(seq=1, reason="too new")])
    box.uplink.give("home/devices/garden/receipts", encode_receipt(receipt))
    box.uplink.give("home/devices/garden/receipts", b"{}")
    box._deliver()
    box.tick()
    state = box.states[-1]
    assert state["delivery"] == {
        "mode": "receipts",
        "receipts": 1,
        "repeated": 0,
        "unreadable": 1,
        "unknown": 1,
    }
    assert state["losses"]["events_refused"] == 1
    assert state["losses"]["refused"] == [{"event": f"{run}:1", "reason": "too new"}]
    assert state["losses"]["messages_dropped"] == 3


def test_receipts_that_do_not_come_are_a_degraded_part_that_says_what_to_do() -> None:
    box = Reported("receipts")
    box.scene.show(EMPTY)
    for _ in range(130):
        box.scene.clock.advance(5.0)
        box.tick()
    [receipts] = [each for each in box.states[-1]["degraded"] if each["part"] == "receipts"]
    assert "lookout-cloud bridge" in receipts["reason"]


def test_a_certificate_is_told_from_ninety_days_before_its_end_and_urgent_from_thirty() -> None:
    day_ns = 24 * 3600 * 10**9
    box = Reported()
    box.scene.show(EMPTY)
    wall_ns = box.scene.clock.wall_ns()

    def told(days: float) -> tuple[int | None, bool]:
        box.expiry_ns = wall_ns + round(days * day_ns)
        box.scene.clock.advance(3601.0)
        box.scene.clock.set_wall(wall_ns)
        box.tick()
        state = box.states[-1]
        certificate = state.get("certificate")
        is_degraded = any(each["part"] == "certificate" for each in state["degraded"])
        return (None if certificate is None else certificate["days_left"], is_degraded)

    assert told(400.0) == (None, False)
    assert told(90.5) == (None, False)
    assert told(89.5) == (89, False)
    assert told(29.5) == (29, True)
    assert told(-0.5) == (-1, True)
    box.scene.clock.minute = None
    assert told(-0.5) == (None, False)


def test_other_settings_change_what_is_told_and_how_often() -> None:
    box = Reported()
    box.scene.show(EMPTY)
    box.tick()
    identity = Identity(
        version="0",
        backend=BACKEND,
        bundles=[],
        settings=SettingsState(source="here", desired_version=4),
    )
    box.reporting.change(identity, state_s=2.0, telemetry_s=5.0)
    box.tick()
    assert box.states[-1]["settings"]["desired_version"] == 4
    told = len(box.states)
    box.scene.clock.advance(2.5)
    box.tick()
    assert len(box.states) == told + 1
    box.scene.clock.advance(5.0)
    box.tick()
    assert len(box.bodies("telemetry")) == 1
