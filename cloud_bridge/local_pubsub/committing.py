"""The one thread that uses the store: what is asked for while it writes shares the next commit.

A call is answered after the commit that holds it, never before: an answer to Publish makes the
bridge send a receipt, and the receipt deletes the box's own copy.
"""

import asyncio
import logging
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeAlias, TypeVar

from cloud_bridge.local_pubsub.refusals import RefusedError
from cloud_bridge.local_pubsub.store import Store

log = logging.getLogger(__name__)

CALLS_A_COMMIT = 200
BYTES_A_COMMIT = 8_000_000
"""These bound the size of the log and the time that the first caller waits."""

T = TypeVar("T")
Call: TypeAlias = Callable[[Store], Any]
Result: TypeAlias = Any
"""What a call returned, or the exception it raised."""


class _Asked(NamedTuple):
    call: Call
    then: Callable[[Any], None] | None
    future: asyncio.Future[Any]
    size_bytes: int


class Committer:
    """Made and asked in an event loop; `close` waits until all that was asked is committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="store", daemon=True)
        self._thread.start()
        self.commits = 0

    def ask(
        self,
        call: Callable[[Store], T],
        then: Callable[[T], None] | None = None,
        size_bytes: int = 0,
    ) -> asyncio.Future[T]:
        """Run `call` inside a transaction, in the order of asking; done once that is durable.

        then: called with the result in the event loop, in the order of the commits, even when
        nobody waits any more: what is on disk must be known in memory.
        size_bytes: of what it writes, where that is much.

        The future raises RefusedError: the call or the disk refused; nothing of it is stored.
        A call may be run twice: its first transaction may fail for another's sake.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._asked.put(_Asked(call, then, future, size_bytes))
        return future

    async def close(self) -> None:
        """Commit what was asked for, and close the file."""
        self._asked.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        self._store.close()

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                results = self._commit([each.call for each in group])
                self.commits += 1
                self._loop.call_soon_threadsafe(_tell, list(zip(group, results, strict=True)))

    def _next_group(self) -> tuple[list[_Asked], bool]:
        """What waits, at least one; and whether more may come."""
        group: list[_Asked] = []
        size_bytes = 0
        next_one = self._asked.get()
        while next_one is not None:
            group.append(next_one)
            size_bytes += next_one.size_bytes
            if len(group) == CALLS_A_COMMIT or size_bytes >= BYTES_A_COMMIT:
                return group, True
            try:
                next_one = self._asked.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _commit(self, calls: list[Call]) -> list[Result]:
        try:
            return self._commit_together(calls)
        except RefusedError:
            # The store has made some room; and on a full disk, reads and removals still pass
            # where a neighbour's message does not.
            return [self._commit_alone(call) for call in calls]
        except Exception as exc:  # a thread's top: each caller is told
            if len(calls) == 1:
                log.error("the store failed", exc_info=exc)
                return [exc]
        return [self._commit([call])[0] for call in calls]

    def _commit_alone(self, call: Call) -> Result:
        try:
            return self._commit_together([call])[0]
        except Exception as exc:  # noqa: BLE001 - a thread's top: the caller is told
            return exc

    def _commit_together(self, calls: list[Call]) -> list[Result]:
        results: list[Result] = []
        with self._store.transaction():
            for call in calls:
                try:
                    results.append(call(self._store))
                except RefusedError as refusal:
                    results.append(refusal)
        return results


def _tell(told: list[tuple[_Asked, Result]]) -> None:
    for asked, result in told:
        if asked.then is not None and not isinstance(result, Exception):
            try:
                asked.then(result)
            except Exception as exc:  # a mistake of ours costs its own caller, and no other
                log.exception("what is on disk was not noted")
                result = exc
        is_refused = isinstance(result, Exception)
        if asked.future.done():  # the caller has gone
            continue
        if is_refused:
            asked.future.set_exception(result)
        else:
            asked.future.set_result(result)
