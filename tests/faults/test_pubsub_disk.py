"""The local Pub/Sub on a disk that is really full: nothing is said that is not so, and it heals."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api_core.exceptions import ServiceUnavailable

from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.waiting import wait_until
from tests.tools import absent, require_tool


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """60 MB; only root can make one."""
    mount = require_tool("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        absent("the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run([require_tool("umount"), "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_publishers_serves_subscribers_and_heals(small_disk: Path) -> None:
    some = [{"data": os.urandom(1000)} for _ in range(50)]
    confirmed: set[str] = set()
    with PubsubServer(small_disk / "data") as server, Pubsub(server.host) as pubsub:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)

        def publish_for_ever() -> None:
            while True:
                confirmed.update(pubsub.publish_at_once(topic, some))

        with pytest.raises(ServiceUnavailable, match="nothing was stored"):
            publish_for_ever()
        assert len(confirmed) > 10_000
        # Somebody else takes the room that the ballast has given back.
        filler = small_disk / "filler"
        fill(filler)
        with pytest.raises(ServiceUnavailable, match="nothing was stored"):
            pubsub.publish_at_once(topic, some)

        delivered: set[str] = set()

        def all_came() -> bool:
            received = pubsub.pull(subscription, count=1000)
            if received:
                delivered.update(each.message.message_id for each in received)
                pubsub.acknowledge(subscription, received)
            return delivered >= confirmed

        wait_until(all_came, "every confirmed message", timeout_s=60.0)
        assert delivered == confirmed
        filler.unlink()
        [identity] = pubsub.publish_at_once(topic, some[:1])
        # Acknowledgements reached the disk, so a restart brings nothing back.
        server.stop()
        server.start()
        with Pubsub(server.host) as again:
            received = again.pull_some(subscription)
        assert [each.message.message_id for each in received] == [identity]


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
