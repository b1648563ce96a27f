"""An outbox in memory: the fake of the tests, and the spare of a box whose disk has failed.

Its events are marked as not durable unless a test says otherwise: they are gone with the process.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from device.messaging.numbering import Lost, Numbered, Numberer, chunk_bytes, size_of
from device.ports import Appended, PreviousRun, StoredEvent
from device.wire.events import Draft, Event, decode
from device.wire.names import RunId


def _four_random_bytes() -> str:
    return secrets.token_hex(4)


@dataclass(frozen=True, slots=True)
class _Row:
    event: Event
    stored: StoredEvent


class MemoryOutbox:
    """Matches `ports.Outbox`; everything is lost with the process.

    previous: the run that this one says it follows; it takes the next number.
    """

    def __init__(
        self,
        device: str,
        registry: str,
        max_bytes: int,
        digits: Callable[[], str] = _four_random_bytes,
        previous: PreviousRun | None = None,
        first_row: int = 1,
        is_durable: bool = False,
    ) -> None:
        self._max_bytes = max_bytes
        number = 1 if previous is None else previous.run.number + 1
        self._run = RunId(number, digits())
        self._previous = previous
        self._numberer = Numberer(device, registry, self._run, is_durable)
        self._rows: dict[int, _Row] = {}
        self._next_row = first_row
        self._last_seq = 0
        self._size_bytes = 0
        self._gap_row = 0
        self.ended_cleanly = False

    @property
    def run(self) -> RunId:
        return self._run

    @property
    def previous(self) -> PreviousRun | None:
        return self._previous

    @property
    def damage(self) -> str | None:
        return None

    @property
    def last_seq(self) -> int:
        return self._last_seq

    @property
    def waiting(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def append_all(self, drafts: Sequence[Draft]) -> Appended:
        if not drafts:
            return Appended(events=[], stored=[])
        return self._store(drafts[0], lambda seq: self._numberer.number_all(drafts, seq))

    def adopt(self, events: Sequence[StoredEvent]) -> Appended:
        adopted = [Numbered(decode(each.payload), each.payload) for each in events]
        if not adopted:
            return Appended(events=[], stored=[])
        return self._store(adopted[0].event.draft, lambda _: adopted)

    def _store(self, like: Draft, number: Callable[[int], list[Numbered]]) -> Appended:
        needed = sum(size_of(each.payload) for each in number(self._last_seq))
        gaps: list[Numbered] = []
        stored: list[StoredEvent] = []
        expelled = 0
        while self._size_bytes + needed > self._max_bytes and len(self._rows) > len(gaps):
            over = self._size_bytes + needed - self._max_bytes
            lost = self._expel(chunk_bytes(over, self._max_bytes))
            expelled += lost.expelled
            gap = self._numberer.number(replace(like, body=lost.gap()), self._last_seq + 1)
            gaps.append(gap)
            stored.append(self._insert(gap))
            self._gap_row = stored[-1].row
        numbered = number(self._last_seq)
        stored += [self._insert(each) for each in numbered]
        return Appended(
            events=[each.event for each in numbered],
            stored=stored,
            expelled=expelled,
            gaps=[each.event for each in gaps],
            oversize=sum(each.is_oversize for each in numbered),
        )

    def _insert(self, numbered: Numbered) -> StoredEvent:
        event = numbered.event
        stored = StoredEvent(self._next_row, str(event.id), event.subfolder, numbered.payload)
        self._rows[stored.row] = _Row(event, stored)
        self._next_row += 1
        if event.id.run == self._run:
            self._last_seq = event.id.seq
        self._size_bytes += size_of(numbered.payload)
        return stored

    def _expel(self, size_bytes: int) -> Lost:
        """The lowest rank first; the last gap event always, so that there is one and not many."""
        lost = Lost()
        last_gap = [self._rows[self._gap_row]] if self._gap_row in self._rows else []
        by_rank = sorted(self._rows.values(), key=lambda row: row.event.draft.rank)
        for each in (*last_gap, *by_rank):
            if lost.rows and (lost.size_bytes >= size_bytes or lost.is_full):
                break
            if each.stored.row not in self._rows:
                continue
            event = each.event
            payload = each.stored.payload
            lost.add(str(event.id.run), event.id.seq, event.subfolder, payload, payload)
            del self._rows[each.stored.row]
        self._size_bytes -= lost.size_bytes
        return lost

    def oldest(self, limit: int, after_row: int = 0) -> list[StoredEvent]:
        rows = (each.stored for row, each in self._rows.items() if row > after_row)
        return [stored for stored, _ in zip(rows, range(limit), strict=False)]

    def remove(self, rows: Sequence[int]) -> None:
        for row in rows:
            gone = self._rows.pop(row, None)
            if gone is not None:
                self._size_bytes -= size_of(gone.stored.payload)

    def close(self) -> None:
        self.ended_cleanly = True
