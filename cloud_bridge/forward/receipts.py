"""Receipts of what this bridge saw confirmed, grouped by device and run."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from cloud_bridge.ports import Clock
from device.wire.names import Topics
from device.wire.receipts import Receipt, Refusal, encode_receipt, ranges_of

RANGES_AT_MOST = 500
"""In one receipt: an acknowledged event apart from others costs about 16 bytes."""

REFUSALS_AT_MOST = 50
HEALING_RANGES = 16
"""Of earlier receipts, repeated in each later one of the run: QoS 0 may lose one."""

RUNS_AT_MOST = 10_000
WAITING_AT_MOST = 200_000
"""Seqs that wait for a connection. What is dropped beyond is sent again by its device."""

REASON_CHARACTERS = 200

Run = tuple[str, str, str]
"""Registry, device, run."""


class ReceiptBook:
    """One thread's. every_s: how long receipts are gathered."""

    def __init__(self, clock: Clock, every_s: float) -> None:
        self._clock = clock
        self._every_ns = round(every_s * 1e9)
        self._confirmed: dict[Run, list[int]] = {}
        self._refused: dict[Run, dict[int, str]] = {}
        self._waiting = 0
        self._since_ns: int | None = None
        self._earlier: OrderedDict[Run, list[tuple[int, int]]] = OrderedDict()

    def confirm(self, registry: str, device: str, run: str, seqs: Sequence[int]) -> None:
        """Pub/Sub has confirmed these."""
        if self._waiting + len(seqs) > WAITING_AT_MOST:
            return
        self._confirmed.setdefault((registry, device, run), []).extend(seqs)
        self._note(len(seqs))

    def refuse(self, registry: str, device: str, run: str, seq: int, reason: str) -> None:
        """Its dead letter is on disk."""
        if self._waiting >= WAITING_AT_MOST:
            return
        self._refused.setdefault((registry, device, run), {})[seq] = reason[:REASON_CHARACTERS]
        self._note(1)

    def _note(self, count: int) -> None:
        self._waiting += count
        if self._since_ns is None:
            self._since_ns = self._clock.monotonic_ns()

    def due_in_s(self) -> float | None:
        """None: nothing waits."""
        if self._since_ns is None:
            return None
        return max(self._since_ns + self._every_ns - self._clock.monotonic_ns(), 0) / 1e9

    def take(self) -> Iterator[tuple[str, bytes]]:
        """Topic and payload of each receipt; nothing waits afterwards."""
        confirmed, self._confirmed = self._confirmed, {}
        refused, self._refused = self._refused, {}
        self._waiting, self._since_ns = 0, None
        for key in dict.fromkeys((*confirmed, *refused)):
            registry, device, run = key
            fresh = ranges_of(sorted(confirmed.get(key, ())))
            told = self._with_earlier(key, fresh)
            refusals = [
                Refusal(seq=seq, reason=reason) for seq, reason in refused.get(key, {}).items()
            ]
            topic = Topics(registry, device).receipts
            while told or refusals:
                part = Receipt(
                    run=run, ok=told[:RANGES_AT_MOST], refused=refusals[:REFUSALS_AT_MOST]
                )
                told, refusals = told[RANGES_AT_MOST:], refusals[REFUSALS_AT_MOST:]
                yield topic, encode_receipt(part)

    def _with_earlier(self, key: Run, fresh: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The run's latest ranges of earlier receipts, too; joined where they touch."""
        joined = join([*self._earlier.pop(key, []), *fresh])
        self._earlier[key] = joined[-HEALING_RANGES:]
        if len(self._earlier) > RUNS_AT_MOST:
            self._earlier.popitem(last=False)
        return joined


def join(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted, with those that touch or overlap made one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
