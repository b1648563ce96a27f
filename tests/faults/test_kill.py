"""kill -9 at random moments, with the broker at times away: every committed event arrives, and no
id is used twice.

The random moments come from a seed that is printed; `LOOKOUT_FAULT_SEED` repeats a run.
"""

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.broker import Broker
from tests.kit.outbox_reader import FileContent, read_outbox
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import pause, wait_until
from tests.tools import REPOSITORY, require_tool

KILLS = 30


@contextmanager
def running(state: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.delivering", str(state), str(port)], cwd=REPOSITORY
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10.0)


def seed() -> int:
    return int(os.environ.get("LOOKOUT_FAULT_SEED") or random.randrange(1 << 32))


class Ledger:
    """Every committed id that was seen in the file, and every payload seen under it."""

    def __init__(self) -> None:
        self.last_seqs: dict[str, int] = {}
        self.payloads: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)

    def note(self, content: FileContent) -> None:
        for run, last_seq in content.runs.items():
            assert last_seq >= self.last_seqs.get(run, 0), f"run {run} has gone back"
            self.last_seqs[run] = last_seq
        for key, payload in content.events.items():
            self.payloads[key].add(payload)

    @property
    def committed(self) -> set[tuple[str, int]]:
        """Seqs are dense from 1, so a run's last one names them all."""
        dense = {(run, seq) for run, last in self.last_seqs.items() for seq in range(1, last + 1)}
        return dense | set(self.payloads)


def received(subscriber: Subscriber) -> dict[tuple[str, int], set[bytes]]:
    found: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)
    for message in subscriber.messages:
        event = json.loads(message.payload)
        assert event["id"] == f"garden:{event['data']['run']}:{event['data']['seq']}"
        found[event["data"]["run"], event["data"]["seq"]].add(message.payload)
    return found


def test_after_thirty_kills_every_committed_event_has_arrived_and_no_id_is_used_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = seed()
    with capsys.disabled():
        sys.stdout.write(f"\nLOOKOUT_FAULT_SEED={number}\n")
    chance = random.Random(number)
    state = tmp_path / "state"
    state.mkdir()
    path = state / "outbox.db"
    ledger = Ledger()
    with (
        Broker(require_tool("mosquitto"), tmp_path / "broker") as broker,
        Subscriber(broker.port, ["home/devices/garden/events/#"]) as subscriber,
    ):
        for kill in range(KILLS):
            runs_before = len(ledger.last_seqs)
            with running(state, broker.port):
                if kill == 0:
                    wait_until(path.exists, "the outbox is made")
                wait_until(lambda n=runs_before: _runs(path) > n, "a new run has begun", 20.0)
                pause(chance.uniform(0.0, 0.5))
                if chance.random() < 0.3:
                    broker.stop()
                    pause(chance.uniform(0.0, 0.3))
                    if chance.random() < 0.6:
                        broker.start()
                        pause(chance.uniform(0.0, 0.7))
                ledger.note(read_outbox(path))
            ledger.note(read_outbox(path))
            if chance.random() < 0.5:
                broker.start()
        broker.start()
        with running(state, broker.port) as process:
            wait_until(lambda: _runs(path) > len(ledger.last_seqs), "the last run", 20.0)
            wait_until(lambda: _backlog(path) < 20, "the backlog has gone out", 30.0)
            process.terminate()
            process.wait(timeout=10.0)
        content = read_outbox(path)
        ledger.note(content)
        expected = ledger.committed - set(content.events)
        wait_until(lambda: expected <= received(subscriber).keys(), "all have arrived", 20.0)
        arrived = received(subscriber)
    assert len(ledger.last_seqs) == KILLS + 1
    assert len(expected) > 10 * KILLS, "too little happened to prove anything"
    assert expected <= arrived.keys()
    # What arrived was committed before: nothing is sent that is not on disk.
    assert arrived.keys() <= ledger.committed
    for key, payloads in arrived.items():
        assert len(payloads | ledger.payloads[key]) == 1, f"id {key} names two events"
    numbers = [int(run.partition("-")[0]) for run in ledger.last_seqs]
    assert sorted(numbers) == list(range(1, KILLS + 2)), "a run number is used twice, or left out"
    with capsys.disabled():
        sys.stdout.write(
            f"kills={KILLS} runs={len(ledger.last_seqs)} committed={len(ledger.committed)}"
            f" arrived={len(arrived)} messages={len(subscriber.messages)}"
            f" broker_starts={broker.starts}\n"
        )


def _runs(path: Path) -> int:
    """The highest run number in the file; the file may be in the making."""
    try:
        runs = read_outbox(path).runs
    except Exception as exc:
        if "no such table" in str(exc):
            return 0
        raise
    return max((int(run.partition("-")[0]) for run in runs), default=0)


def _backlog(path: Path) -> int:
    return len(read_outbox(path).events)
