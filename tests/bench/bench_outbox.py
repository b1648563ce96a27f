"""How large the outbox is on disk, what it writes, and what many waiting events cost.

    python -m tests.bench.bench_outbox [EVENTS [FOLDER]]

Events as a typical box reports them. Bytes written are the kernel's own count of this process
(/proc/self/io): `asked` is what was given to write calls, `to disk` whole pages of memory that go
to the disk, those of the log and of the checkpoints both; a tmpfs has no such figure. FOLDER: on
the disk that is to be measured; what is made there is removed again.
"""

import os
import sqlite3
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

from device.messaging.numbering import Numberer
from device.messaging.outbox_record import pack
from device.messaging.sqlite_outbox import SqliteOutbox
from device.wire.events import Draft
from device.wire.names import RunId
from tests.kit.typical_box import typical_drafts

BURST = 20
BULK = 500
FEW = 1000
TIMES = 200
SEED = 1
NO_BOUND = 10_000_000_000


@dataclass(frozen=True)
class Written:
    """Bytes of this process so far."""

    asked: int
    to_disk: int

    @classmethod
    def now(cls) -> "Written":
        lines = Path("/proc/self/io").read_text().splitlines()
        found = {key: int(number) for key, _, number in (line.partition(": ") for line in lines)}
        return cls(found["wchar"], found["write_bytes"])

    def since(self, before: "Written", events: int) -> "Written":
        """For each of so many events."""
        return Written(
            (self.asked - before.asked) // events, (self.to_disk - before.to_disk) // events
        )


def take(drafts: Iterator[Draft], count: int) -> list[Draft]:
    return list(islice(drafts, count))


def written_by(outbox: SqliteOutbox, drafts: Iterator[Draft], batch: int, count: int) -> Written:
    """Bytes an event, `batch` events a commit."""
    before = Written.now()
    for _ in range(count // batch):
        outbox.append_all(take(drafts, batch))
    return Written.now().since(before, count // batch * batch)


def removed_by(outbox: SqliteOutbox, batch: int, count: int) -> Written:
    """The same of taking the oldest away."""
    before = Written.now()
    for _ in range(count // batch):
        outbox.remove([each.row for each in outbox.oldest(batch)])
    return Written.now().since(before, count // batch * batch)


def times_ms(act: Callable[[], object], times: int = TIMES) -> list[float]:
    found = []
    for _ in range(times):
        began_s = perf_counter()
        act()
        found.append((perf_counter() - began_s) * 1e3)
    return found


def fill(outbox: SqliteOutbox, drafts: Iterator[Draft], count: int) -> None:
    while outbox.waiting < count:
        outbox.append_all(take(drafts, min(BULK, count - outbox.waiting)))


def costs(outbox: SqliteOutbox, drafts: Iterator[Draft]) -> dict[str, float]:
    """Milliseconds, the median of many."""
    lone, burst = iter(take(drafts, TIMES)), iter(take(drafts, TIMES * BURST))

    def remove() -> None:
        outbox.remove([each.row for each in outbox.oldest(BURST)])

    return {
        "commit of one": median(times_ms(lambda: outbox.append_all(take(lone, 1)))),
        f"commit of {BURST}": median(times_ms(lambda: outbox.append_all(take(burst, BURST)))),
        f"read and remove {BURST}": median(times_ms(remove, TIMES // 2)),
    }


def file_bytes(path: Path) -> int:
    return (
        sum(each.stat().st_size for each in path.parent.glob("outbox.db*"))
        - path.with_name("outbox.db.ballast").stat().st_size
    )


def sizes_by_kind(drafts: list[Draft]) -> dict[str, tuple[int, int, int]]:
    """Of each type: how many, and the mean bytes of a payload as sent and as stored."""
    numberer = Numberer("garden", "home", RunId(12, "9f2c1a7b"))
    found = defaultdict(list)
    for seq, draft in enumerate(drafts, 100_000):
        packed = pack(numberer.number(draft, seq))
        sizes = len(packed.numbered.payload), len(packed.stored)
        found[draft.body.type_name()].append(sizes)
    return {
        name: (len(each), *(sum(column) // len(each) for column in zip(*each, strict=True)))
        for name, each in sorted(found.items())
    }


def open_outbox(path: Path, max_bytes: int = NO_BOUND) -> SqliteOutbox:
    return SqliteOutbox(path, "garden", "home", max_bytes)


def count_plainly(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM events").fetchone()[0])


def main(say: Callable[[str], int], count: int, where: Path | None) -> None:
    say(f"load before: {os.getloadavg()[0]:.2f}, processors: {os.cpu_count()}, seed: {SEED}\n")
    drafts = typical_drafts(2 * count + 100_000, SEED)
    say("bytes of a payload, as sent and as stored:\n")
    for name, (number, sent, stored) in sizes_by_kind(take(drafts, 600)).items():
        say(f"  {name}: {sent} and {stored} ({number} of 600)\n")
    with tempfile.TemporaryDirectory(dir=where) as folder:
        path = Path(folder) / "outbox.db"
        outbox = open_outbox(path)
        fill(outbox, drafts, FEW)
        few = costs(outbox, drafts)
        for what, written in {
            f"{BURST} a commit": written_by(outbox, drafts, BURST, 4000),
            "alone": written_by(outbox, drafts, 1, 500),
            f"removed by {BURST}": removed_by(outbox, BURST, 2000),
            "removed alone": removed_by(outbox, 1, 500),
        }.items():
            figures = f"asked {written.asked:,} B, to disk {written.to_disk:,} B"
            say(f"written an event, {what}: {figures}\n")
        fill(outbox, drafts, count)
        outbox.close()
        size_bytes = file_bytes(path)
        each_bytes = size_bytes / count
        say(f"{count:,} events: {size_bytes / 1e6:.1f} MB on disk, {each_bytes:.0f} B each\n")

        plain_ms = median(times_ms(lambda: count_plainly(path), 5))
        opening_ms = median(times_ms(lambda: open_outbox(path).close(), 3))
        say(
            f"opening with {count:,} waiting: {opening_ms:,.0f} ms,"
            f" {opening_ms / plain_ms:.1f} of a plain open and count ({plain_ms:,.0f} ms)\n"
        )
        outbox = open_outbox(path)
        many = costs(outbox, drafts)
        for what, cost_ms in many.items():
            say(
                f"{what}: {cost_ms / few[what]:.2f} with {count:,} waiting of that with {FEW:,}"
                f" ({cost_ms:.2f} ms and {few[what]:.2f} ms)\n"
            )
        bound_bytes = outbox.size_bytes
        outbox.close()
        outbox = open_outbox(path, bound_bytes)
        burst = iter(take(drafts, count // 10))
        full_ms = times_ms(lambda: outbox.append_all(take(burst, BURST)), count // 10 // BURST)
        outbox.close()
        say(
            f"commit of {BURST} when full: {sum(full_ms) / len(full_ms):.2f} ms in the mean,"
            f" {sum(full_ms) / len(full_ms) / many[f'commit of {BURST}']:.2f} of that with room;"
            f" the longest {max(full_ms):,.0f} ms (it makes room for the next hundredth)\n"
        )
        say(f"file after: {file_bytes(path) / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main(
        sys.stdout.write,
        int(sys.argv[1]) if len(sys.argv) > 1 else 300_000,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
