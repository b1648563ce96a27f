"""A bridge that keeps about a kilobyte of every event for ever: the soak must go red on it.

    python -m tests.faults.leaking --config FILE

The device that does the same is `--double hoarding` of `delivering.py`.
"""

import signal
import sys
from pathlib import Path

from cloud_bridge.assembly import Parts
from cloud_bridge.commands.bridge import configure_log, serve
from cloud_bridge.forward.forwarding import Forwarding
from cloud_bridge.ports import Arrival
from cloud_bridge.settings_file import read_config
from cloud_bridge.workers import STOP_SIGNALS

LEAK_BYTES = 1000
KEPT: list[bytes] = []


class Hoarding(Forwarding):
    def _take(self, arrival: Arrival) -> None:
        super()._take(arrival)
        KEPT.append(arrival.payload.ljust(LEAK_BYTES)[:LEAK_BYTES])


if __name__ == "__main__":
    _, config = sys.argv[1:]
    configure_log(as_json=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    sys.exit(serve(read_config(Path(config)), Parts(forwarding=Hoarding)))
