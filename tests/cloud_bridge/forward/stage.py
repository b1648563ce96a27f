"""A bridge without network or threads: every turn is a call, and everything else is a fake."""

import json
from collections.abc import Callable
from threading import Event
from typing import Any

from cloud_bridge.clocks import HandClock
from cloud_bridge.forward.fake_dead_letters import FakeDeadLetters
from cloud_bridge.forward.fake_link import FakeLink
from cloud_bridge.forward.fake_publisher import FakePublisher
from cloud_bridge.forward.forwarding import Bounds, Forwarding
from cloud_bridge.forward.gate import Gate
from cloud_bridge.forward.keeping import Keeping
from cloud_bridge.forward.publishing import Publishing, Retrying
from cloud_bridge.forward.reading import Reader
from cloud_bridge.forward.receipts import ReceiptBook
from cloud_bridge.forward.states import StateSlots
from cloud_bridge.health import Health
from cloud_bridge.ports import DeadLetters
from tests.kit.bridge import EVENTS

TOPIC = "home/devices/garden/events/detection"


class HandStop(Event):
    """Waits take no time; they are noted, and `after` of them the bridge stops."""

    def __init__(self, after: int | None = None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._after = after

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        if self._after is not None and len(self.waits) >= self._after:
            self.set()
        return self.is_set()


class Stage:
    """One bridge process; `link`, `publisher` and `letters` outlive it."""

    def __init__(
        self,
        link: FakeLink | None = None,
        publisher: FakePublisher | None = None,
        letters: DeadLetters | None = None,
        forwarding: type[Forwarding] = Forwarding,
        keeping: type[Keeping] = Keeping,
        held_messages: int = 4000,
        batch_messages: int = 100,
        stop_after: int | None = None,
        clock: HandClock | None = None,
        gather_s: float = 0.0,
    ) -> None:
        """gather_s: of batches and of receipts."""
        self.clock = clock or HandClock()
        self.link = link or FakeLink()
        self.publisher = publisher or FakePublisher({EVENTS: 1})
        self.letters = letters or FakeDeadLetters(10**6, self.clock)
        self.health = Health(self.clock)
        self.stop = HandStop(stop_after)
        self.states = StateSlots()
        self.forwarding = forwarding(
            self.link,
            Reader(frozenset({"home"}), "some-project", "global"),
            ReceiptBook(self.clock, gather_s),
            self.states,
            Bounds(
                held_messages=held_messages,
                held_bytes=10**7,
                batch_messages=batch_messages,
                batch_bytes=10**6,
                batch_s=gather_s,
            ),
            self.clock,
            self.health,
        )
        self.publishing = Publishing(
            self.forwarding.to_publish,
            self.publisher,
            EVENTS,
            Gate(is_open=True),
            self.forwarding.tell,
            self.forwarding.is_stale,
            Retrying("publishing events", self.health, self.stop, lambda: 0.0),
        )
        self.keeping = keeping(
            self.forwarding.to_keep,
            self.letters,
            self.forwarding.tell,
            self.health,
            self.stop,
            lambda: 0.0,
        )

    def take(self) -> None:
        """One turn of the link's thread."""
        self.link.wake()
        self.forwarding.turn()

    def publish(self) -> None:
        while not self.forwarding.to_publish.empty() and not self.stop.is_set():
            self.publishing.turn()

    def keep(self) -> None:
        while not self.forwarding.to_keep.empty():
            self.keeping.turn()

    def run(self, fact: Callable[[], object] | None = None, turns: int = 200) -> None:
        """All threads' turns, until the broker has nothing left, or `fact`."""
        fact = fact or (lambda: self.link.waiting == 0)
        for _ in range(turns):
            self.take()
            self.publish()
            self.keep()
            if fact():
                # Once more for the receipts of what was settled last.
                self.take()
                return
        raise AssertionError(f"not within {turns} turns; troubles: {self.health.troubles}")

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return [json.loads(sent.payload) for sent in self.link.sent]

    @property
    def confirmed(self) -> set[int]:
        """seqs that receipts name."""
        return {
            seq
            for receipt in self.receipts
            for first, last in receipt["ok"]
            for seq in range(first, last + 1)
        }

    @property
    def refusals(self) -> dict[int, str]:
        return {
            each["seq"]: each["reason"] for receipt in self.receipts for each in receipt["refused"]
        }

    @property
    def stored(self) -> list[int]:
        """seqs at Pub/Sub, in order of their arrival."""
        return [json.loads(body)["seq"] for body in self.publisher.bodies(EVENTS)]
