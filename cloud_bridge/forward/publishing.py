"""Parcels to Pub/Sub: tried for ever while trying may help, split where one message is refused."""

import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event

from cloud_bridge.clocks import WAITS, Waits
from cloud_bridge.errors import BlockedError, RejectedError, TransientError
from cloud_bridge.forward.gate import Gate
from cloud_bridge.forward.outcomes import Dropped, Outcome, Published
from cloud_bridge.forward.parcel import Parcel
from cloud_bridge.forward.reading import Reading
from cloud_bridge.forward.states import Slot, StateSlots
from cloud_bridge.ports import OutMessage, Publisher, Reporter

log = logging.getLogger(__name__)

TURN_S = 0.5

STATES_AT_ONCE = 500
STATES_BYTES = 4 * 1024 * 1024


class EndedError(Exception):
    """The bridge stops: what is not confirmed stays unacknowledged."""


class Retrying:
    """One call at a time, until it succeeds, is refused, or the bridge stops."""

    def __init__(
        self,
        part: str,
        reporter: Reporter,
        stop: Event,
        jitter: Callable[[], float],
        waits: Waits = WAITS,
    ) -> None:
        """part: names it in troubles. jitter: random, 0 to 1."""
        self._part = part
        self._reporter = reporter
        self._stop = stop
        self._jitter = jitter
        self._waits = waits

    @property
    def is_ended(self) -> bool:
        return self._stop.is_set()

    def call(self, action: Callable[[], None]) -> None:
        """Raises RejectedError of the action, and EndedError."""
        failures = 0
        while True:
            if self._stop.is_set():
                raise EndedError
            try:
                action()
            except TransientError as exc:
                failures += 1
                wait_s = self._waits.retry(failures, self._jitter())
                is_told = failures > 1  # twice in a row is no hiccup
                words = str(exc)
            except BlockedError as exc:
                failures += 1
                wait_s = self._waits.blocked(failures, self._jitter())
                is_told = True
                words = str(exc)
            except RejectedError:
                if failures:
                    self._reporter.well(self._part)  # it answers again
                raise
            else:
                if failures:
                    self._reporter.well(self._part)
                return
            self._reporter.add("retries")
            if is_told:
                self._reporter.trouble(self._part, words)
            self._stop.wait(wait_s)


class Publishing:
    """The turn of one publisher thread; several share the queue."""

    def __init__(
        self,
        parcels: SimpleQueue[Parcel],
        publisher: Publisher,
        topic: str,
        gate: Gate,
        tell: Callable[[Outcome], None],
        is_stale: Callable[[Parcel], bool],
        retrying: Retrying,
    ) -> None:
        self._parcels = parcels
        self._publisher = publisher
        self._topic = topic
        self._gate = gate
        self._tell = tell
        self._is_stale = is_stale
        self._retrying = retrying

    def turn(self) -> None:
        try:
            parcel = self._parcels.get(timeout=TURN_S)
        except Empty:
            return
        try:
            self._work(parcel)
        except EndedError:
            return
        except Exception:
            # Whatever it was: the parcel is not lost, the next turn takes it again.
            self._parcels.put(parcel)
            raise

    def _work(self, parcel: Parcel) -> None:
        while not self._gate.wait(TURN_S):
            if self._retrying.is_ended:
                raise EndedError
        if self._is_stale(parcel):
            self._tell(Dropped(parcel))
            return
        confirmed: list[Reading] = []
        refused: list[tuple[Reading, str]] = []
        self._publish(parcel.readings, confirmed, refused)
        self._tell(Published(parcel, confirmed, refused))

    def _publish(
        self,
        readings: list[Reading],
        confirmed: list[Reading],
        refused: list[tuple[Reading, str]],
    ) -> None:
        messages = [reading.message for reading in readings]

        def send() -> None:
            self._publisher.publish(self._topic, messages)

        try:
            self._retrying.call(send)
        except RejectedError as exc:
            if len(readings) == 1:
                refused.append((readings[0], f"Pub/Sub refuses it: {exc}"))
                return
            half = len(readings) // 2
            self._publish(readings[:half], confirmed, refused)
            self._publish(readings[half:], confirmed, refused)
        else:
            confirmed += readings


class StatePublishing:
    """The turn of the thread that publishes `state` and `availability`."""

    def __init__(
        self,
        slots: StateSlots,
        publisher: Publisher,
        topic: str,
        retrying: Retrying,
        reporter: Reporter,
    ) -> None:
        self._slots = slots
        self._publisher = publisher
        self._topic = topic
        self._retrying = retrying
        self._reporter = reporter

    def turn(self) -> None:
        taken = self._slots.take(STATES_AT_ONCE, STATES_BYTES, TURN_S)
        if not taken:
            return
        try:
            self._publish(taken)
        except EndedError:
            return
        except Exception:
            # Whatever it was: the next turn takes them again.
            self._slots.put_back(taken)
            raise

    def _publish(self, taken: dict[Slot, OutMessage]) -> None:
        def send() -> None:
            try:
                self._publisher.publish(self._topic, list(taken.values()))
            except (TransientError, BlockedError):
                # A newer one may have come meanwhile: it goes out instead.
                self._slots.put_back(taken)
                taken.clear()
                taken.update(self._slots.take(STATES_AT_ONCE, STATES_BYTES, 0.0))
                raise

        try:
            self._retrying.call(send)
        except RejectedError as exc:
            if len(taken) == 1:
                self._refuse(next(iter(taken)), exc)
                return
            for slot, message in taken.items():
                self._one(slot, message)

    def _one(self, slot: Slot, message: OutMessage) -> None:
        try:
            self._publisher.publish(self._topic, [message])
        except RejectedError as exc:
            self._refuse(slot, exc)
        except (TransientError, BlockedError):
            self._slots.put_back({slot: message})  # for the next turn

    def _refuse(self, slot: Slot, exc: RejectedError) -> None:
        """Let go: a newer one follows, and the broker retains this one."""
        self._reporter.add("states_refused")
        log.warning("state refused by Pub/Sub %s/%s/%s: %s", *slot, exc)
