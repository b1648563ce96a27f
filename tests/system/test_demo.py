"""`lookout demo`, as a newcomer runs it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.waiting import wait_until
from tests.tools import REPOSITORY, require_tool


def start(tmp_path: Path, *words: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        [sys.executable, "-m", "device.main", "demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines that name a file below `folder`."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def test_the_demo_prints_each_event_as_the_far_end_received_it(tmp_path: Path) -> None:
    require_tool("mosquitto")
    demo = start(tmp_path, "--seconds", "12", "--json")
    told, complaints = demo.communicate(timeout=90)
    assert demo.returncode == 0, complaints
    received = [json.loads(line) for line in told.splitlines()]
    assert received[0]["type"] == "lookout.run.started"
    assert [event["data"]["seq"] for event in received] == list(range(1, len(received) + 1))
    subjects = {event.get("subject") for event in received}
    assert {"whole/cat", "whole/cup"} <= subjects
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"
    assert processes_of(tmp_path) == []


def test_without_mosquitto_the_demo_brings_a_broker(tmp_path: Path) -> None:
    pytest.importorskip("iotcore")
    demo = start(tmp_path, "--seconds", "4", "--json", "--broker", "pip")
    told, complaints = demo.communicate(timeout=90)
    assert demo.returncode == 0, complaints
    assert "lookout.detection.began" in told
    assert processes_of(tmp_path) == []


def test_for_people_the_demo_shows_sights_pins_and_events_and_ends_on_ctrl_c(
    tmp_path: Path,
) -> None:
    demo = start(tmp_path)
    assert demo.stdout is not None
    lines: list[str] = []
    wanted = {"saw": "cat began", "pin": "lamp on", "event": "cat began"}
    missing = dict(wanted)
    for line in demo.stdout:
        lines.append(line)
        source = line.split(" ", 1)[0]
        if source in missing and missing[source] in line:
            del missing[source]
        if not missing:
            break
    assert not missing, "".join(lines)
    demo.send_signal(signal.SIGINT)
    rest, complaints = demo.communicate(timeout=30)
    assert demo.returncode == 0, complaints
    assert complaints == ""
    received = int(rest.split("ended: the subscriber received ")[1].split()[0])
    assert received >= 2
    wait_until(lambda: list(tmp_path.iterdir()) == [], "it leaves nothing behind")
    assert processes_of(tmp_path) == []


def test_a_demo_that_is_told_to_end_leaves_nothing_behind_either(tmp_path: Path) -> None:
    demo = start(tmp_path, "--json")
    assert demo.stdout is not None
    assert "lookout.run.started" in demo.stdout.readline()
    demo.send_signal(signal.SIGTERM)
    _, complaints = demo.communicate(timeout=30)
    assert (demo.returncode, complaints) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []
