"""Wall clocks that are wrong, or jump while the box, the bridge and the local Pub/Sub run: nothing
is lost, sent again, given up or thrown away for it.

Logic runs on the monotonic clock; the doubles are clocks whose monotonic time is the wall's, as of
code that asks the wrong one. The random walk's seed is printed; `LOOKOUT_FAULT_SEED` repeats it.
"""

import json
import os
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud_bridge.clocks import HandClock as BridgeClock
from cloud_bridge.downlink.reading import attributes_of, read
from cloud_bridge.forward.sqlite_dead_letters import SqliteDeadLetters
from cloud_bridge.ports import Letter, Received
from device.clocks import HandClock
from device.pipeline.commanding import Commanding, Doings, DoneIds
from device.wire.bodies import CommandDone
from device.wire.downward import Command
from device.wire.errors import WireError
from device.wire.receipts import Receipt, encode_receipt
from tests.cloud_bridge.forward.stage import TOPIC
from tests.cloud_bridge.forward.stage import Stage as BridgeStage
from tests.cloud_bridge.local_pubsub.test_exchange import Hand, House, bodies, run
from tests.device.pipeline.delivery_stage import Stage as BoxStage
from tests.device.pipeline.delivery_stage import anchor
from tests.device.pipeline.test_commanding import Desk
from tests.kit.bridge import event_payload

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
YEAR_NS = 365 * 24 * HOUR_NS
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SEED = int(os.environ.get("LOOKOUT_FAULT_SEED") or random.randrange(1 << 32))


def ns(moment: datetime) -> int:
    return round(moment.timestamp()) * SECOND_NS


Walk = Callable[[int], int]
"""Where the wall clock is set next, from where it is."""


def at_random() -> Walk:
    sys.stdout.write(f"LOOKOUT_FAULT_SEED={SEED}\n")
    chance = random.Random(SEED)
    return lambda wall_ns: max(wall_ns + chance.randrange(-10 * YEAR_NS, 10 * YEAR_NS), 0)


WALKS: dict[str, Callable[[], Walk]] = {
    "1970": lambda: lambda _: 0,
    "2038": lambda: lambda _: ns(datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)),
    "2106": lambda: lambda _: ns(datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC)),
    "an hour back, again and again": lambda: lambda wall_ns: max(wall_ns - HOUR_NS, 0),
    "a year on, again and again": lambda: lambda wall_ns: wall_ns + YEAR_NS,
    "at random": at_random,
}


@pytest.fixture(params=WALKS)
def walk(request: pytest.FixtureRequest) -> Walk:
    return WALKS[request.param]()


class WallDriven(HandClock):
    """The double: its monotonic time is the wall's."""

    def monotonic_ns(self) -> int:
        return self.wall_ns()


class WallDrivenBridge(BridgeClock):
    """The double: its monotonic time is the wall's."""

    def monotonic_ns(self) -> int:
        return self.wall_ns()


class WallHand(Hand):
    """The double: the local Pub/Sub lives by the wall's time."""

    @property
    def mono_ns(self) -> int:
        return self.wall_ns

    @mono_ns.setter
    def mono_ns(self, value: int) -> None: ...


# --- the box: what waits for a receipt ----------------------------------------------------------


def prove_box(clock: HandClock, walk: Walk) -> None:
    """Sent once; again after 20 s without a receipt and not before; gone with its receipt."""
    stage = BoxStage(mode="receipts", clock=clock)

    def turns(count: int) -> None:
        for _ in range(count):
            stage.turn()
            clock.set_wall(walk(clock.wall_ns()))

    turns(3)
    stage.delivery.report(anchor(1))
    turns(5)
    assert stage.sent == [1.0], "sent not once"
    turns(80)
    assert stage.sent == [1.0], "sent again too early"
    turns(30)
    assert stage.sent == [1.0, 1.0], "not sent again"
    # A connection that is lost is tried again, whatever the wall says.
    stage.uplink.drop()
    stage.uplink.let_in()
    turns(3)
    stage.delivery.report(anchor(2))
    turns(5)
    assert stage.sent[-1] == 2.0, "not sent on the next connection"
    receipt = Receipt(run=str(stage.outbox.run), ok=[(1, 3)])
    stage.uplink.give("home/devices/garden/receipts", encode_receipt(receipt))
    turns(3)
    assert stage.outbox.waiting == 0, "its receipt did not settle it"


def test_a_box_sends_again_by_the_time_that_passes(walk: Walk) -> None:
    prove_box(HandClock(), walk)


def test_a_box_that_lives_by_the_wall_goes_red() -> None:
    for name in ("an hour back, again and again", "a year on, again and again"):
        with pytest.raises(AssertionError, match="sent"):
            prove_box(WallDriven(), WALKS[name]())


# --- the bridge ---------------------------------------------------------------------------------


def prove_bridge(clock: BridgeClock, walk: Walk) -> None:
    """Batches and receipts are gathered for a tenth of a second of real time."""
    stage = BridgeStage(clock=clock, gather_s=0.1)
    good, bad = range(1, 61), range(61, 66)
    for seq in good:
        stage.link.arrive(TOPIC, event_payload(seq))
    for seq in bad:
        stage.link.arrive(TOPIC, event_payload(seq)[:-1])
    stage.link.arrive("home/devices/garden/state", b'{"run":"1-9f2c1a7b"}')
    for _ in range(40):
        stage.take()
        stage.publish()
        stage.keep()
        clock.advance(0.02)
        clock.set_wall(walk(clock.wall_ns()))
    assert stage.confirmed == set(good), "receipts are missing"
    assert set(stage.refusals) == set(bad), "refusals are missing"
    assert sorted(stage.stored) == list(good)
    assert stage.link.waiting == 0, "not all is acknowledged"
    assert stage.letters.count()[0] == len(bad)
    assert not stage.stop.waits, "somebody waited for nothing"


def test_a_bridge_gathers_and_acknowledges_by_the_time_that_passes(walk: Walk) -> None:
    prove_bridge(BridgeClock(), walk)


def test_a_bridge_that_lives_by_the_wall_goes_red() -> None:
    with pytest.raises(AssertionError, match="missing"):
        prove_bridge(WallDrivenBridge(), WALKS["an hour back, again and again"]())


def test_dead_letters_keep_their_order_and_their_count(tmp_path: Path, walk: Walk) -> None:
    """Their times are labels: nothing is thrown away for its age."""
    clock = BridgeClock()
    letters = SqliteDeadLetters(tmp_path / "letters.db", 10**6, clock)
    for number in range(20):
        letters.add_all([Letter(topic="t", payload=f"{number % 10}".encode(), reason="r")])
        clock.set_wall(walk(clock.wall_ns()))
    found = letters.letters()
    assert [each.letter.payload for each in found] == [f"{each}".encode() for each in range(10)]
    assert {each.times for each in found} == {2}
    assert letters.remove([each.number for each in found]) == 10
    letters.close()


# --- the local Pub/Sub --------------------------------------------------------------------------


def prove_pubsub(path: Path, hand: Hand, walk: Walk) -> None:
    """A lease of 10 s ends after 10 s; messages of a week's retention stay."""

    async def first(house: House) -> None:
        await house.topic()
        one = await house.subscribe("one")
        await house.publish(b"1", b"2")
        for _ in range(50):
            hand.wall_ns = walk(hand.wall_ns)
            await house.upkeep.sweep()
            hand.advance(0.1)
        assert house.exchange.counts.expired == 0, "expired by the wall"
        assert len(await house.take(one)) == 2
        for _ in range(90):
            hand.wall_ns = walk(hand.wall_ns)
            hand.advance(0.1)
            house.exchange.turn(one)
            assert await house.take(one) == [], "leased twice"
        hand.advance(1.5)
        house.exchange.turn(one)
        assert bodies(await house.take(one)) == [b"1", b"2"], "the lease does not end"

    async def second(house: House) -> None:
        one = house.directory.subscription("projects/p/subscriptions/one")
        hand.wall_ns = walk(hand.wall_ns)
        await house.upkeep.sweep()
        assert bodies(await house.take(one)) == [b"1", b"2"], "gone over a restart"

    run(path, first, hand)
    run(path, second, hand)


def test_leases_and_retention_go_by_the_time_that_passes(tmp_path: Path, walk: Walk) -> None:
    prove_pubsub(tmp_path / "pubsub.db", Hand(), walk)


def test_a_pubsub_that_lives_by_the_wall_goes_red(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="expired by the wall"):
        prove_pubsub(tmp_path / "1.db", WallHand(), WALKS["a year on, again and again"]())
    with pytest.raises(AssertionError, match="lease does not end"):
        prove_pubsub(tmp_path / "2.db", WallHand(), WALKS["1970"]())


# --- commands: the sender's clock is right, others may be wrong -----------------------------------


def is_passed_on(expires: datetime, bridge: datetime) -> bool:
    """By a bridge whose clock says so."""
    command = {"id": "1", "command": "classify", "expires": expires.isoformat()}
    attributes = attributes_of("home", "garden", "command")
    received = Received("a", json.dumps(command).encode(), attributes)
    try:
        read(received, frozenset({"home"}), ns(bridge))
    except WireError:
        return False
    return True


def outcome(expires: datetime, box: datetime, kind: type[Commanding] = Commanding) -> str:
    """What a box makes of it whose clock says so."""
    desk = Desk()
    doings = Doings(desk._ask, desk._reload, lambda _: None)
    desk.commanding = kind(doings, DoneIds(desk.file), desk._report, desk.clock)
    desk.clock.set_wall(ns(box))
    desk.clock.minute = None if box.year < 2025 else 0
    command = {"id": "1", "command": "classify", "expires": expires.isoformat()}
    desk.commanding.take(json.dumps(command).encode())
    assert (desk.asked == ["look"]) is (desk.told[-1].result == "done")
    return desk.told[-1].result


class NeverLate(Commanding):
    """The double: does what has expired."""

    def _objection(self, command: Command, expires_ns: int) -> CommandDone | None:
        return None


MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
IN_TIME, LATE = NOW + MINUTE, NOW - MINUTE
BOXES: list[tuple[str, datetime, str, str]] = [
    ("right", NOW, "done", "expired"),
    ("not set", datetime(1970, 1, 1, tzinfo=UTC), "refused", "refused"),
    ("2038", datetime(2038, 1, 19, 4, 0, tzinfo=UTC), "expired", "expired"),
    ("an hour ahead", NOW + HOUR, "expired", "expired"),
    ("eight days behind", NOW - 8 * DAY, "refused", "refused"),
    # Nobody can tell: this is the limit that docs/faults.md names.
    ("an hour behind", NOW - HOUR, "done", "done"),
]


@pytest.mark.parametrize(("box", "in_time", "late"), [each[1:] for each in BOXES])
def test_a_box_with_a_wrong_clock_rather_does_not(box: datetime, in_time: str, late: str) -> None:
    assert (outcome(IN_TIME, box), outcome(LATE, box)) == (in_time, late)


def test_a_bridge_with_a_wrong_clock_leaves_it_to_the_box() -> None:
    """Or, where its clock is ahead, passes nothing on: it never makes a late command done."""
    for bridge in (datetime(1970, 1, 1, tzinfo=UTC), NOW - HOUR, NOW):
        assert is_passed_on(IN_TIME, bridge)
    for bridge in (datetime(2038, 1, 19, 4, 0, tzinfo=UTC), NOW + HOUR):
        assert not is_passed_on(IN_TIME, bridge)
    assert not is_passed_on(LATE, NOW)
    assert outcome(LATE, NOW) == "expired"


def test_a_box_that_asks_no_clock_goes_red() -> None:
    assert outcome(LATE, NOW, NeverLate) == "done", "no teeth"
