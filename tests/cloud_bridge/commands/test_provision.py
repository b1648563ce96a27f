"""`lookout-cloud provision` as a person types it, on a local Pub/Sub."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.main import main
from tests.kit.pubsub_clients import Pubsub, emulator_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with LocalPubsub(tmp_path / "pubsub") as pubsub:
        host = f"127.0.0.1:{pubsub.port}"
        with emulator_host(host):
            yield host


@pytest.fixture
def project() -> str:
    return f"p-{uuid4().hex[:20]}"


def test_check_provision_and_check_again(
    host: str, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["provision", "--project", project, "--registry", "home"]
    assert main([*words, "--check"]) == 1
    assert capsys.readouterr().out.count("missing; `lookout-cloud provision` makes it") == 8
    assert main(words) == 0
    assert capsys.readouterr().out.count("made: ") == 8
    assert main(words) == 0
    assert capsys.readouterr().out.count("as wanted: ") == 8
    assert main([*words, "--check"]) == 0
    assert "4 topics and 4 subscriptions as wanted" in capsys.readouterr().out


def test_a_message_for_one_registry_waits_for_its_bridge(
    host: str, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["provision", "--project", project, "--registry", "a", "--registry", "b"]) == 0
    with Pubsub(host) as pubsub:
        topic = f"projects/{project}/topics/lookout-downlink"
        pubsub.publish(topic, b"{}", attributes={"deviceRegistryId": "b"})
        found = {
            registry: len(
                pubsub.pull(f"projects/{project}/subscriptions/lookout-downlink-{registry}")
            )
            for registry in ("a", "b")
        }
    assert found == {"a": 0, "b": 1}


def test_differences_are_named_with_how_to_mend_them(
    host: str, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"projects/{project}/subscriptions/lookout-downlink-home"
    with Pubsub(host) as pubsub:
        topic = f"projects/{project}/topics/lookout-downlink"
        pubsub.publisher.create_topic(name=topic)
        pubsub.subscriber.create_subscription(
            request={"name": name, "topic": topic, "filter": "attributes:other"}
        )
    words = ["provision", "--project", project, "--registry", "home"]
    assert main([*words, "--check"]) == 1
    said = capsys.readouterr().out
    assert f"{name}: filter is attributes:other, wanted" in said
    assert "`gcloud pubsub subscriptions delete lookout-downlink-home`" in said
    assert f"{name}: ack_deadline_s is 10, wanted 60; `lookout-cloud provision` mends it" in said
    assert main(words) == 1  # something is left
    said = capsys.readouterr().out
    assert f"left: {name}" in said
    assert "ack_deadline_s: 10 became 60" in said
    assert main([*words, "--check", "--json"]) == 1
    [left] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (left["field"], left["mend"]) == ("filter", "by hand")


def test_bigquery_on_the_local_pubsub_is_refused_with_what_to_do(
    host: str, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["provision", "--project", project, "--bigquery", "lake"]) == 78
    assert "want Google's, or a plan without it" in capsys.readouterr().err


def test_a_dry_run_prints_every_call_and_the_sql_and_asks_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with emulator_host("127.0.0.1:1"):  # where nobody answers
        assert main(["provision", "--project", "some-project", "--bigquery", "l", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.count("CreateTopic {") == 4
    assert said.count("CreateSubscription {") == 5
    assert '"expiration_policy": {}' in said
    assert "CREATE OR REPLACE VIEW `some-project.l.events`" in said


def test_a_dry_run_in_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["provision", "--project", "some-project", "--bigquery", "l", "--dry-run", "--json"]
    assert main(words) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("call") for line in lines] == (
        ["CreateTopic"] * 4 + ["CreateSubscription"] * 5 + [None] * 2
    )


def test_removal_wants_yes_and_takes_only_what_has_the_prefix(
    host: str, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for prefix in ("lookout", "lookout-demo"):
        assert main(["provision", "--project", project, "--prefix", prefix]) == 0
    words = ["provision", "--project", project, "--prefix", "lookout-demo", "--remove"]
    assert main(words) == 78
    assert "4 topics and 4 subscriptions" in capsys.readouterr().err
    assert main([*words, "--yes"]) == 0
    assert capsys.readouterr().out.count("removed: ") == 8
    assert main([*words, "--yes", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["did"] for line in lines] == ["not there"] * 8
    assert main(["provision", "--project", project, "--check"]) == 0


def test_settings_name_the_project_and_its_pubsub(
    tmp_path: Path, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "bridge.toml"
    words = ["provision", "--config", str(settings)]
    with LocalPubsub(tmp_path / "pubsub") as pubsub, emulator_host("127.0.0.1:1"):
        settings.write_text(
            f'registries = ["home"]\n[pubsub]\nproject = "{project}"\n'
            f'address = "127.0.0.1:{pubsub.port}"\n'
        )
        assert main(words) == 0
        assert main([*words, "--check"]) == 0
        assert f"{project}: 4 topics" in capsys.readouterr().out
        settings.write_text(f"[hub]\nport = {pubsub.port}\nkeep_days = 9\n")
        assert main(words) == 0
        assert main([*words, "--check", "--keep-days", "7"]) == 1
    assert f"keep_s is {9 * 86400}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--project", "No Project"], "project 'No Project'; want"),
        (["--project", "some-project", "--bigquery", "a-b"], "dataset 'a-b'; want"),
        (["--project", "some-project", "--prefix", "!"], "prefix '!'; want"),
    ],
)
def test_bad_input_is_one_message_and_78(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["provision", *words, "--dry-run"]) == 78
    complaint = capsys.readouterr().err
    assert said in complaint
    assert len(complaint.splitlines()) == 1
