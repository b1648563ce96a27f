"""A program for the power-cut test: appends to a real outbox and tells what is committed.

    python -m tests.faults.writing FILE SYNCHRONOUS

One line an event, after its commit: `+ run seq`; before removing one: `- run seq`. The run id's
digits are always the same, so that the counted number alone must keep ids apart.
"""

import os
import sys
from pathlib import Path
from typing import Literal

from device.messaging.sqlite_outbox import SqliteOutbox
from device.wire.bodies import ClockAnchor
from device.wire.events import Draft

DRAFT = Draft(time_ns=1_764_000_000_000_000_000, mono_ns=1, body=ClockAnchor(step_s=1.0))


def tell(line: str) -> None:
    """At once and whole: the reader must know of it though this process is killed."""
    os.write(1, f"{line}\n".encode())


def main(path: Path, synchronous: Literal["FULL", "NORMAL"]) -> None:
    outbox = SqliteOutbox(
        path, "garden", "home", 10_000_000, lambda: "00000000", synchronous=synchronous
    )
    batch = 0
    while True:
        batch += 1
        for event in outbox.append_all([DRAFT] * (1 + batch % 3)).events:
            tell(f"+ {event.id.run} {event.id.seq}")
        if batch % 3 == 0:
            gone = outbox.oldest(4)
            for each in gone:
                _, run, seq = each.id.split(":")
                tell(f"- {run} {seq}")
            outbox.remove([each.row for each in gone])


if __name__ == "__main__":
    main(Path(sys.argv[1]), "NORMAL" if sys.argv[2] == "NORMAL" else "FULL")
