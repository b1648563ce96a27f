"""Parts of a device that are broken on purpose, for `delivering.py`: the chain must go red."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from device.config import MqttConfig
from device.core.delivery import DeliverySettings, backoff_s
from device.messaging.paho_uplink import PahoUplink
from device.messaging.retries import Retries
from device.messaging.sqlite_outbox import SqliteOutbox
from device.ports import Appended, Clock, StoredEvent
from device.wire.events import Draft
from device.wire.names import RunId, Topics


class ForgetfulOutbox(SqliteOutbox):
    """Takes every run for the first one, and has no random digits: ids come again."""

    def __init__(self, path: Path, device: str, registry: str, max_bytes: int) -> None:
        if path.exists():
            with closing(sqlite3.connect(path)) as db:
                db.execute("DELETE FROM runs")
                db.commit()
        super().__init__(path, device, registry, max_bytes, digits=lambda: "0badcafe")


class HoardingOutbox(SqliteOutbox):
    """Keeps about a kilobyte of each event in memory, for ever."""

    kept: ClassVar[list[bytes]] = []

    def append_all(self, drafts: Sequence[Draft]) -> Appended:
        appended = super().append_all(drafts)
        self.kept.extend(each.payload.ljust(1000)[:1000] for each in appended.stored)
        return appended


class OldestFirst(SqliteOutbox):
    """Hands a new event out only after all that came before it."""

    _handed = 0

    def oldest(self, limit: int, after_row: int = 0) -> list[StoredEvent]:
        found = super().oldest(limit, min(after_row, self._handed))
        if found:
            self._handed = found[-1].row
        return found


class MinuteRetries(Retries):
    """Waits twice as long after each failure, however short the outage, with the worst dice."""

    def fail(self, now_ns: int) -> float:
        self.failures += 1
        wait_s = backoff_s(self.failures, 1.0)
        self._due_ns = now_ns + round(wait_s * 1e9)
        return wait_s


class WaitingAMinute(PahoUplink):
    def __init__(
        self,
        config: MqttConfig,
        topics: Topics,
        run: RunId,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        super().__init__(config, topics, run, clock, jitter)
        self._retries = MinuteRetries(jitter, clock.monotonic_ns())


def trusting(settings: DeliverySettings) -> DeliverySettings:
    """The broker's word is taken for a receipt."""
    return replace(settings, mode="broker")


def boundless(settings: DeliverySettings) -> DeliverySettings:
    """All that there is goes out at once."""
    return replace(settings, window=60_000)


OUTBOXES: dict[str, type[SqliteOutbox]] = {
    "reusing-ids": ForgetfulOutbox,
    "hoarding": HoardingOutbox,
    "oldest-first": OldestFirst,
}
UPLINKS: dict[str, type[PahoUplink]] = {"waits-a-minute": WaitingAMinute}
SETTINGS: dict[str, Callable[[DeliverySettings], DeliverySettings]] = {
    "delete-on-puback": trusting,
    "unbounded-window": boundless,
}
