"""Drafts to events: what every outbox does in the same way, whatever it keeps them in."""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from device.wire.bodies import Gap, LostRange
from device.wire.errors import WireError
from device.wire.events import Draft, Event, decode, encode
from device.wire.names import EventId, RunId, is_name

log = logging.getLogger(__name__)

ROW_OVERHEAD_BYTES = 120
"""What a row costs beside its payload: key, run, seq, subfolder, index entry, page slack."""

GAP_ROOM_BYTES = 1000

MOST_RANGES = 200
"""Runs that one gap event names: each takes about 80 bytes, and an event has 64 KiB at most."""


def chunk_bytes(over_bytes: int, bound_bytes: int) -> int:
    """How much to expel for `over_bytes`: a hundredth of the bound at least, or each new event
    would bring a gap event of its own; and room for that gap event."""
    return max(over_bytes + GAP_ROOM_BYTES, bound_bytes // 100)


def size_of(payload: bytes) -> int:
    """Bytes that an event counts for against the outbox's bound."""
    return len(payload) + ROW_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event and its bytes; is_oversize: it stands for a draft that was too large to send."""

    event: Event
    payload: bytes
    is_oversize: bool = False


@dataclass(frozen=True, slots=True)
class Numberer:
    """Gives drafts their ids."""

    device: str
    registry: str
    run: RunId
    is_durable: bool = True

    def number(self, draft: Draft, seq: int) -> Numbered:
        """A draft over the size limit becomes a gap event under the same seq: the broker would
        drop the connection for it, again and again."""
        event = Event(
            id=EventId(self.device, self.run, seq),
            registry=self.registry,
            draft=draft,
            is_durable=self.is_durable,
        )
        try:
            return Numbered(event, encode(event))
        except (WireError, UnicodeError):  # too large, or half a surrogate pair in a text
            gap = Gap(reason="oversize", counts={draft.body.subfolder: 1})
            small = replace(event, draft=replace(draft, body=gap))
            return Numbered(small, encode(small), is_oversize=True)

    def number_all(self, drafts: Sequence[Draft], last_seq: int) -> list[Numbered]:
        return [self.number(draft, seq) for seq, draft in enumerate(drafts, last_seq + 1)]


class Lost:
    """What was expelled, or cannot be read any more, told as one gap event."""

    def __init__(self, reason: Literal["full", "disk"] = "full") -> None:
        self._reason = reason
        self._counts: Counter[str] = Counter()
        self._ranges: dict[str, LostRange] = {}
        self.rows = 0
        self.expelled = 0
        """Without gap events: what they tell of was counted when it went."""
        self.size_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it names as many runs as fit into one event."""
        return len(self._ranges) >= MOST_RANGES

    def add(
        self, run: object, seq: object, subfolder: object, payload: object, stored: object
    ) -> None:
        """An expelled gap event is counted, and what it told of is not forgotten with it. Values
        that a damaged file made up are counted, and not passed on. stored: what the outbox held of
        the payload."""
        self.rows += 1
        self.size_bytes += size_of(stored if isinstance(stored, bytes) else b"")
        is_named = isinstance(subfolder, str) and is_name(subfolder)
        self._counts[str(subfolder) if is_named else "unreadable"] += 1
        with suppress(WireError):
            if isinstance(seq, int) and seq >= 1:
                name = str(RunId.parse(str(run)))
                self._extend(LostRange(run=name, first=seq, last=seq, count=1))
        if subfolder == Gap.subfolder:
            self._add_gap(payload)
        else:
            self.expelled += 1

    def _add_gap(self, payload: object) -> None:
        try:
            body = decode(payload if isinstance(payload, bytes) else b"").body
        except WireError as exc:
            log.error("a gap event cannot be read, what it told of is lost: %s", exc)
            return
        if isinstance(body, Gap):
            self._counts.update(body.counts)
            for each in body.ranges:
                self._extend(each)

    def _extend(self, more: LostRange) -> None:
        known = self._ranges.get(more.run)
        if known is None:
            self._ranges[more.run] = more
            return
        self._ranges[more.run] = LostRange(
            run=more.run,
            first=min(known.first, more.first),
            last=max(known.last, more.last),
            count=known.count + more.count,
        )

    def gap(self) -> Gap:
        return Gap(
            reason=self._reason,
            counts=dict(self._counts),
            ranges=list(self._ranges.values())[:MOST_RANGES],
        )
