"""What one subscription hands out, to whom, until when: a state in memory, without I/O or clock.

A message is ready, leased to somebody, resting after a failure, or only on disk. Memory is
bounded: messages are read ahead up to `ready_bytes`, and no more than `held_bytes` are out or
resting at a time. Acknowledging goes by the message and not by the lease, so that one which comes
late, even after a restart, still counts.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloud_bridge.local_pubsub.settings import Rules

READY_BYTES = 8_000_000
HELD_BYTES = 64_000_000
SECOND_NS = 1_000_000_000
ENTRY_BYTES = 400
"""What a message takes in memory beside its body, roughly; so small ones are bounded too."""


@dataclass(slots=True, eq=False)
class Holder:
    """Somebody to whom messages are leased, and how much of it."""

    messages: int = 0
    size_bytes: int = 0


@dataclass(slots=True, eq=False)
class Entry:
    """A message of this subscription in memory. attempts: deliveries that have failed."""

    id: int
    body: bytes
    attempts: int = 0
    lease: int = 0
    """The number of its lease; 0: it is leased to nobody."""
    deadline_ns: int = 0
    holder: Holder | None = None
    is_held: bool = False
    """Leased, or back from a lease: it counts towards `held_bytes`."""

    @property
    def size_bytes(self) -> int:
        return len(self.body) + ENTRY_BYTES


class Delivery:
    """Times are monotonic, in ns; those who call it bring them."""

    def __init__(
        self,
        rules: Rules,
        last_lease: int = 0,
        ready_bytes: int = READY_BYTES,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        """last_lease: leases are numbered from here on; no two runs may share a number."""
        self.rules = rules
        self._ready_bytes_at_most = ready_bytes
        self._held_bytes_at_most = held_bytes
        self._known: dict[int, Entry] = {}
        self._ready: deque[Entry] = deque()
        self._again: list[tuple[int, Entry]] = []
        """Back from a failed delivery; a heap by id."""
        self._resting: list[tuple[int, int, Entry]] = []
        self._deadlines: list[tuple[int, int, Entry]] = []
        """Heaps by time. An entry whose time or lease has changed stands there in vain."""
        self._ready_bytes = 0
        self._held_bytes = 0
        self._last_lease = last_lease
        self._leased = 0
        self._failures: dict[int, int] = {}
        self.last_id = 0
        """The newest message that is or was in memory; what is newer is on disk alone."""
        self.is_caught_up = False
        """Nothing waits on disk alone, so a new message may come straight into memory."""

    # --- in -------------------------------------------------------------------------------------

    def offer(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """New messages, which are on disk by now; left there where memory is full."""
        for identity, body in messages:
            if self._ready_bytes >= self._ready_bytes_at_most:
                self.is_caught_up = False
            if not self.is_caught_up:
                return
            self._add(Entry(identity, body))

    def wants_more(self) -> bool:
        """Whether to read from the disk what follows `last_id`."""
        return not self.is_caught_up and self._ready_bytes < self._ready_bytes_at_most // 2

    def refill(
        self, messages: Iterable[tuple[int, int, bytes]], are_all: bool, last_id: int = 0
    ) -> None:
        """messages: (id, failed deliveries, body), as the disk has them behind `last_id`.

        last_id: how far was read, where that is further than the last of `messages`.
        """
        for identity, attempts, body in messages:
            self._add(Entry(identity, body, attempts))
        self.last_id = max(self.last_id, last_id)
        self.is_caught_up = are_all

    def _add(self, entry: Entry) -> None:
        self._known[entry.id] = entry
        self._ready.append(entry)
        self._ready_bytes += entry.size_bytes
        self.last_id = entry.id

    # --- out ------------------------------------------------------------------------------------

    def take(
        self, now_ns: int, count: int, max_bytes: int, lease_s: float, holder: Holder
    ) -> list[Entry]:
        """Lease up to `count` messages; the first may be larger than `max_bytes`."""
        taken: list[Entry] = []
        size_bytes = 0
        while len(taken) < count and (entry := self._first()) is not None:
            if taken and size_bytes + len(entry.body) > max_bytes:
                break
            self._lease(entry, now_ns + round(lease_s * SECOND_NS), holder)
            size_bytes += len(entry.body)
            taken.append(entry)
        return taken

    def has_ready(self) -> bool:
        return self._first() is not None

    def _first(self) -> Entry | None:
        """The message to go next, still in its place."""
        while self._again and not self._is_waiting(self._again[0][1]):
            heapq.heappop(self._again)
        if self._again:
            return self._again[0][1]
        while self._ready and not self._is_waiting(self._ready[0]):
            self._ready.popleft()
        if self._ready and self._held_bytes < self._held_bytes_at_most:
            return self._ready[0]
        return None

    def _is_waiting(self, entry: Entry) -> bool:
        return self._known.get(entry.id) is entry and not entry.lease

    def _lease(self, entry: Entry, deadline_ns: int, holder: Holder) -> None:
        if self._again and self._again[0][1] is entry:
            heapq.heappop(self._again)
        else:
            self._ready.popleft()
            self._ready_bytes -= entry.size_bytes
            self._held_bytes += entry.size_bytes
            entry.is_held = True
        self._last_lease += 1
        entry.lease = self._last_lease
        self._leased += 1
        entry.holder = holder
        holder.messages += 1
        holder.size_bytes += len(entry.body)
        self._extend(entry, deadline_ns)

    def _extend(self, entry: Entry, deadline_ns: int) -> None:
        entry.deadline_ns = deadline_ns
        heapq.heappush(self._deadlines, (deadline_ns, entry.id, entry))
        if len(self._deadlines) > 2 * self._leased + 1000:
            # Else what was acknowledged long ago would stay in memory until its deadline.
            self._deadlines = [
                each for each in self._deadlines if each[2].lease and each[2].deadline_ns == each[0]
            ]
            heapq.heapify(self._deadlines)

    # --- back -----------------------------------------------------------------------------------

    def forget(self, identity: int) -> None:
        """It was acknowledged, or has gone another way; what is not known is no error."""
        entry = self._known.pop(identity, None)
        if entry is None:
            return
        self._failures.pop(identity, None)
        if entry.is_held:
            self._held_bytes -= entry.size_bytes
        else:
            self._ready_bytes -= entry.size_bytes
        self._release(entry)

    def modify(self, identity: int, lease: int, now_ns: int, seconds: int) -> Entry | None:
        """Extend a lease, or end it with 0 s; ignored when it has ended already.

        Returns the message when it has failed for the last time that its rules allow.
        """
        entry = self._known.get(identity)
        if entry is None or not lease or entry.lease != lease:
            return None
        if seconds == 0:
            return self._fail(entry, now_ns)
        self._extend(entry, now_ns + seconds * SECOND_NS)
        return None

    def turn(self, now_ns: int) -> list[Entry]:
        """End the leases whose time is over, wake what has rested; those that failed too often."""
        exhausted: list[Entry] = []
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            deadline_ns, _, entry = heapq.heappop(self._deadlines)
            if entry.lease and entry.deadline_ns == deadline_ns:
                failed = self._fail(entry, now_ns)
                exhausted += [failed] if failed is not None else []
        while self._resting and self._resting[0][0] <= now_ns:
            _, identity, entry = heapq.heappop(self._resting)
            heapq.heappush(self._again, (identity, entry))
        return exhausted

    def take_failures(self) -> dict[int, int]:
        """How often messages have failed, of those for which it has grown since the last call.

        Only where a dead-letter policy counts them.
        """
        failures, self._failures = self._failures, {}
        return failures

    def return_failures(self, failures: Mapping[int, int]) -> None:
        """Such as could not be noted; newer ones win."""
        self._failures = {**failures, **self._failures}

    def leased(self) -> int:
        """How many messages are out."""
        return self._leased

    def rest(self, entry: Entry, until_ns: int) -> None:
        """Keep back a message that is leased to nobody."""
        heapq.heappush(self._resting, (until_ns, entry.id, entry))

    def _fail(self, entry: Entry, now_ns: int) -> Entry | None:
        self._release(entry)
        entry.attempts += 1
        if self.rules.max_attempts is not None:
            self._failures[entry.id] = entry.attempts
        if self.rules.max_attempts is not None and entry.attempts >= self.rules.max_attempts:
            return entry
        backoff_s = self.rules.backoff_s(entry.attempts)
        if backoff_s > 0:
            self.rest(entry, now_ns + round(backoff_s * SECOND_NS))
        else:
            heapq.heappush(self._again, (entry.id, entry))
        return None

    def _release(self, entry: Entry) -> None:
        if entry.holder is not None:
            entry.holder.messages -= 1
            entry.holder.size_bytes -= len(entry.body)
            entry.holder = None
            self._leased -= 1
        entry.lease = 0
