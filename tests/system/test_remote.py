"""A real box, a real broker, and a small bridge: receipts, settings and commands from afar."""

import json
import random
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from device.wire.downward import Command, CommandVerb, DesiredSettings
from device.wire.names import Topics
from device.wire.receipts import Receipt, encode_receipt
from tests.kit.box import Box
from tests.kit.broker import Broker
from tests.kit.kit_bridge import KitBridge
from tests.kit.outbox_reader import read_outbox
from tests.kit.waiting import wait_until as wait_for
from tests.tools import require_tool

TOPICS = Topics("test", "box")
SEED = 20_261_124


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(require_tool("mosquitto"), tmp_path / "broker") as started:
        yield started


def box_of(tmp_path: Path, broker: Broker, mqtt: str = "", more: str = "") -> Box:
    """A box that wants receipts; mqtt: further keys of that section."""
    box = Box(tmp_path / "box", broker.port, more, picture_s=0.2)
    text = box.config.read_text()
    line = f"port = {broker.port}\n"
    box.config.write_text(text.replace(line, f'{line}delivery = "receipts"\n{mqtt}\n'))
    return box


def wait_until(
    fact: Callable[[], object], what: str, timeout_s: float = 60.0, every_s: float = 0.2
) -> None:
    """With patience: each question to the box is a process, and the machine may be busy."""
    wait_for(fact, what, timeout_s, every_s)


def status(box: Box) -> dict[str, Any]:
    return box.ask("status") or {}


def soon(minutes: float = 5.0) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def command(verb: CommandVerb, command_id: str, minutes: float = 5.0) -> Command:
    return Command(id=command_id, command=verb, expires=soon(minutes))


def done(bridge: KitBridge, command_id: str) -> list[dict[str, Any]]:
    return [
        each
        for each in bridge.bodies("lookout.command.done")
        if each.get("command_id") == command_id
    ]


def test_every_event_is_stored_whatever_becomes_of_receipts_and_connections(
    tmp_path: Path, broker: Broker
) -> None:
    chance = random.Random(SEED)
    with (
        KitBridge(
            broker.port,
            TOPICS,
            gives=lambda _: chance.random() < 0.5,
            refuses=lambda event: event["data"]["seq"] % 10 == 7,
        ) as bridge,
        box_of(tmp_path, broker) as box,
    ):
        for outage in range(3):
            count = len(bridge.stored)
            wait_until(lambda: len(bridge.stored) >= count + 10, "events come")  # noqa: B023
            run = status(box)["run"]
            # Beyond all that was sent: over an event on its way it would be a receipt.
            bridge.forge(encode_receipt(Receipt(run=run, ok=[(10**6, 10**18)])))
            bridge.forge(encode_receipt(Receipt(run="99-0badcafe", ok=[(1, 50)])))
            bridge.forge(b"no receipt" * outage)
            # Before the broker goes, and takes what it has not passed on with it.
            wait_until(lambda: status(box)["delivery"]["unreadable"] >= outage, "it came")  # noqa: B023
            broker.kill() if outage % 2 else broker.stop()
            wait_until(lambda: not status(box)["uplink"]["is_connected"], "the loss is noticed")
            before = status(box)["last_seq"]
            wait_until(lambda: status(box)["last_seq"] >= before + 5, "events wait")  # noqa: B023
            broker.start()
        bridge.gives = lambda _: True
        assert box.command("pause").returncode == 0

        def all_arrived() -> bool:
            found = status(box)
            return bool(found["waiting"] == 0 and found["last_seq"] <= len(bridge.stored))

        wait_until(all_arrived, "everything is stored and the outbox empty", timeout_s=300.0)
        final = status(box)
        assert box.stop() == 0
        stored = bridge.stored
    seqs = sorted(event["data"]["seq"] for event in stored.values())
    assert seqs == list(range(1, len(seqs) + 1))
    assert final["delivery"]["unknown"] >= 3
    assert final["delivery"]["unreadable"] >= 2
    assert final["losses"]["events_refused"] >= 3
    assert final["losses"]["refused"][-1]["reason"] == "the kit refuses it"


def test_without_a_bridge_nothing_leaves_the_box_and_a_late_bridge_gets_it_all(
    tmp_path: Path, broker: Broker
) -> None:
    with box_of(tmp_path, broker) as box:
        wait_until(lambda: status(box).get("last_seq", 0) >= 10, "events")
        now = status(box)
        assert now["waiting"] == now["last_seq"]
        assert box.stop() == 0
        waiting = read_outbox(box.state_dir / "outbox.db").events
        assert len(waiting) >= 10
        with KitBridge(broker.port, TOPICS) as bridge:
            box.start()
            ids = {f"box:{run}:{seq}" for run, seq in waiting}
            wait_until(lambda: ids <= set(bridge.stored), "all of it")
            earlier = bridge.bodies("lookout.run.started")[0]
            assert earlier["reason"] == "first"
            assert bridge.bodies("lookout.run.started")[-1]["reason"] == "stopped"


def test_settings_from_afar_are_taken_refused_kept_and_taken_back(
    tmp_path: Path, broker: Broker
) -> None:
    def settings(box: Box) -> dict[str, Any]:
        found: dict[str, Any] = status(box).get("settings", {})
        return found

    def shown(box: Box, key: str) -> dict[str, Any]:
        lines = box.command("config", "show", "--json").stdout.splitlines()
        return next(each for each in map(json.loads, lines) if each["key"] == key)

    with KitBridge(broker.port, TOPICS) as bridge, box_of(tmp_path, broker) as box:
        high = {"cat": {"low": 0.98, "high": 0.99}}
        bridge.desire(
            DesiredSettings(
                version=4,
                settings={
                    "report": {"telemetry_s": 1.0},
                    "regions": {"whole": {"thresholds": high}},
                },
            )
        )
        wait_until(lambda: settings(box).get("desired_version") == 4, "taken")
        assert settings(box)["is_on_trial"]
        wait_until(lambda: len(bridge.bodies("lookout.telemetry")) >= 2, "telemetry comes")
        told = shown(box, "report.telemetry_s")
        assert (told["value"], told["origin"]) == (1.0, "desired")
        assert shown(box, "mqtt.delivery")["origin"] == str(box.config)
        bridge.desire(DesiredSettings(version=5, settings={"mqtt": {"host": "evil"}}))
        wait_until(lambda: settings(box).get("refused_version") == 5, "refused")
        assert settings(box)["refused"][0].startswith("desired: mqtt: not to be desired")
        assert settings(box)["desired_version"] == 4
        bridge.desire(DesiredSettings(version=3, settings={}))
        wait_until(lambda: settings(box).get("refused_version") == 3, "an old one is refused")
        # A stop lets the trial go on; a death of the process takes the settings back.
        assert box.stop() == 0
        box.start()
        assert settings(box)["desired_version"] == 4
        box.kill()
        box.start()
        assert settings(box).get("desired_version") is None
        wait_until(lambda: shown(box, "report.telemetry_s")["origin"] == "default", "taken back")


def test_commands_are_done_once_and_told(tmp_path: Path, broker: Broker) -> None:
    with KitBridge(broker.port, TOPICS) as bridge, box_of(tmp_path, broker) as box:
        box.stop()
        with_lamp = '[device]\nidentify_output = "lamp"\n'
        box.config.write_text(box.config.read_text().replace("[device]\n", with_lamp))
        box.start()
        wait_until(lambda: status(box).get("camera") == "on", "the camera is on")

        def result(verb: CommandVerb, command_id: str, minutes: float = 5.0) -> dict[str, Any]:
            count = len(done(bridge, command_id))
            bridge.send(command(verb, command_id, minutes))
            wait_until(lambda: len(done(bridge, command_id)) > count, f"{command_id} is told")
            return done(bridge, command_id)[-1]

        looked = result("classify", "a")
        assert (looked["result"], looked["sights"][0]["region"]) == ("done", "whole")
        assert result("classify", "a")["result"] == "repeated"
        assert result("pause", "b", minutes=-1.0)["result"] == "expired"
        assert result("pause", "c")["result"] == "done"
        wait_until(lambda: status(box)["camera"] == "paused", "it is paused")
        levels: set[str | None] = set()
        assert result("identify", "d")["result"] == "done"

        def has_blinked() -> bool:
            levels.add(box.pin("lamp"))
            return levels >= {"0", "1"}

        wait_until(has_blinked, "the lamp blinks", every_s=0.05)
        assert result("resume", "e")["result"] == "done"
        box.config.write_text(box.config.read_text() + "[report]\ntelemetry_s = 1.0\n")
        assert result("reload", "f")["result"] == "done"
        wait_until(lambda: bool(bridge.bodies("lookout.telemetry")), "the new interval holds")
        good = box.config.read_text()
        box.config.write_text(good + "[album]\npictures = false\n")
        refused = result("reload", "g")
        assert (refused["result"], refused["detail"]) == (
            "refused",
            "a restart is needed for [album]; nothing was changed",
        )
        box.config.write_text(good + "[album]\npictrues = false\n")
        assert result("reload", "h")["result"] == "failed"
        box.config.write_text(good)
        box.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings read again" in box.log, "the hangup is heard")
        bridge.send(command("restart", "i"))
        assert box.process.wait(timeout=20.0) == 0
        box.start()
        wait_until(lambda: bool(done(bridge, "i")), "the restart is told")
        started = bridge.bodies("lookout.run.started")[-1]
        assert started["reason"] == "asked"
        assert result("restart", "i")["result"] == "repeated"
        assert box.process.poll() is None


def test_a_command_of_a_short_outage_waits_in_the_brokers_session(
    tmp_path: Path, broker: Broker
) -> None:
    with KitBridge(broker.port, TOPICS) as bridge, box_of(tmp_path, broker) as box:
        wait_until(lambda: status(box)["uplink"]["is_connected"], "connected")
        assert box.stop() == 0
        bridge.send(command("pause", "late"))
        bridge.send(command("pause", "too-late", minutes=0.001))
        box.start()
        wait_until(lambda: bool(done(bridge, "late")), "it is done")
        assert done(bridge, "late")[0]["result"] == "done"
        wait_until(lambda: bool(done(bridge, "too-late")), "and the other one told")
        assert done(bridge, "too-late")[0]["result"] == "expired"
