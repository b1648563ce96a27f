"""Delivery's two threads in every order that a seed can think of, with deaths, lost connections
and a failing disk between any two steps.

Only one thread goes on at a time; at each call to a disk or a broker a seeded chance decides which,
and what happens there. So a seed that fails, fails again.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Condition, Thread
from typing import Any

import pytest

from device.clocks import HandClock
from device.core.delivery import SPARE_FIRST_ROW, DeliveryMode, DeliverySettings
from device.errors import TransientError
from device.messaging.fake_uplink import FakeUplink
from device.messaging.memory_outbox import MemoryOutbox
from device.pipeline.deliver import Delivery
from device.ports import Appended, Keepsake, Outbox, PreviousRun, StoredEvent
from device.wire.events import Draft, Event
from device.wire.names import EventId, Topics
from device.wire.receipts import Receipt, encode_receipt, ranges_of
from tests.device.pipeline.delivery_stage import anchor, first

SEEDS = 60
TURNS = 120
OUTBOX, UPLINK = "outbox", "uplink"
TOPICS = Topics("home", "garden")


class DiedError(Exception):
    """What a thread dies of here."""


class Baton:
    """Who goes on; whoever has not got it waits."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._changed = Condition()
        self._running: list[str] = [OUTBOX, UPLINK]
        self._holder = OUTBOX

    def pass_on(self, me: str) -> None:
        with self._changed:
            self._holder = self.chance.choice(self._running)
            self._changed.notify_all()
            self._wait(me)

    def begin(self, me: str) -> None:
        with self._changed:
            self._wait(me)

    def end(self, me: str) -> None:
        with self._changed:
            self._running.remove(me)
            self._holder = self._running[0] if self._running else ""
            self._changed.notify_all()

    def _wait(self, me: str) -> None:
        if not self._changed.wait_for(lambda: self._holder == me, timeout=20.0):
            raise AssertionError(f"{me} never went on")


class Play:
    """One seed's story. is_calm: nothing fails any more."""

    def __init__(self, seed: int, mode: DeliveryMode = "broker") -> None:
        self.chance = random.Random(seed)
        self.baton = Baton(self.chance)
        self.clock = HandClock()
        self.is_calm = False
        self.is_disk_bad = False
        self.committed: list[str] = []
        self.reported = 0
        self.deaths: Counter[str] = Counter()
        self.uplink = PlayedUplink(self)
        self.spare: MemoryOutbox | None = None
        self.disk = PlayedOutbox(self, MemoryOutbox("garden", "home", 10**7, is_durable=True))
        self.delivery = Delivery(
            outbox_factory=lambda: self.disk,
            uplink_factory=lambda _: self.uplink,
            settings=DeliverySettings(mode=mode, window=6, live_share=0.25),
            topics=TOPICS,
            group_ms=0,
            clock=self.clock,
            on_committed=self._hear,
            first=first,
            spare_factory=self._spare,
            jitter=lambda: 0.0,
            turn_s=0.0,
        )

    def _spare(self, previous: PreviousRun | None) -> Outbox:
        self.spare = MemoryOutbox(
            "garden", "home", 10**6, previous=previous, first_row=SPARE_FIRST_ROW
        )
        return self.spare

    def in_memory(self) -> set[str]:
        """Ids of the events that are only there."""
        return set() if self.spare is None else {each.id for each in self.spare.oldest(10_000)}

    def _hear(self, pairs: Sequence[tuple[Event, Keepsake | None]]) -> None:
        self.committed += [str(event.id) for event, _ in pairs]

    def step(self, me: str, what: str) -> None:
        """Before an act: the other thread may go on, and this one may die."""
        if self.is_calm:
            return
        self.baton.pass_on(me)
        if self.chance.random() < 0.04:
            self.deaths[what] += 1
            raise DiedError(what)

    def after(self, me: str) -> None:
        if not self.is_calm:
            self.baton.pass_on(me)

    def happen(self) -> None:
        """Between two turns, the world goes on."""
        self.clock.advance(0.05)
        match self.chance.randrange(12):
            case 0 | 1 | 2:
                self.delivery.report(anchor(self.reported))
                self.reported += 1
            case 3 | 4:
                self.uplink.acknowledge(self.chance.randrange(1, 5))
            case 5:
                self.uplink.drop()
                if self.chance.random() < 0.7:
                    self.uplink.let_in()
            case 6 | 7:
                self.uplink.let_in()
            case 8:
                self.delivery.set_state(b"{}")
            case 9:
                self.is_disk_bad = not self.is_disk_bad and self.chance.random() < 0.8
            case 10:
                self.clock.advance(self.chance.choice([0.2, 1.0, 3.0]))

    def run(self) -> None:
        """Both threads, for their number of turns."""
        failures: list[BaseException] = []

        def go(me: str, turn: Callable[[], None]) -> None:
            self.baton.begin(me)
            try:
                for _ in range(TURNS):
                    with suppress(DiedError):
                        turn()
                    self.happen()
                    self.baton.pass_on(me)
            except BaseException as exc:  # noqa: BLE001 - told to the test's own thread
                failures.append(exc)
            finally:
                self.baton.end(me)

        threads = [
            Thread(target=go, args=(OUTBOX, self.delivery.outbox_turn)),
            Thread(target=go, args=(UPLINK, self.delivery.uplink_turn)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60.0)
        if failures:
            raise failures[0]

    def calm_down(self) -> None:
        """Everything behaves from now on, and the connection that stands goes on standing."""
        self.is_calm, self.is_disk_bad = True, False
        self.uplink.let_in()
        for _ in range(300):
            self.uplink.acknowledge()
            self.delivery.outbox_turn()
            self.delivery.uplink_turn()
            self.clock.advance(0.2)


class ReceiptsPlay(Play):
    """With a bridge that gives receipts, and loses many while it is not calm."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, "receipts")

    def happen(self) -> None:
        super().happen()
        if self.chance.random() < 0.1:
            self.clock.advance(25.0)
        if self.chance.random() < 0.2:
            self.confirm()

    def confirm(self) -> None:
        """Receipts for all that the broker has acknowledged, or for some of it."""
        runs: dict[str, list[int]] = {}
        for each in sorted(self.uplink.arrived):
            known = EventId.parse(each)
            if self.is_calm or self.chance.random() < 0.5:
                runs.setdefault(str(known.run), []).append(known.seq)
        for run, seqs in runs.items():
            receipt = Receipt(run=run, ok=ranges_of(sorted(seqs)))
            self.uplink.give(TOPICS.receipts, encode_receipt(receipt))

    def calm_down(self) -> None:
        self.is_calm, self.is_disk_bad = True, False
        self.uplink.let_in()
        for _ in range(300):
            self.uplink.acknowledge()
            self.delivery.outbox_turn()
            self.delivery.uplink_turn()
            self.confirm()
            self.clock.advance(5.0)


class PlayedUplink(FakeUplink):
    """Notes what each connection saw, and what its broker acknowledged."""

    def __init__(self, play: Play) -> None:
        super().__init__()
        self._play = play
        self.seen: list[tuple[int, str]] = []
        self.arrived: set[str] = set()

    def turn(self, timeout_s: float) -> list[int]:
        self._play.step(UPLINK, "turn")
        rows = super().turn(0.0)
        self._play.after(UPLINK)
        return rows

    def publish(self, event: StoredEvent) -> None:
        self._play.step(UPLINK, "publish")
        if not self.is_connected:
            return  # it went a moment ago, and the event with it
        super().publish(event)
        self.seen.append((self.connects, event.id))
        self._play.after(UPLINK)

    def set_state(self, payload: bytes) -> None:
        self._play.step(UPLINK, "set_state")
        super().set_state(payload)

    def _settle(self, rows: Sequence[int], answers: list[int]) -> None:
        self.arrived |= {self._under_way[row].id for row in rows}
        super()._settle(rows, answers)


class PlayedOutbox:
    """A disk where each call is a step; it refuses while it is bad."""

    def __init__(self, play: Play, outbox: Outbox) -> None:
        self._play = play
        self._outbox = outbox

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever an outbox has
        return getattr(self._outbox, name)

    def _step(self, what: str) -> None:
        self._play.step(OUTBOX, what)
        if self._play.is_disk_bad:
            raise TransientError("the disk refuses")

    def append_all(self, drafts: Sequence[Draft]) -> Appended:
        self._step("append")
        return self._outbox.append_all(drafts)

    def adopt(self, events: Sequence[StoredEvent]) -> Appended:
        self._step("adopt")
        return self._outbox.adopt(events)

    def oldest(self, limit: int, after_row: int = 0) -> list[StoredEvent]:
        self._step("read")
        found = self._outbox.oldest(limit, after_row)
        self._play.after(OUTBOX)
        return found

    def remove(self, rows: Sequence[int]) -> None:
        self._step("remove")
        self._outbox.remove(rows)
        self._play.after(OUTBOX)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_committed_event_arrives_and_none_goes_twice_over_one_connection(seed: int) -> None:
    play = Play(seed)
    play.run()
    play.calm_down()
    twice = {each: count for each, count in Counter(play.uplink.seen).items() if count > 1}
    assert not twice
    assert play.committed
    assert len(set(play.committed)) == len(play.committed), "an id was given twice"
    assert set(play.committed) <= play.uplink.arrived
    assert play.delivery.status().waiting == 0


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_with_receipts_every_committed_event_arrives_and_none_leaves_before(seed: int) -> None:
    play = ReceiptsPlay(seed)
    play.run()
    play.is_calm, play.is_disk_bad = True, False
    left = {each.id for each in play.disk.oldest(10_000)}
    assert set(play.committed) - play.uplink.arrived <= left | play.in_memory()
    play.calm_down()
    assert len(set(play.committed)) == len(play.committed), "an id was given twice"
    assert set(play.committed) <= play.uplink.arrived
    assert play.delivery.status().waiting == 0


def test_the_seeds_reach_what_they_are_for() -> None:
    """Deaths at every step, several connections, events in memory."""
    deaths: Counter[str] = Counter()
    connects = not_durable = 0
    for seed in range(SEEDS // 2):
        play = Play(seed)
        play.run()
        deaths += play.deaths
        connects += play.uplink.connects
        not_durable += play.delivery.status().not_durable
    assert deaths.keys() >= {"turn", "publish", "set_state", "append", "adopt", "read", "remove"}
    assert connects > SEEDS
    assert not_durable > SEEDS
