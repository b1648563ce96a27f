"""Partitions between device and broker, broker and bridge, bridge and Pub/Sub: nothing is lost, and
live events come soon after they heal, also while a backlog waits."""

import random
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from device.messaging.sqlite_outbox import SqliteOutbox
from device.wire.bodies import ClockAnchor
from tests.faults.delivering import draft
from tests.faults.lines import HOWS, LINKS, Healing, Line, Middle, Partition
from tests.kit.history import Handed, Verdict, compare
from tests.kit.processes import Spawn
from tests.kit.waiting import pause, wait_until

LINES = 10
SOON_S = 5.0
PATIENT_S = 60.0
LIVE_S = 2.0
BACKLOG = 100_000
WATCHED_S = 12.0


def plan(chance: random.Random) -> list[list[Partition]]:
    """For each line one partition of each link: thirty, from 1 to 20 s, each kind six times; no
    line has much more to suffer than another."""
    count = LINES * len(LINKS)
    seconds = [1.0 + 19.0 * (each + chance.random()) / count for each in range(count)]
    hows = [HOWS[each % len(HOWS)] for each in range(count)]
    chance.shuffle(hows)
    plans = []
    for number in range(LINES):
        mine = [seconds[number], seconds[2 * LINES - 1 - number], seconds[2 * LINES + number]]
        chance.shuffle(mine)
        plans.append(
            [
                Partition(link=link, how=hows.pop(), seconds=mine.pop())
                for link in chance.sample(LINKS, len(LINKS))
            ]
        )
    return plans


def drain(lines: list[Line], middle: Middle) -> Verdict:
    for line in lines:
        line.device.hush()
    for line in lines:
        wait_until(lambda line=line: line.device.waiting() == 0, "empty outboxes", 60.0, 0.1)  # type: ignore[misc]
        line.device.stop()
    committed = [line.device.committed for line in lines]
    ids = {each for device in committed for each in device.ids}
    wait_until(lambda: not middle.consumer.missing(ids), "all events with the consumer", 30.0)
    return compare(committed, middle.consumer.handed)


def test_thirty_partitions_lose_nothing_and_live_events_come_soon_after_each(
    tmp_path: Path, seed: int, say: Callable[[str], None], spawn: Spawn
) -> None:
    plans = plan(random.Random(seed))
    with ExitStack() as exits:
        middle = Middle(tmp_path, exits, spawn)
        lines = [
            Line(tmp_path, exits, spawn, middle, f"box{number}", ["--rate", "8"])
            for number in range(LINES)
        ]
        # Its line stays whole: what its events take is the machine's doing, not the partitions'.
        steady = Line(tmp_path, exits, spawn, middle, "steady", ["--rate", "8"])
        lines.append(steady)
        wait_until(lambda: all(line.is_up() for line in lines), "all lines are up", 60.0, 0.2)

        def live(line: Line, partitions: list[Partition]) -> list[Healing]:
            healings = []
            for partition in partitions:
                healings.append(line.suffer(partition, PATIENT_S))
                pause(1.0)
            return healings

        with ThreadPoolExecutor(LINES) as threads:
            healings = [each for found in threads.map(live, lines, plans) for each in found]
        verdict = drain(lines, middle)
        handed = middle.consumer.handed
    lags_s = {each.healed_ns: slowest_s(steady.name, handed, each) for each in healings}
    owed_s = sorted(each.first_s - lags_s[each.healed_ns] for each in healings)
    healings.sort(key=lambda each: each.first_s)
    for each in healings[-5:]:
        what = each.partition
        say(
            f"{what.link} {what.how} {what.seconds:.1f} s: live after {each.first_s:.2f} s; "
            f"through a whole line at that time {lags_s[each.healed_ns]:.2f} s"
        )
    say(
        f"partitions={len(healings)} committed={verdict.committed} arrived={verdict.stored} "
        f"lost={len(verdict.lost)} sent_twice={verdict.repeats}; the first live event after each "
        f"healing: median {statistics.median(each.first_s for each in healings):.2f} s, "
        f"most {healings[-1].first_s:.2f} s"
    )
    assert not verdict.faults, "; ".join(verdict.faults)
    assert verdict.stored == verdict.committed
    assert len(healings) == 30
    assert owed_s[-1] <= SOON_S


def slowest_s(name: str, handed: Sequence[Handed], healing: Healing) -> float:
    """What an event of another device took at most while one line healed."""
    from_ns = healing.healed_ns - 1_000_000_000
    until_ns = healing.healed_ns + round(healing.first_s * 1e9)
    took_s = [
        (each.arrived_ns - each.made_ns) / 1e9
        for each in handed
        if each.event_id.startswith(f"{name}:") and from_ns <= each.made_ns <= until_ns
    ]
    return max(took_s, default=0.0)  # none: nothing excuses the line


def prefill(folder: Path, registry: str, device: str, count: int) -> None:
    """A run that has left so many events behind."""
    folder.mkdir(parents=True)
    with closing(SqliteOutbox(folder / "outbox.db", device, registry, 100_000_000)) as outbox:
        for first in range(0, count, 5000):
            outbox.append_all([draft(ClockAnchor(step_s=float(first + n))) for n in range(5000)])


def watch_backlog(
    folder: Path,
    spawn: Spawn,
    say: Callable[[str], None],
    backlog: int,
    partition: Partition,
    watched_s: float,
    options: Sequence[str] = (),
) -> None:
    """A partition while a backlog waits; then live events beside it, for so long."""
    prefill(folder / "box", "home-box", "box", backlog)
    with ExitStack() as exits:
        middle = Middle(folder, exits, spawn)
        line = Line(folder, exits, spawn, middle, "box", ["--rate", "10", *options])
        line.device.note()
        wait_until(line.is_up, "events arrive", 60.0)
        healing = line.suffer(partition)
        assert healing.first_s <= SOON_S, f"live only after {healing.first_s:.1f} s"
        known = len(middle.consumer.handed)
        pause(watched_s)
        waiting = line.device.waiting()
        run = line.device.newest_run()
        waits_s = [
            (each.arrived_ns - each.made_ns) / 1e9
            for each in middle.consumer.since(known)
            if each.event_id.startswith(f"box:{run}:")
        ]
        sent = len(middle.consumer.handed) - known
        line.device.stop()
        # What has left the outbox arrives; the rest is still there.
        committed = [line.device.committed]
        gone = line.device.committed.ids - line.device.committed.waiting
        wait_until(lambda: not middle.consumer.missing(gone), "what has left the outbox", 30.0)
        verdict = compare(committed, middle.consumer.handed)
    assert not verdict.faults, "; ".join(verdict.faults)
    assert waiting > backlog // 2, "too little was waiting to prove anything"
    assert len(waits_s) > 5 * watched_s, "too few live events"
    say(
        f"live after {healing.first_s:.2f} s; {sent / watched_s:.0f} events/s with {waiting} "
        f"waiting; {len(waits_s)} live ones took median {statistics.median(waits_s):.2f} s, "
        f"most {max(waits_s):.2f} s"
    )
    assert max(waits_s) <= LIVE_S, f"a live event took {max(waits_s):.1f} s"


def refusing(seconds: float) -> Partition:
    return Partition(link="device-broker", how="refusing", seconds=seconds)


def test_a_live_event_does_not_wait_behind_a_hundred_thousand(
    tmp_path: Path, say: Callable[[str], None], spawn: Spawn
) -> None:
    watch_backlog(tmp_path, spawn, say, BACKLOG, refusing(8.0), WATCHED_S)


BROKEN = {
    "waits-a-minute": (refusing(8.0), "live only after"),
    "oldest-first": (refusing(1.0), "not within .* events after"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_device_that_is_broken_on_purpose_goes_red(
    name: str, tmp_path: Path, spawn: Spawn
) -> None:
    partition, found_out = BROKEN[name]
    with pytest.raises(AssertionError, match=found_out):
        watch_backlog(tmp_path, spawn, lambda _: None, 10_000, partition, 4.0, ["--double", name])
