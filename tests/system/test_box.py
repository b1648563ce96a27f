"""A real box with a real broker, used as a person uses it: commands, pins, events."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.box import DEMO_PICTURES, Box, lookout
from tests.kit.broker import Broker, free_port
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import pause, wait_until
from tests.tools import REPOSITORY, require_tool

EVENTS = "test/devices/box/events/#"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(require_tool("mosquitto"), tmp_path / "broker") as started:
        yield started


@pytest.fixture
def box(tmp_path: Path, broker: Broker) -> Iterator[Box]:
    with Box(tmp_path / "box", broker.port) as started:
        yield started


def events(subscriber: Subscriber) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in subscriber.messages]


def test_pictures_become_events_and_an_output(tmp_path: Path, broker: Broker) -> None:
    with Subscriber(broker.port, [EVENTS]) as far_end, Box(tmp_path / "box", broker.port) as box:
        levels = set()

        def has_all() -> bool:
            levels.add(box.pin("lamp"))
            subjects = {event.get("subject") for event in events(far_end)}
            return {"whole/cat", "whole/cup", "whole/rocket"} <= subjects and levels >= {"0", "1"}

        wait_until(has_all, "all pictures were seen and the lamp switched", timeout_s=30.0)
        assert box.stop() == 0
        assert box.pin("lamp") == "0"
        wait_until(lambda: len(far_end.messages) > 0, "events")
        received = events(far_end)
    assert received[0]["type"] == "lookout.run.started"
    seqs = [event["data"]["seq"] for event in received]
    assert seqs == list(range(1, len(seqs) + 1))
    cat = next(e for e in received if e.get("subject") == "whole/cat")
    assert cat["type"] == "lookout.detection.began"
    assert cat["data"]["why"]["rules"] == ["lamp_while_cat"]
    assert cat["source"] == "/test/devices/box"


def test_state_and_availability_are_retained_and_tell_the_truth(box: Box, broker: Broker) -> None:
    topics = ["test/devices/box/state", "test/devices/box/availability"]

    def told(client: str) -> dict[str, dict[str, Any]]:
        with Subscriber(broker.port, topics, client) as far_end:
            wait_until(lambda: len({m.topic for m in far_end.messages}) == 2, "both are there")
            return {
                message.topic.rsplit("/", 1)[1]: json.loads(message.payload)
                for message in far_end.messages
            }

    first = told("one")
    assert first["availability"]["status"] == "online"
    assert first["state"]["backend"]["nodes"] > 50
    assert first["state"]["bundles"][0]["name"] == "imagenet"
    box.kill()
    wait_until(lambda: told("two")["availability"]["status"] == "offline", "the will said so", 20.0)


def test_commands_show_how_the_box_is(box: Box, tmp_path: Path) -> None:
    wait_until(lambda: (box.ask("status") or {}).get("camera") == "on", "the camera is on")
    status = box.command("status")
    assert "model    imagenet@1.0.0 on" in status.stdout
    assert "region   whole" in status.stdout
    looked = box.ask("look")
    assert looked is not None
    assert looked["result"] == "looked"
    picture = tmp_path / "snap.jpg"
    snapped = box.ask("snap", "--regions", "--output", str(picture))
    assert snapped is not None
    with Image.open(picture) as opened:
        assert opened.size == (snapped["width_px"], snapped["height_px"])
    refused = box.command("snap", "--output", tmp_path / "no" / "such" / "folder.jpg")
    assert refused.returncode == 73
    assert "cannot be written" in refused.stderr


def test_watch_shows_what_happens_and_why_explains_it(box: Box) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-m", "device.main", "watch", "--json", "--config", str(box.config)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert watcher.stdout is not None
    record = next(
        found
        for found in map(json.loads, watcher.stdout)
        if found["kind"] == "detection" and found["label"] == "cat"
    )
    watcher.terminate()
    watcher.communicate(timeout=10)

    def explained() -> bool:
        return box.command("why", record["id"]).returncode == 0

    wait_until(explained, "the record is on disk")
    why = box.command("why", record["id"]).stdout
    for word in ("thresholds: on from", "scores:", "rules: lamp_while_cat", "imagenet@1.0.0"):
        assert word in why
    told = box.ask("why", record["id"])
    assert told is not None
    assert (box.state_dir / "album" / told["picture"]).exists() or Path(told["picture"]).exists()
    unknown = box.command("why", "box:1-00000000:999999")
    assert unknown.returncode == 67
    assert "no record of" in unknown.stderr


def test_near_misses_are_on_record(tmp_path: Path, broker: Broker) -> None:
    more = "[regions.all]\nwatch = ['cat']\nthresholds = { cat = { low = 0.5, high = 0.999 } }"
    with Box(tmp_path / "box", broker.port, more) as box:
        wait_until(lambda: "near miss: cat" in box.command("why", "--near").stdout, "a near miss")


def test_a_pause_closes_the_camera_and_a_button_does_the_same(box: Box) -> None:
    def camera() -> str:
        return str((box.ask("status") or {}).get("camera"))

    wait_until(lambda: camera() == "on", "the camera is on")
    assert box.command("pause").stdout.strip() == "paused"
    wait_until(lambda: camera() == "paused", "the camera is closed")
    assert box.pin("lamp") == "0"
    assert box.command("resume").stdout.strip() == "resumed"
    wait_until(lambda: camera() == "on", "the camera is on again")
    box.press("look", "1")
    wait_until(lambda: camera() == "paused", "the held button paused it")
    box.press("look", "0")


def test_without_a_broker_events_wait_and_arrive_later_in_order(
    tmp_path: Path, broker: Broker
) -> None:
    with Subscriber(broker.port, [EVENTS]):
        pass  # its session is there from now on, and misses nothing
    broker.stop()
    with Box(tmp_path / "box", broker.port, picture_s=0.2) as box:
        wait_until(lambda: ((box.ask("status") or {}).get("waiting") or 0) >= 12, "events wait")
        assert "away" in box.command("status").stdout
        broker.start()
        with Subscriber(broker.port, [EVENTS]) as far_end:
            # Nothing new from here on, so that "all" has a meaning.
            assert box.command("pause").returncode == 0
            wait_until(
                lambda: (box.ask("status") or {}).get("waiting") == 0, "all is sent", timeout_s=60.0
            )
            last_seq = (box.ask("status") or {})["last_seq"]
            wait_until(lambda: len(far_end.messages) >= last_seq, "all arrived", timeout_s=20.0)
            received = [event["data"]["seq"] for event in events(far_end)]
    # Part of the window is kept for new events, so some of them may pass the backlog.
    assert received[0] == 1
    assert sorted(set(received)) == list(range(1, last_seq + 1))
    backlog = [seq for seq in received if seq <= 12]
    assert backlog == sorted(backlog)


def test_a_second_instance_on_the_same_folder_is_refused(box: Box) -> None:
    second = lookout("run", "--config", box.config)
    assert second.returncode == 75
    assert f"in use by process {box.process.pid}" in second.stderr
    assert box.ask("status") is not None


def test_bad_settings_at_start_fall_back_to_the_last_good_ones(box: Box, broker: Broker) -> None:
    assert box.stop() == 0
    good = box.config.read_text()
    box.config.write_text(good.replace('source = "pictures"', 'source = "picturs"'))
    box.start()
    status = box.ask("status")
    assert status is not None
    assert 'did you mean "pictures"' in status["settings"]["refused"][0]
    assert status["settings"]["source"].endswith("last_good_settings.toml")
    # The file's mistakes do not hide the box that runs in spite of them.
    assert "refused  " in box.command("status").stdout
    assert box.stop() == 0
    (box.state_dir / "last_good_settings.toml").unlink()
    refused = lookout("run", "--config", box.config)
    assert refused.returncode == 78
    assert 'did you mean "pictures"' in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_camera_that_is_not_there_degrades_the_box_and_nothing_else(
    tmp_path: Path, broker: Broker
) -> None:
    with Box(tmp_path / "box", broker.port) as box:
        box.stop()
        pictures = tmp_path / "pictures"
        text = box.config.read_text()
        start = text.index('path = "') + len('path = "')
        end = text.index('"', start)
        box.config.write_text(text[:start] + str(pictures) + text[end:])
        box.start()

        def status() -> dict[str, Any]:
            return box.ask("status") or {}

        wait_until(lambda: status().get("camera") == "failed", "the camera failed")
        assert [each["part"] for each in status()["degraded"]] == ["camera"]
        looked = box.command("look")
        assert (looked.returncode, "no picture now" in looked.stderr) == (75, True)
        pictures.mkdir()
        source = REPOSITORY / "device" / "demo_pictures" / "cat.jpg"
        (pictures / "cat.jpg").write_bytes(source.read_bytes())
        wait_until(lambda: status().get("camera") == "on", "it came back", timeout_s=40.0)
        wait_until(lambda: box.pin("lamp") == "1", "and was seen")
        assert status()["degraded"] == []


def test_a_clip_that_ends_leaves_the_box_running(tmp_path: Path, broker: Broker) -> None:
    more = ""
    with Box(tmp_path / "box", broker.port, more, picture_s=0.2) as box:
        box.stop()
        box.config.write_text(
            box.config.read_text().replace("picture_s", 'at_end = "stop"\npicture_s')
        )
        box.start()
        wait_until(lambda: (box.ask("status") or {}).get("camera") == "ended", "the clip ended")
        pause(0.3)
        assert box.process.poll() is None
        assert box.pin("lamp") == "0"


def test_a_thread_that_hangs_at_the_end_leaves_outputs_safe_and_events_on_disk(
    tmp_path: Path,
) -> None:
    """The broker's password is a pipe that nobody writes to: the uplink waits for ever."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(DEMO_PICTURES / "cat.jpg", pictures)
    os.mkfifo(tmp_path / "password")
    more = "[report]\ntelemetry_s = 1.0"
    with Box(tmp_path / "box", free_port(), more) as box:
        box.stop()
        text = box.config.read_text().replace(str(DEMO_PICTURES), str(pictures))
        password = f'[mqtt]\nusername = "box"\npassword_file = "{tmp_path / "password"}"'
        box.config.write_text(text.replace("[mqtt]", password))
        box.start()
        wait_until(lambda: box.pin("lamp") == "1", "the cat is there, and stays", 20.0)
        assert box.stop() == 1
        assert "threads did not end names=uplink" in box.log
        assert box.pin("lamp") == "0"
        with closing(sqlite3.connect(box.state_dir / "outbox.db")) as outbox:
            ends = outbox.execute("SELECT ended FROM runs ORDER BY number").fetchall()
        assert ends[-1] == (1,)


def test_a_settings_file_of_any_name_runs_the_box(tmp_path: Path, broker: Broker) -> None:
    with Box(tmp_path / "box", broker.port) as box:
        box.stop()
        odd = Path(os.fsdecode(os.fsencode(box.folder) + b"/caf\xe9.toml"))
        box.config.rename(odd)
        box.config = odd
        box.start()
        topic = "test/devices/box/state"
        with Subscriber(broker.port, [topic]) as far_end:
            wait_until(
                lambda: any(b"caf\\\\xe9.toml" in each.payload for each in far_end.messages),
                "the state names it",
                20.0,
            )
        assert (box.ask("status") or {})["settings"]["source"].endswith("caf\\xe9.toml")
        assert box.stop() == 0
