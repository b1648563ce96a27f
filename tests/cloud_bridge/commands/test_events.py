"""`lookout-cloud events` as a person types it, on a local Pub/Sub."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloudevents.core.v1.event import CloudEvent

from cloud_bridge.commands.events import event_of
from cloud_bridge.errors import ExitCode
from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.main import main
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import first_line
from tests.kit.waiting import wait_until
from tests.tools import REPOSITORY

PROJECT = "projects/some-project"
TOPIC = f"{PROJECT}/topics/lookout-events"
SUBSCRIPTION = f"{PROJECT}/subscriptions/mine"
ATTRIBUTES = {
    "deviceId": "garden",
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-source": "/home/devices/garden",
    "ce-id": "garden:1-9f2c1a7b:1",
    "ce-type": "lookout.detection.began",
    "ce-subject": "whole/cat",
    "ce-time": "2026-11-24T12:00:02.000000Z",
}


@pytest.fixture
def pubsub(tmp_path: Path) -> Iterator[Pubsub]:
    with LocalPubsub(tmp_path / "pubsub") as server, Pubsub(f"127.0.0.1:{server.port}") as pubsub:
        pubsub.publisher.create_topic(name=TOPIC)
        yield pubsub


def start(pubsub: Pubsub, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cloud_bridge.main", "events", "--project", "some-project", *words],
        cwd=REPOSITORY,
        env={**os.environ, "PUBSUB_EMULATOR_HOST": pubsub.publisher.target},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def subscriptions(pubsub: Pubsub) -> list[str]:
    found = pubsub.subscriber.list_subscriptions(request={"project": PROJECT})
    return [each.name for each in found]


def test_a_message_in_binary_mode_becomes_the_event_that_a_box_wrote() -> None:
    event = event_of(ATTRIBUTES, b'{"run":"1-9f2c1a7b","seq":1}')
    assert list(event) == [
        "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data",
    ]  # fmt: skip
    assert event["data"] == {"run": "1-9f2c1a7b", "seq": 1}
    members = {key: value for key, value in event.items() if key not in ("data", "time")}
    CloudEvent(members, event["data"])  # raises where it is none


def test_what_is_no_event_is_shown_as_it_came() -> None:
    assert event_of({"a": "b"}, b"{") == {"attributes": {"a": "b"}, "data_base64": "ew=="}
    assert event_of({}, b"\xff")["data_base64"] == "/w=="
    assert event_of({"ce-id": "1", "ce-extra": "x"}, b"1") == {"id": "1", "extra": "x", "data": 1}


def test_of_a_subscription_that_is_there_it_takes_what_it_prints(pubsub: Pubsub) -> None:
    pubsub.subscriber.create_subscription(request={"name": SUBSCRIPTION, "topic": TOPIC})
    pubsub.publish(TOPIC, b'{"seq":1}', b'{"seq":2}', b'{"seq":3}', attributes=ATTRIBUTES)
    with start(pubsub, "--subscription", "mine", "--count", "2", "--json") as events:
        said, complaint = events.communicate(timeout=30.0)
    assert (events.returncode, complaint) == (ExitCode.OK, "")
    printed = [json.loads(line)["data"]["seq"] for line in said.splitlines()]
    assert len(printed) == 2
    assert subscriptions(pubsub) == [SUBSCRIPTION]
    with start(pubsub, "--subscription", "mine", "--seconds", "3", "--json") as events:
        said, complaint = events.communicate(timeout=30.0)
    # The third was handed out with the others, and rests until its lease ends.
    assert (events.returncode, complaint) == (ExitCode.OK, "")
    assert {json.loads(line)["data"]["seq"] for line in said.splitlines()} <= {1, 2, 3} - set(
        printed
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_soon_and_deletes_its_subscription(pubsub: Pubsub, how: signal.Signals) -> None:
    with start(pubsub) as events:
        assert first_line(events.stdout) == f"listening to {TOPIC}"
        [name] = subscriptions(pubsub)
        assert "/lookout-look-" in name
        pubsub.publish(TOPIC, b"{}", attributes=ATTRIBUTES)
        line = first_line(events.stdout)
        assert line == (
            "2026-11-24T12:00:02.000000Z  garden:1-9f2c1a7b:1  lookout.detection.began  whole/cat"
        )
        events.send_signal(how)
        _, complaint = events.communicate(timeout=10.0)
    assert (events.returncode, complaint) == (ExitCode.OK, "")
    assert subscriptions(pubsub) == []


def test_a_pubsub_that_is_away_is_waited_for(tmp_path: Path) -> None:
    with LocalPubsub(tmp_path / "pubsub") as server:
        port = server.port
        with Pubsub(f"127.0.0.1:{port}") as pubsub:
            pubsub.publisher.create_topic(name=TOPIC)
            pubsub.subscriber.create_subscription(request={"name": SUBSCRIPTION, "topic": TOPIC})
    with (
        Pubsub(f"127.0.0.1:{port}") as pubsub,
        start(pubsub, "--subscription", "mine", "--count", "1") as events,
    ):
        assert "trying again" in first_line(events.stderr)
        with LocalPubsub(tmp_path / "pubsub", port=port):
            wait_until(lambda: is_taken(pubsub), "the local Pub/Sub is there", 20.0)
            events.communicate(timeout=30.0)
    assert events.returncode == ExitCode.OK


def is_taken(pubsub: Pubsub) -> bool:
    try:
        pubsub.publish(TOPIC, b"{}", attributes=ATTRIBUTES)
    except Exception:  # noqa: BLE001 - the library's many ways to say that it is not there
        return False
    return True


def test_what_is_not_there_is_one_message(pubsub: Pubsub) -> None:
    for words, code, said in (
        (("--subscription", "absent"), ExitCode.REFUSED, "absent"),
        (("--topic", "absent"), ExitCode.BAD_CONFIG, f"want the topic {PROJECT}/topics/absent"),
    ):
        with start(pubsub, *words) as events:
            _, complaint = events.communicate(timeout=30.0)
        assert events.returncode == code, complaint
        assert said in complaint
        assert "Traceback" not in complaint


@pytest.mark.parametrize("words", [("--count", "0"), ("--seconds", "nan"), ("--seconds", "-1")])
def test_a_bad_option_is_a_usage_error(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["events", *words])
    assert caught.value.code == ExitCode.USAGE
    assert words[0] in capsys.readouterr().err


def test_a_project_that_is_none_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--project", "No Project"]) == ExitCode.BAD_CONFIG
    assert "want a project id" in capsys.readouterr().err
