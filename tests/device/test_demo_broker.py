"""The demo's broker: heard of when it ends by itself."""

import os
import signal
from pathlib import Path

import pytest

from device.demo_broker import DemoBroker
from device.errors import TransientError
from tests.kit.leftovers import processes_of
from tests.kit.waiting import wait_until


def test_a_broker_that_ends_by_itself_is_named(tmp_path: Path) -> None:
    broker = DemoBroker(tmp_path)
    try:
        broker.check()
        [pid] = processes_of(tmp_path)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _has_ended(broker), "its end is heard of")
        with pytest.raises(TransientError, match=r"ended by itself with code -9; its last words:"):
            broker.check()
    finally:
        broker.close()


def _has_ended(broker: DemoBroker) -> bool:
    try:
        broker.check()
    except TransientError:
        return True
    return False
