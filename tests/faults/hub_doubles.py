"""Hubs that are broken on purpose, as processes.

python -m tests.faults.hub_doubles NAME --config FILE
"""

import signal
import sys
from pathlib import Path
from threading import Thread

from cloud_bridge.assembly import Parts
from cloud_bridge.commands.bridge import configure_log
from cloud_bridge.commands.hub import serve
from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.settings_file import read_config
from cloud_bridge.workers import STOP_SIGNALS
from tests.faults.bridge_doubles import AcknowledgingOnArrival


class DyingPubsub(LocalPubsub):
    """Its thread dies on SIGUSR1, which must be blocked in every thread."""

    def is_alive(self) -> bool:
        if not hasattr(self, "_killer"):
            self._killer = Thread(target=self._die_on_signal, daemon=True)
            self._killer.start()
        return super().is_alive()

    def _die_on_signal(self) -> None:
        signal.sigwait({signal.SIGUSR1})
        self._loop.call_soon_threadsafe(self._loop.stop)


DOUBLES: dict[str, tuple[Parts, type[LocalPubsub]]] = {
    "acknowledging-on-arrival": (Parts(forwarding=AcknowledgingOnArrival), LocalPubsub),
    "dying": (Parts(), DyingPubsub),
}


if __name__ == "__main__":
    name, _, config_file = sys.argv[1:]
    configure_log(as_json=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGUSR1})
    config = read_config(Path(config_file))
    if config.hub is None:
        raise SystemExit("want settings of a hub")
    sys.exit(serve(config, config.hub, *DOUBLES[name]))
