"""Many power cuts of one writer's life: it is recorded once, and cut at many of its moments.

A life is a real outbox that appends, removes, and now and then is closed as asked, on a folder
that records every write and sync. Each cut is some moment of it, with some of the writes that were
not synced kept, lost or torn. The real outbox then opens what was left, and goes on; a reader that
shares no code with it looks at the same file. One of the cuts is where the next life begins.
"""

import gc
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from device.errors import TransientError
from device.messaging.sqlite_outbox import SqliteOutbox, Synchronous
from device.wire.bodies import CommandDone
from device.wire.events import Draft
from tests.kit.outbox_reader import read_outbox
from tests.kit.power_cut_folder import PowerCutFolder

BATCHES = 30
MAX_BYTES = 100_000_000

Key = tuple[str, int]
"""Run and seq; seq 0 is the run itself."""


@dataclass
class Damage:
    """What cuts have done. told: of the events that were told to be committed, in all lives."""

    cuts: int = 0
    lives: int = 0
    told: int = 0
    lost: int = 0
    reused: int = 0
    corrupt: int = 0
    torn_cuts: int = 0


@dataclass
class Life:
    """What somebody outside heard, and after how many steps of the disk."""

    told: list[tuple[int, Key]] = field(default_factory=list)
    removed: list[tuple[int, Key]] = field(default_factory=list)
    payloads: dict[Key, bytes] = field(default_factory=dict)
    steps: int = 0


@dataclass(frozen=True)
class World:
    """What the lives before have left: events that must be there, and every id ever heard of."""

    here: frozenset[Key] = frozenset()
    ever: frozenset[Key] = frozenset()
    payloads: dict[Key, bytes] = field(default_factory=dict)


def open_outbox(path: Path, synchronous: Synchronous) -> SqliteOutbox:
    """The run id's digits are always the same: the counted number alone keeps ids apart."""
    return SqliteOutbox(
        path, "garden", "home", MAX_BYTES, lambda: "00000000", synchronous=synchronous
    )


def draft(chance: random.Random) -> Draft:
    """Of any size from a part of a page to several pages."""
    length = int(10 ** chance.uniform(0.0, 4.0))
    body = CommandDone(
        command_id=f"{chance.random()}", result="done", detail=chance.randbytes(length // 2).hex()
    )
    return Draft(time_ns=1_764_000_000_000_000_000, mono_ns=1, body=body)


def live(disk: PowerCutFolder, path: Path, how: Synchronous, chance: random.Random) -> Life:
    life = Life()
    disk.record()
    outbox = open_outbox(path, how)
    life.told.append((disk.position(), (str(outbox.run), 0)))
    for _ in range(BATCHES):
        drafts = [draft(chance) for _ in range(chance.choice((1, 1, 2, 20)))]
        stored = outbox.append_all(drafts).stored
        position = disk.position()
        for each in stored:
            key = _key(each.id)
            life.told.append((position, key))
            life.payloads[key] = each.payload
        if chance.random() < 0.3:
            gone = outbox.oldest(chance.randint(1, 30))
            life.removed += [(position, _key(each.id)) for each in gone]
            outbox.remove([each.row for each in gone])
    if chance.random() < 0.3:
        outbox.close()
    life.steps = disk.position()
    del outbox  # whatever its end writes comes after the last cut
    gc.collect()
    return life


def _key(event_id: str) -> Key:
    _, run, seq = event_id.split(":")
    return run, int(seq)


def cut_many(
    disk: PowerCutFolder,
    folder: Path,
    how: Synchronous,
    chance: random.Random,
    cuts_a_life: int,
) -> Iterator[Damage]:
    """One more cut each time. folder: an ordinary one, for what the cuts leave."""
    damage = Damage()
    world = World()
    path = disk.path / "outbox.db"
    while True:
        life = live(disk, path, how, chance)
        damage.lives += 1
        damage.told += len(life.payloads)
        for number in range(cuts_a_life):
            position = chance.randint(0, life.steps)
            seed = chance.choice([None, chance.randrange(1 << 30)])
            left = folder / f"cut-{damage.cuts}"
            left.mkdir()
            disk.save(position, left, seed)
            damage.cuts += 1
            damage.torn_cuts += seed is not None
            after = _judge(left / path.name, how, world, life, position, damage)
            shutil.rmtree(left)
            if number == cuts_a_life - 1:
                disk.rewind(position, seed)
            yield damage
        world = after


def _judge(
    path: Path, how: Synchronous, world: World, life: Life, position: int, damage: Damage
) -> World:
    told = {key for when, key in life.told if when <= position}
    removed = {key for when, key in life.removed if when <= position}
    payloads = world.payloads | life.payloads
    ever = world.ever | told
    must = {key for key in world.here | told if key[1] > 0} - removed
    try:
        outbox = open_outbox(path, how)
        run = str(outbox.run)
        appended = outbox.append_all([draft(random.Random(0))]).stored
        seen = {_key(each.id): each.payload for each in outbox.oldest(1_000_000)}
        is_whole = outbox.damage is None
        outbox.close()
    except TransientError:
        damage.corrupt += 1
        return World(frozenset(), ever, payloads)
    new = {(run, 0), *(_key(each.id) for each in appended)}
    damage.reused += len(new & ever)
    read = read_outbox(path).events
    there = {key: payload for key, payload in read.items() if key not in new}
    damage.lost += len(must - there.keys())
    is_true = all(payloads.get(key) == payload for key, payload in there.items())
    is_whole = is_whole and read == seen and is_true and integrity(path) == "ok"
    damage.corrupt += not is_whole
    # What was lost is counted once; what was removed may have come back, and stays or goes.
    return World(frozenset(there.keys() - removed), frozenset(ever), payloads)


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])
