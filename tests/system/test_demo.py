"""`lookout demo`, as a newcomer runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device.wire.events import decode, encode
from tests.kit.leftovers import processes_of
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.tools import REPOSITORY, require_tool

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a demo with these words, and with more of an environment; its folder is `tmp_path`."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **more: str) -> "subprocess.Popen[str]":
        demo = subprocess.Popen(
            [sys.executable, "-m", "device.main", "demo", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "TMPDIR": str(tmp_path), **more},
        )
        started.append(demo)
        return demo

    yield start
    for demo in started:
        if demo.poll() is None:
            demo.terminate()
        demo.communicate(timeout=60)


def read_until(demo: "subprocess.Popen[str]", wanted: dict[str, str]) -> list[str]:
    """Lines, until each source of `wanted` has said what it is to say."""
    assert demo.stdout is not None
    lines: list[str] = []
    missing = dict(wanted)
    for line in demo.stdout:
        lines.append(line)
        for source in [each for each in missing if line.startswith(f"{each} ")]:
            if missing[source] in line:
                del missing[source]
        if not missing:
            return lines
    raise AssertionError(f"never said {missing}: {''.join(lines)}{demo.communicate()[1]}")


def test_the_demo_prints_each_event_as_a_subscriber_of_pubsub_received_it(
    tmp_path: Path, start: Start
) -> None:
    require_tool("mosquitto")
    demo = start("--seconds", "12", "--json", "--local")
    told, complaints = demo.communicate(timeout=120)
    assert demo.returncode == 0, complaints
    assert complaints == ""
    received = [json.loads(line) for line in told.splitlines()]
    assert received[0]["type"] == "lookout.run.started"
    assert [event["data"]["seq"] for event in received] == list(range(1, len(received) + 1))
    subjects = {event.get("subject") for event in received}
    assert {"whole/cat", "whole/cup"} <= subjects
    for event in received:
        # Out of Pub/Sub comes what the box has written.
        assert encode(decode(json.dumps(event).encode())) == compact(event)
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"
    assert processes_of(tmp_path) == {}


def compact(event: dict[str, object]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def test_without_mosquitto_the_demo_brings_a_broker(tmp_path: Path, start: Start) -> None:
    pytest.importorskip("iotcore")
    demo = start("--seconds", "4", "--json", "--local", "--broker", "pip")
    told, complaints = demo.communicate(timeout=120)
    assert demo.returncode == 0, complaints
    assert "lookout.detection.began" in told
    assert processes_of(tmp_path) == {}


def test_for_people_the_demo_shows_parts_sights_pins_and_events_and_ends_on_ctrl_c(
    tmp_path: Path, start: Start
) -> None:
    demo = start("--local")
    lines = read_until(
        demo,
        {
            "broker": "on 127.0.0.1:",
            "Pub/Sub": "on 127.0.0.1:",
            "bridge": "no port",
            "far end": "lookout-events-dashboard",
            "box": 'delivery = "receipts"',
            "saw": "cat began",
            "pin": "lamp on",
            "event": "cat began",
        },
    )
    listening = addresses_of(processes_of(tmp_path))
    told = {line.rsplit(":", 1)[1] for line in lines if line.startswith(("broker", "Pub/Sub"))}
    assert listening == {f"127.0.0.1:{port.strip()}" for port in told}
    demo.send_signal(signal.SIGINT)
    rest, complaints = demo.communicate(timeout=30)
    assert (demo.returncode, complaints) == (0, "")
    received = int(rest.split("ended: the subscriber received ")[1].split()[0])
    assert received >= 2
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == {}


def addresses_of(processes: dict[int, str]) -> set[str]:
    """ADDRESS:PORT that they listen on."""
    sockets = {
        str(link.readlink())
        for pid in processes
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink()
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                address, port = local.split(":")
                found.add(f"{readable(address)}:{int(port, 16)}")
    return found


def readable(address: str) -> str:
    """Of the kernel's tables; IPv6 sockets have IPv4 addresses too."""
    address = address.removeprefix("0000000000000000FFFF0000")
    return ".".join(str(each) for each in reversed(bytes.fromhex(address)))


def test_a_part_that_dies_is_named_with_its_last_words(tmp_path: Path, start: Start) -> None:
    demo = start("--local")
    read_until(demo, {"event": "run started"})
    [bridge] = [pid for pid, words in processes_of(tmp_path).items() if " bridge " in words]
    os.kill(bridge, signal.SIGKILL)
    _, complaints = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert "bridge ended by itself with code -9; its last words: " in complaints
    assert "broker connected" in complaints
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == {}


def test_with_a_project_the_demo_uses_it_says_what_it_makes_and_deletes_it(
    tmp_path: Path, start: Start
) -> None:
    """A local Pub/Sub poses as Google's."""
    own = tmp_path / "demo"
    own.mkdir()
    with PubsubServer(tmp_path / "google") as google, Pubsub(google.host) as pubsub:
        demo = start(
            "--json",
            TMPDIR=str(own),
            PUBSUB_EMULATOR_HOST=google.host,
            GOOGLE_CLOUD_PROJECT="my-project-123",
            GOOGLE_APPLICATION_CREDENTIALS="/nowhere/key.json",
        )  # fmt: skip
        assert demo.stdout is not None
        assert "lookout.run.started" in demo.stdout.readline()
        project = "projects/my-project-123"
        names = [each.name for each in pubsub.publisher.list_topics(project=project)]
        assert len(names) == 4
        prefix = names[0].rpartition("/")[2].rpartition("-")[0].removesuffix("-dead")
        assert all(f"/{prefix}-" in name for name in names)
        demo.send_signal(signal.SIGTERM)
        _, told = demo.communicate(timeout=60)
        assert demo.returncode == 0, told
        assert "project my-project-123 of Google Cloud" in told
        assert f"--project my-project-123 --prefix {prefix} --remove --yes" in told
        assert list(pubsub.publisher.list_topics(project=project)) == []
        subscriptions = pubsub.subscriber.list_subscriptions(request={"project": project})
        assert list(subscriptions) == []
    assert list(own.iterdir()) == []
    assert processes_of(own) == {}


def test_a_project_that_cannot_be_used_is_one_message(tmp_path: Path, start: Start) -> None:
    demo = start("--json", "--project", "my-project-123", PUBSUB_EMULATOR_HOST="127.0.0.1:1")
    told, complaints = demo.communicate(timeout=60)
    assert (demo.returncode, told) == (78, "")
    assert "provision: projects/my-project-123/topics/lookout-demo-" in complaints
    assert "not deleted: removal: " in complaints
    assert "Traceback" not in complaints
    assert list(tmp_path.iterdir()) == []


def test_told_to_end_while_it_starts_the_demo_leaves_nothing_behind(
    tmp_path: Path, start: Start
) -> None:
    demo = start("--local")
    read_until(demo, {"Pub/Sub": "on 127.0.0.1:"})
    demo.send_signal(signal.SIGTERM)
    _, complaints = demo.communicate(timeout=30)
    assert (demo.returncode, complaints) == (0, "")
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == {}


def test_without_the_cloud_side_a_subscriber_of_the_broker_is_shown(
    tmp_path: Path, start: Start
) -> None:
    demo = start("--no-cloud", "--seconds", "1")
    told, complaints = demo.communicate(timeout=60)
    assert (demo.returncode, complaints) == (0, "")
    assert "far end    a subscriber of the broker" in told
    assert 'delivery = "broker"' in told
    assert "run started" in told
    assert list(tmp_path.iterdir()) == []
