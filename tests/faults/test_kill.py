"""kill -9 at random moments, with the broker at times away: every committed event arrives, and no
id is used twice.

The random moments come from a seed that is printed; `LOOKOUT_FAULT_SEED` repeats a run.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.box import Box
from tests.kit.broker import Broker
from tests.kit.outbox_reader import FileContent, read_outbox
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import pause, wait_until
from tests.tools import REPOSITORY, require_tool

BUSY_SEQ = 10
"""A run that came so far has events under way, whatever the machine's speed."""


@dataclass(frozen=True)
class Victim:
    """A program to kill: its command, its outbox, its device's topics and id; killed within
    `life_s` of its run's beginning. hush: makes a running one bring no more events."""

    command: list[str]
    outbox: Path
    root: str
    device: str
    life_s: float
    hush: Callable[[subprocess.Popen[bytes]], None]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            self.command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=10.0)


def lookout_run(folder: Path, port: int) -> Victim:
    """The box itself, before pictures that change as fast as it can look."""
    more = "gate = false\n[outbox]\ngroup_ms = 10"
    box = Box(folder / "box", port, more, picture_s=0.02, frames_per_s=50.0)

    def hush(_: subprocess.Popen[bytes]) -> None:
        # A control socket that is not there yet: the box has only begun.
        wait_until(lambda: box.command("pause").returncode == 0, "the box pauses", 30.0)

    return Victim(
        [sys.executable, "-m", "device.main", "run", "--config", str(box.config)],
        box.state_dir / "outbox.db",
        "test/devices/box",
        "box",
        life_s=1.0,
        hush=hush,
    )


def delivering(folder: Path, port: int) -> Victim:
    """Delivery alone, with more events than a camera brings."""
    state = folder / "state"
    state.mkdir()
    return Victim(
        [sys.executable, "-m", "tests.faults.delivering", str(state), str(port)],
        state / "outbox.db",
        "home/devices/garden",
        "garden",
        life_s=0.5,
        hush=lambda process: process.send_signal(signal.SIGUSR1),
    )


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


def received(subscriber: Subscriber, device: str) -> dict[tuple[str, int], set[bytes]]:
    found: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)
    for message in subscriber.messages:
        event = json.loads(message.payload)
        assert event["id"] == f"{device}:{event['data']['run']}:{event['data']['seq']}"
        found[event["data"]["run"], event["data"]["seq"]].add(message.payload)
    return found


@pytest.mark.parametrize(("make", "kills"), [(lookout_run, 30), (delivering, 8)])
def test_after_many_kills_every_committed_event_has_arrived_and_no_id_is_used_twice(
    make: Callable[[Path, int], Victim],
    kills: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    number = seed()
    with capsys.disabled():
        sys.stdout.write(f"\nLOOKOUT_FAULT_SEED={number}\n")
    chance = random.Random(number)
    ledger = Ledger()
    with Broker(require_tool("mosquitto"), tmp_path / "broker") as broker:
        victim = make(tmp_path, broker.port)
        with Subscriber(broker.port, [f"{victim.root}/events/#"]) as subscriber:
            for _ in range(kills):
                _live_and_die(victim, broker, ledger, chance)
            _drain(victim, broker, ledger)
            wait_until(
                lambda: ledger.committed <= received(subscriber, victim.device).keys(),
                "every committed event has arrived",
                timeout_s=20.0,
            )
            arrived = received(subscriber, victim.device)
            messages = len(subscriber.messages)
    assert len(ledger.committed) > 5 * kills, "too little happened to prove anything"
    # Nothing is sent that was not on disk before.
    assert arrived.keys() == ledger.committed
    for key, payloads in arrived.items():
        assert len(payloads | ledger.payloads[key]) == 1, f"id {key} names two events"
    numbers = [int(run.partition("-")[0]) for run in ledger.last_seqs]
    assert sorted(numbers) == list(range(1, kills + 2)), "a run number is used twice, or left out"
    with capsys.disabled():
        sys.stdout.write(
            f"kills={kills} committed={len(ledger.committed)} arrived={len(arrived)}"
            f" repeats={messages - len(arrived)}"
            f" broker_starts={broker.starts}\n"
        )


def _live_and_die(victim: Victim, broker: Broker, ledger: Ledger, chance: random.Random) -> None:
    """One run, killed at a random moment after its number is on disk; the broker may go, and come
    back before the kill, after it, or a run later."""
    with victim.running():
        _wait_for_a_new_run(victim, ledger)
        if chance.random() < 0.8:  # most die at work, some while they begin
            wait_until(lambda: _newest_seq(victim.outbox) >= BUSY_SEQ, "it is at work", 30.0)
        pause(chance.uniform(0.0, victim.life_s))
        if chance.random() < 0.3:
            broker.stop()
            pause(chance.uniform(0.0, 0.3))
            if chance.random() < 0.6:
                broker.start()
                pause(chance.uniform(0.0, 0.8))
        ledger.note(read_outbox(victim.outbox))
    ledger.note(read_outbox(victim.outbox))
    if chance.random() < 0.5:
        broker.start()


def _drain(victim: Victim, broker: Broker, ledger: Ledger) -> None:
    """A last run that brings nothing new, sends all that is there, and ends as it is asked to."""
    broker.start()
    with victim.running() as process:
        _wait_for_a_new_run(victim, ledger)
        victim.hush(process)
        wait_until(lambda: not read_outbox(victim.outbox).events, "all is sent", 30.0)
        process.terminate()
        process.wait(timeout=15.0)
    last = read_outbox(victim.outbox)
    ledger.note(last)
    assert not last.events


def _wait_for_a_new_run(victim: Victim, ledger: Ledger) -> None:
    known = len(ledger.last_seqs)
    wait_until(lambda: _runs(victim.outbox) > known, "a new run has begun", timeout_s=30.0)


def _newest_seq(path: Path) -> int:
    """The last seq of the newest run."""
    runs = read_outbox(path).runs
    return runs[max(runs, key=lambda run: int(run.partition("-")[0]))]


def _runs(path: Path) -> int:
    """The highest run number in the file; the file may be in the making."""
    if not path.exists():
        return 0
    try:
        runs = read_outbox(path).runs
    except sqlite3.OperationalError as exc:
        if "no such table" not in str(exc):
            raise
        return 0
    return max((int(run.partition("-")[0]) for run in runs), default=0)
