"""Delivery on a stage, turned by hand on one thread; disk and broker fail when they are told to."""

from collections.abc import Callable, Sequence
from typing import Any

from device.clocks import HandClock
from device.core.delivery import SPARE_FIRST_ROW, DeliveryMode, DeliverySettings
from device.errors import TransientError
from device.messaging.fake_uplink import FakeUplink
from device.messaging.memory_outbox import MemoryOutbox
from device.pipeline.deliver import Delivery
from device.ports import Appended, Outbox, PreviousRun, StoredEvent
from device.wire.bodies import Body, ClockAnchor, RunStarted
from device.wire.events import Draft, Event, decode
from device.wire.names import RunId, Topics


def draft(body: Body) -> Draft:
    return Draft(time_ns=1_764_000_000_000_000_000, mono_ns=1, body=body)


def first(previous: PreviousRun | None) -> Draft:
    reason = "first" if previous is None else "stopped" if previous.ended_cleanly else "died"
    return draft(RunStarted(reason=reason, version="1", bundle="b", runtime="r"))


def anchor(number: int) -> Draft:
    return draft(ClockAnchor(step_s=float(number)))


class FailingDisk:
    """A real outbox behind a disk that refuses: writes while `is_broken`, reads while
    `is_unreadable`. on_read: called after each reading, before its rows are given back."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.is_broken = False
        self.is_unreadable = False
        self.on_read: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever an outbox has
        return getattr(self._outbox, name)

    def append_all(self, drafts: Sequence[Draft]) -> Appended:
        self._refuse()
        return self._outbox.append_all(drafts)

    def adopt(self, events: Sequence[StoredEvent]) -> Appended:
        self._refuse()
        return self._outbox.adopt(events)

    def oldest(self, limit: int, after_row: int = 0) -> list[StoredEvent]:
        if self.is_unreadable:
            raise TransientError("input/output error")
        found = self._outbox.oldest(limit, after_row)
        self.on_read()
        return found

    def remove(self, rows: Sequence[int]) -> None:
        self._refuse()
        self._outbox.remove(rows)

    def _refuse(self) -> None:
        if self.is_broken:
            raise TransientError("disk full")


class Stage:
    """A delivery, its two ends, and its clock."""

    def __init__(
        self,
        outbox: Callable[[], Outbox] | None = None,
        uplink: FakeUplink | None = None,
        window: int = 8,
        has_spare: bool = False,
        mode: DeliveryMode = "broker",
        clock: HandClock | None = None,
    ) -> None:
        self.clock = clock or HandClock()
        self.uplink = uplink or FakeUplink(acknowledges=True)
        self.outbox = MemoryOutbox("garden", "home", 10_000_000, is_durable=True)
        self.told: list[Event] = []
        self.runs: list[RunId] = []
        self.is_deaf = False
        self.delivery = Delivery(
            outbox_factory=outbox or (lambda: self.outbox),
            uplink_factory=self._uplink_of,
            settings=DeliverySettings(mode=mode, window=window, live_share=0.25),
            topics=Topics("home", "garden"),
            group_ms=0,
            clock=self.clock,
            on_committed=self._hear,
            first=first,
            spare_factory=self._spare if has_spare else None,
            jitter=lambda: 0.0,
            turn_s=0.0,
        )

    def _hear(self, pairs: Sequence[tuple[Event, object]]) -> None:
        self.told.extend(event for event, _ in pairs)
        if self.is_deaf:
            raise ValueError("a listener failed")

    def _uplink_of(self, run: RunId) -> FakeUplink:
        self.runs.append(run)
        return self.uplink

    def _spare(self, previous: PreviousRun | None) -> Outbox:
        return MemoryOutbox("garden", "home", 100_000, previous=previous, first_row=SPARE_FIRST_ROW)

    def turn(self, times: int = 1) -> None:
        """Both threads' turns; nothing waits, because time is the test's."""
        for _ in range(times):
            self.delivery.outbox_turn()
            self.uplink.wake()
            self.delivery.uplink_turn()
            self.clock.advance(0.2)

    @property
    def sent(self) -> list[float]:
        """The step of each anchor that reached the broker, in order."""
        bodies = [decode(event.payload).body for event in self.uplink.published]
        return [body.step_s for body in bodies if isinstance(body, ClockAnchor)]
