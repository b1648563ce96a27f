"""The bridge as a process, with all its waits for Pub/Sub cut short; or a double that is broken on
purpose, just as hurried.

python -m tests.faults.hurried_bridge NAME --config FILE
"""

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cloud_bridge.assembly import Parts
from cloud_bridge.clocks import Waits
from cloud_bridge.commands.bridge import configure_log, serve
from cloud_bridge.downlink.sending import Sending
from cloud_bridge.errors import BlockedError, RejectedError, TransientError
from cloud_bridge.forward.forwarding import Forwarding
from cloud_bridge.forward.gate import Gate, Watching
from cloud_bridge.forward.keeping import Keeping
from cloud_bridge.forward.publishing import Publishing, StatePublishing
from cloud_bridge.forward.reading import Reading
from cloud_bridge.ports import Letter, Publisher, Reporter
from cloud_bridge.settings_file import read_config
from cloud_bridge.workers import STOP_SIGNALS, stop_signal_within

WAITS = Waits(
    retry_s=(0.02, 0.1),
    blocked_s=(0.05, 0.1),
    disk_s=(0.1, 0.2),
    library_retry_s=0.05,
    call_s=0.5,
    pull_s=0.3,
)


class FinalErrors(Publishing):
    """Takes every error for a refusal of the messages."""

    def _publish(
        self,
        readings: list[Reading],
        confirmed: list[Reading],
        refused: list[tuple[Reading, str]],
    ) -> None:
        try:
            self._publisher.publish(self._topic, [each.message for each in readings])
        except (TransientError, BlockedError, RejectedError) as exc:
            refused += [(each, str(exc)) for each in readings]
        else:
            confirmed += readings


class ConfirmingErrors(Publishing):
    """Takes a call that was made for one that was answered well."""

    def _publish(
        self,
        readings: list[Reading],
        confirmed: list[Reading],
        refused: list[tuple[Reading, str]],
    ) -> None:
        with suppress(TransientError, BlockedError, RejectedError):
            self._publisher.publish(self._topic, [each.message for each in readings])
        confirmed += readings


class SilentErrors(Publishing):
    """Tries again, and tells nobody."""

    def _publish(
        self,
        readings: list[Reading],
        confirmed: list[Reading],
        refused: list[tuple[Reading, str]],
    ) -> None:
        while not self._retrying.is_ended:
            with suppress(TransientError, BlockedError):
                self._publisher.publish(self._topic, [each.message for each in readings])
                confirmed += readings
                return
            self._retrying._stop.wait(0.05)


class Undivided(Publishing):
    """Refuses all messages of a batch for one of them."""

    def _publish(
        self,
        readings: list[Reading],
        confirmed: list[Reading],
        refused: list[tuple[Reading, str]],
    ) -> None:
        def send() -> None:
            self._publisher.publish(self._topic, [each.message for each in readings])

        try:
            self._retrying.call(send)
        except RejectedError as exc:
            refused += [(each, str(exc)) for each in readings]
        else:
            confirmed += readings


class ForgettingStates(StatePublishing):
    """A state that cannot be published now is never published."""

    def turn(self) -> None:
        taken = self._slots.take(100, 10**6, 0.1)
        if taken:
            with suppress(TransientError, BlockedError, RejectedError):
                self._publisher.publish(self._topic, list(taken.values()))


class LyingKeeper(Keeping):
    """Takes a letter that the disk refused for one that is kept."""

    def turn(self) -> None:
        super().turn()
        while self._held:
            self._done(self._held.pop(0))


class WaitingForLetters(Forwarding):
    """Publishes nothing while a dead letter is not on disk: one bad event blocks those behind."""

    def _hand_over(self) -> None:
        self._wait = getattr(self, "_wait", False) or bool(self._parcel.letters)
        if self._wait:
            self._parcel.readings = []
            self._parcel.letters = self._parcel.letters or [
                Letter(topic="t", payload=b"", reason="behind a dead letter")
            ]
        super()._hand_over()


class HurriedWatching(Watching):
    def __init__(
        self,
        gate: Gate,
        publisher: Publisher,
        topic: str,
        every_s: float,
        reporter: Reporter,
        pause: Callable[[float], object],
    ) -> None:
        super().__init__(gate, publisher, topic, every_s / 10, reporter, pause)


class CarelessWatching(HurriedWatching):
    """Forwards, whatever counting the subscriptions says."""

    def _stay_shut(self, words: str) -> None:
        self._reporter.trouble("subscriptions", words)
        self._gate.open()
        self._pause(self._every_s)


class AcknowledgingFirst(Sending):
    """Tells Pub/Sub that it has a command before the broker has it, and then cannot."""

    def turn(self) -> None:
        try:
            received = self._source.pull()
            self._source.acknowledge([each.ack_id for each in received])
            self._pass_on(received)
        except (TransientError, BlockedError) as exc:
            self._reporter.trouble("downlink", str(exc))
            self._pause(0.1)


HURRIED = Parts(waits=WAITS, status_every_s=0.05, watching=HurriedWatching)

BRIDGES = {
    "sound": HURRIED,
    "final-errors": replace(HURRIED, publishing=FinalErrors),
    "confirming-errors": replace(HURRIED, publishing=ConfirmingErrors),
    "silent-errors": replace(HURRIED, publishing=SilentErrors),
    "undivided": replace(HURRIED, publishing=Undivided),
    "forgetting-states": replace(HURRIED, state_publishing=ForgettingStates),
    "careless-watching": replace(HURRIED, watching=CarelessWatching),
    "lying-keeper": replace(HURRIED, keeping=LyingKeeper),
    "waiting-for-letters": replace(HURRIED, forwarding=WaitingForLetters),
    "acknowledging-first": replace(HURRIED, sending=AcknowledgingFirst),
}


if __name__ == "__main__":
    name, _, config = sys.argv[1:]
    configure_log(as_json=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    sys.exit(serve(read_config(Path(config)), BRIDGES[name], lambda _: stop_signal_within(0.1)))
