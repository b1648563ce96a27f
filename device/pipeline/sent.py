"""Which events have been sent: a receipt counts for these, and for no others."""

from dataclasses import dataclass, field

from device.wire.names import EventId

PAGE_SEQS = 4096
PAGES_AT_MOST = 2000
"""Eight million events that nobody has confirmed, in a megabyte; the earliest are forgotten
first, and are sent once more before a receipt counts for them."""


@dataclass(slots=True)
class _Run:
    """pages: of each `PAGE_SEQS` numbers, a bit for each that waits for its receipt."""

    offset: int
    last_seq: int = 0
    pages: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """rows: of what was waiting. is_known: the range names nothing beyond what was sent."""

    rows: list[int]
    is_known: bool


class SentEvents:
    """What was sent since the process began and has no receipt yet, over all connections.

    A run's rows grow with its seqs, one by one, as both are given inside one transaction; so a
    run costs one number, and an event one bit. Events that another outbox has adopted begin a
    stretch of their own; those that were sent from both have two rows, and a receipt is for both.
    """

    def __init__(self) -> None:
        self._runs: dict[str, dict[int, _Run]] = {}
        """By the run's id, and by the offset of its stretches."""

    def add(self, event_id: str, row: int) -> None:
        """Raises WireError for an id that is none."""
        known = EventId.parse(event_id)
        offset = row - known.seq
        stretches = self._runs.setdefault(str(known.run), {})
        run = stretches.setdefault(offset, _Run(offset))
        run.last_seq = max(run.last_seq, known.seq)
        page, bit = divmod(known.seq, PAGE_SEQS)
        is_new = page not in run.pages
        run.pages[page] = run.pages.get(page, 0) | 1 << bit
        if is_new:
            self._forget()

    def take(self, run_id: str, first: int, last: int) -> Taken:
        """Rows of the seqs from `first` to `last`, both included, that wait for a receipt; they
        wait no longer. However wide the range is, it costs no more than what was sent."""
        rows = []
        last_seq = 0
        for run in self._runs.get(run_id, {}).values():
            last_seq = max(last_seq, run.last_seq)
            for page in _pages_within(run.pages, first // PAGE_SEQS, last // PAGE_SEQS):
                rows += [seq + run.offset for seq in _take(run.pages, page, first, last)]
        return Taken(rows, last <= last_seq)

    def _forget(self) -> None:
        runs = [run for stretches in self._runs.values() for run in stretches.values()]
        while sum(len(run.pages) for run in runs) > PAGES_AT_MOST:
            oldest = next(run for run in runs if run.pages)
            del oldest.pages[min(oldest.pages)]


def _pages_within(pages: dict[int, int], first: int, last: int) -> list[int]:
    """In order. A receipt may hold ten thousand ranges, each within one page: it must not look
    at all of them for each."""
    if last - first < len(pages):
        return [page for page in range(first, last + 1) if page in pages]
    return sorted(page for page in pages if first <= page <= last)


def _take(pages: dict[int, int], page: int, first: int, last: int) -> list[int]:
    start = page * PAGE_SEQS
    low, high = max(first - start, 0), min(last - start, PAGE_SEQS - 1)
    if low > high:
        return []
    wanted = ((1 << (high - low + 1)) - 1) << low
    found = pages[page] & wanted
    pages[page] &= ~wanted
    if not pages[page]:
        del pages[page]
    seqs = []
    while found:
        lowest = found & -found
        seqs.append(start + lowest.bit_length() - 1)
        found ^= lowest
    return seqs
