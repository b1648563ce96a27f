"""Parts of a device that are broken on purpose, for `delivering.py`: the chain must go red."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from device.core.delivery import DeliverySettings
from device.messaging.sqlite_outbox import SqliteOutbox
from device.ports import Appended
from device.wire.events import Draft


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


def trusting(settings: DeliverySettings) -> DeliverySettings:
    """The broker's word is taken for a receipt."""
    return replace(settings, mode="broker")


def boundless(settings: DeliverySettings) -> DeliverySettings:
    """All that there is goes out at once."""
    return replace(settings, window=60_000)


OUTBOXES: dict[str, type[SqliteOutbox]] = {
    "reusing-ids": ForgetfulOutbox,
    "hoarding": HoardingOutbox,
}
SETTINGS: dict[str, Callable[[DeliverySettings], DeliverySettings]] = {
    "delete-on-puback": trusting,
    "unbounded-window": boundless,
}
