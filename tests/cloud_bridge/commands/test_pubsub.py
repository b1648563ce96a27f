"""`lookout-cloud pubsub` as a person starts it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.pubsub_v1 import types

from cloud_bridge.errors import ExitCode
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer, first_line
from tests.tools import REPOSITORY


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PubsubServer]:
    with PubsubServer(tmp_path / "data") as server:
        yield server


def start(*words: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cloud_bridge.main", "pubsub", *words],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_ends_within_three_seconds_while_streams_are_open(server: PubsubServer) -> None:
    is_open = Event()
    with Pubsub(server.host) as pubsub:
        subscription = pubsub.subscription(pubsub.topic())

        def requests() -> Iterator[types.StreamingPullRequest]:
            yield types.StreamingPullRequest(
                subscription=subscription, stream_ack_deadline_seconds=10
            )
            is_open.wait(20.0)

        responses = iter(pubsub.subscriber.streaming_pull(requests=requests()))
        next(responses)
        began_s = monotonic()
        assert server.stop() == ExitCode.OK
        assert monotonic() - began_s < 3.0
        # The one status after which client libraries come again.
        with pytest.raises(ServiceUnavailable):
            next(responses)
        is_open.set()


def test_port_zero_takes_a_free_port_and_says_which(tmp_path: Path) -> None:
    with start("--data-dir", tmp_path, "--port", "0") as process:
        host = first_line(process.stdout).removeprefix("listening on ")
        try:
            with Pubsub(host) as pubsub:
                assert pubsub.topic()
        finally:
            process.terminate()
            process.communicate(timeout=10.0)
    assert process.returncode == ExitCode.OK


def test_it_brings_the_topics_of_a_project_along(tmp_path: Path) -> None:
    words = ("--data-dir", tmp_path, "--port", "0", "--provision", "some-project")
    for _ in range(2):
        with start(*words) as process:
            host = first_line(process.stdout).removeprefix("listening on ")
            try:
                with Pubsub(host) as pubsub:
                    topics = list(pubsub.publisher.list_topics(project="projects/some-project"))
                    assert len(topics) == 4
            finally:
                process.terminate()
                _, words_of_log = process.communicate(timeout=10.0)
    assert "made: " not in words_of_log, "the second time all is there"


def test_a_second_one_on_the_same_folder_is_refused_with_words(server: PubsubServer) -> None:
    folder = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")
    data_dir = folder[folder.index(b"--data-dir") + 1].decode()
    with start("--data-dir", data_dir, "--port", "0") as second:
        _, words = second.communicate(timeout=20.0)
    assert second.returncode == ExitCode.TRY_AGAIN
    assert f"in use by process {server.pid}" in words


@pytest.mark.parametrize(
    "words", [("--port", "99999"), ("--port", "x"), ("--max-bytes", "5"), ("--max-bytes", "lots")]
)
def test_a_bad_option_is_a_usage_error(tmp_path: Path, words: tuple[str, str]) -> None:
    with start("--data-dir", tmp_path / "data", *words) as process:
        _, complaint = process.communicate(timeout=20.0)
    assert process.returncode == ExitCode.USAGE
    assert words[0] in complaint
    assert not (tmp_path / "data").exists()


def test_a_port_for_the_whole_network_is_warned_of(tmp_path: Path) -> None:
    with start("--data-dir", tmp_path, "--port", "0", "--host", "0.0.0.0") as process:  # noqa: S104
        first_line(process.stdout)
        os.kill(process.pid, 15)
        _, words = process.communicate(timeout=10.0)
    assert "whoever reaches the port" in words
