"""Kills and power cuts of the local Pub/Sub: what it has confirmed is delivered afterwards."""

import os
import random
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pytest
from google.api_core.exceptions import GoogleAPICallError, RetryError

from tests.kit.power_cut_folder import PowerCutFolder
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import PubsubServer
from tests.kit.waiting import pause
from tests.tools import absent, require_tool

KILLS = 6
CUTS = 6


class Publishing:
    """Publishes without pause until it is stopped; knows what was confirmed, and as what."""

    def __init__(self, pubsub: Pubsub, topic: str, first: int) -> None:
        self.confirmed: dict[bytes, str] = {}
        self.sent = first
        self._pubsub = pubsub
        self._topic = topic
        self._stop = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            bodies = [f"{self.sent + each}".encode() for each in range(20)]
            self.sent += 20
            try:
                ids = self._pubsub.publish_at_once(self._topic, [{"data": each} for each in bodies])
            except (GoogleAPICallError, RetryError):
                self._stop.wait(0.01)
                continue
            self.confirmed.update(zip(bodies, ids, strict=True))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30.0)


def seeded() -> random.Random:
    seed = int(os.environ.get("LOOKOUT_FAULT_SEED") or random.randrange(1 << 32))
    sys.stdout.write(f"LOOKOUT_FAULT_SEED={seed}\n")
    return random.Random(seed)


def everything(pubsub: Pubsub, subscription: str) -> dict[str, bytes]:
    """By id, whatever waits; acknowledged."""
    found: dict[str, bytes] = {}
    while received := pubsub.pull(subscription, count=1000):
        found |= {each.message.message_id: bytes(each.message.data) for each in received}
        pubsub.acknowledge(subscription, received)
    return found


@dataclass
class Harm:
    """What ends under load have done. twice: ids that were given to two messages."""

    ends: int = 0
    confirmed: int = 0
    lost: int = 0
    twice: int = 0


def ends(
    server: PubsubServer, disk: PowerCutFolder | None, chance: random.Random, count: int
) -> Generator[Harm, None, None]:
    """One more each time: killed while it is published to, started again, and emptied."""
    harm = Harm()
    sent = 0
    known: dict[str, bytes] = {}
    with server:
        with Pubsub(server.host) as pubsub:
            topic = pubsub.topic()
            subscription = pubsub.subscription(topic)
        for _ in range(count):
            with Pubsub(server.host) as pubsub:
                publishing = Publishing(pubsub, topic, sent)
                pause(chance.uniform(0.2, 0.8))
                server.kill()
                publishing.stop()
            sent = publishing.sent
            if disk is not None:
                disk.cut(chance.choice([None, chance.randrange(1 << 30)]))
            server.start()
            with Pubsub(server.host) as pubsub:
                found = everything(pubsub, subscription)
            confirmed = {identity: body for body, identity in publishing.confirmed.items()}
            harm.ends += 1
            harm.confirmed += len(confirmed)
            harm.lost += len(set(confirmed) - set(found))
            # The same message again is allowed: its acknowledgement was not on disk yet.
            for identity, body in [*confirmed.items(), *found.items()]:
                harm.twice += known.setdefault(identity, body) != body
            yield harm


def broken(folder: Path, how: str) -> PubsubServer:
    return PubsubServer(folder, command=("-m", "tests.faults.publishing", how))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerCutFolder]:
    require_tool("fusermount3")
    if not Path("/dev/fuse").exists():
        absent("/dev/fuse")
    with PowerCutFolder(tmp_path) as folder:
        yield folder


def test_no_kill_loses_a_confirmed_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm = Harm()
    with closing(ends(PubsubServer(tmp_path), None, seeded(), KILLS)) as kills:
        for harm in kills:
            assert (harm.lost, harm.twice) == (0, 0), harm
    assert harm.confirmed > 100 * KILLS, "too little was published to prove anything"
    with capsys.disabled():
        sys.stdout.write(f"{harm}\n")


def test_the_same_check_goes_red_when_publish_answers_before_the_commit(tmp_path: Path) -> None:
    """The teeth."""
    with closing(ends(broken(tmp_path, "early"), None, seeded(), KILLS)) as kills:
        assert any(harm.lost for harm in kills), "no loss though it answers too early: no teeth"


def test_the_same_check_goes_red_when_ids_are_given_again(tmp_path: Path) -> None:
    """The teeth."""
    with closing(ends(broken(tmp_path, "forgetful"), None, seeded(), KILLS)) as kills:
        assert any(harm.twice for harm in kills), "no id came twice though all do: no teeth"


def test_no_power_cut_loses_a_confirmed_message_or_gives_its_id_again(
    disk: PowerCutFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    harm = Harm()
    with closing(ends(PubsubServer(disk.path), disk, seeded(), CUTS)) as cuts:
        for harm in cuts:
            assert (harm.lost, harm.twice) == (0, 0), harm
    assert harm.confirmed >= 10 * CUTS, "too little was published to prove anything"
    with capsys.disabled():
        sys.stdout.write(f"{harm}\n")


def test_the_same_check_goes_red_when_commits_are_not_synced(disk: PowerCutFolder) -> None:
    """The teeth."""
    is_harmed = False
    try:
        with closing(ends(broken(disk.path, "unsynced"), disk, seeded(), CUTS)) as cuts:
            is_harmed = any(harm.lost for harm in cuts)
    except (AssertionError, GoogleAPICallError):
        # What was left was no database any more, or had lost the subscription.
        is_harmed = True
    assert is_harmed, "no loss though nothing is synced: no teeth"
