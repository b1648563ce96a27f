"""The end of a box: outputs first, then the threads, and only then what they use."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.tools import REPOSITORY

PROGRAM = """
import os, sys
from pathlib import Path
from threading import Event

from device.appliance import end_all
from device.clocks import SystemClock
from device.config import OutputConfig
from device.core.delivery import DeliverySettings
from device.gpio.file_pins import FilePins
from device.messaging.fake_uplink import FakeUplink
from device.messaging.sqlite_outbox import SqliteOutbox
from device.pipeline.deliver import Delivery
from device.wire.bodies import ClockAnchor, RunStarted
from device.wire.events import Draft
from device.wire.names import Topics
from device.workers import Worker

folder, hanging = Path(sys.argv[1]), sys.argv[2]
clock, stop = SystemClock(), Event()

def draft(body):
    return Draft(time_ns=clock.wall_ns(), mono_ns=clock.monotonic_ns(), body=body)

delivery = Delivery(
    outbox_factory=lambda: SqliteOutbox(folder / "outbox.db", "box", "test", 1_000_000),
    uplink_factory=lambda run: FakeUplink(),
    settings=DeliverySettings(),
    topics=Topics("test", "box"),
    group_ms=0,
    clock=clock,
    on_committed=lambda events: None,
    first=lambda previous: draft(
        RunStarted(reason="first", version="0", bundle="b@1", runtime="none")
    ),
)
delivery.outbox_turn()
delivery.report(draft(ClockAnchor(step_s=3.0)))
pins = FilePins({"lamp": OutputConfig(pin=17)}, {}, print, folder / "pins")
pins.write("lamp", True)

worker = Worker(hanging, Event().wait, stop, clock, None, lambda: 0.0)
worker.start()
stop.set()
end_all([worker], (delivery.wake,), pins, delivery, within_s=0.5)
os.write(1, b"went on\\n")
"""


@pytest.mark.parametrize(("hanging", "seqs"), [("uplink", [1, 2]), ("outbox", [1])])
def test_a_thread_that_hangs_leaves_outputs_safe_and_events_on_disk(
    tmp_path: Path, hanging: str, seqs: list[int]
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), hanging]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1, ended.stderr
    assert b"went on" not in ended.stdout
    assert (tmp_path / "pins" / "out-lamp").read_text() == "0\n"
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as outbox:
        found = outbox.execute("SELECT seq FROM events ORDER BY row").fetchall()
        [(is_ended,)] = outbox.execute("SELECT ended FROM runs").fetchall()
    assert [seq for (seq,) in found] == seqs
    assert bool(is_ended) == (hanging == "uplink")
