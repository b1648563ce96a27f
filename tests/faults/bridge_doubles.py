"""Bridges that are broken on purpose, as processes: the fault tests must go red on each.

python -m tests.faults.bridge_doubles NAME --config FILE
"""

import signal
import sys
from pathlib import Path

from paho.mqtt import client as mqtt

from cloud_bridge.assembly import Parts
from cloud_bridge.commands.bridge import configure_log, serve
from cloud_bridge.forward.forwarding import Forwarding
from cloud_bridge.forward.keeping import Keeping
from cloud_bridge.forward.outcomes import Kept
from cloud_bridge.forward.paho_link import PahoLink
from cloud_bridge.ports import Arrival
from cloud_bridge.settings_file import read_config
from cloud_bridge.workers import STOP_SIGNALS

POISON = b'"seq":100,'


class AcknowledgingOnArrival(Forwarding):
    """PUBACK before publish."""

    def _take(self, arrival: Arrival) -> None:
        super()._take(arrival)
        self._parcel.mids.pop()
        self._link.acknowledge([arrival.mid])


class ReceiptBeforeConfirmation(Forwarding):
    def _hand_over(self) -> None:
        self._confirm(self._parcel.readings)
        super()._hand_over()


class DroppingLetters(Keeping):
    """Says that it kept what it threw away."""

    def turn(self) -> None:
        job = self._jobs.get()
        self._tell(Kept(job.parcel, job.letters))


class DyingOfACallback(PahoLink):
    """An exception in `on_message` reaches the thread."""

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if POISON in message.payload:
            raise KeyError("a mistake in a callback")
        super()._on_message(client, userdata, message)

    def turn(self, timeout_s: float, room: int) -> list[Arrival]:
        if self._client is None:
            self._get_ready(timeout_s)
        else:
            self._work(self._client, timeout_s, room)
        arrivals, self._arrivals = self._arrivals, []
        return arrivals


DOUBLES = {
    "acknowledging-on-arrival": Parts(forwarding=AcknowledgingOnArrival),
    "receipt-before-confirmation": Parts(forwarding=ReceiptBeforeConfirmation),
    "dropping-letters": Parts(keeping=DroppingLetters),
    "dying-of-a-callback": Parts(link=DyingOfACallback),
}


if __name__ == "__main__":
    name, _, config = sys.argv[1:]
    configure_log(as_json=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    sys.exit(serve(read_config(Path(config)), DOUBLES[name]))
