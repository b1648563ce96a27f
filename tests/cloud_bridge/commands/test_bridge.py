"""`lookout-cloud bridge`: how it ends when a library holds one of its threads."""

import subprocess
import sys

import pytest

from tests.tools import REPOSITORY

ENDING = """
import sys
from threading import Event
from types import SimpleNamespace
from cloud_bridge.clocks import SystemClock
from cloud_bridge.commands.bridge import leave
from cloud_bridge.workers import Worker

held = Worker("held", lambda: Event().wait(60.0), Event(), SystemClock(), lambda: 0.0)
held.start()
bridge = SimpleNamespace(link=SimpleNamespace(close=lambda: None))
leave(bridge, [held], int(sys.argv[1]))
"""


@pytest.mark.parametrize("code", [0, 1])
def test_a_thread_that_waits_in_a_library_does_not_hide_that_a_part_has_died(code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(code)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=20.0,
        check=False,
    )
    assert done.returncode == code, done.stderr
