"""The loop that keeps the box's own record, and the feed for those who watch it live."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Lock

from device.errors import TransientError
from device.ports import Album, Keepsake, Page
from device.wire.control import Record
from device.wire.events import Event

log = logging.getLogger(__name__)

PAGES_AT_MOST = 32
"""Each may hold a whole frame: 1.4 MB at 1280x720."""
WATCHERS_AT_MOST = 16
RECORDS_A_WATCHER = 256


class Feed:
    """Gives each record to everybody who watches; whoever is too slow misses some, counted.

    Any thread.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._queues: list[Queue[Record]] = []

    def subscribe(self) -> "Queue[Record]":
        """Raises TransientError when too many watch."""
        queue: Queue[Record] = Queue(RECORDS_A_WATCHER)
        with self._lock:
            if len(self._queues) >= WATCHERS_AT_MOST:
                raise TransientError(
                    f"{WATCHERS_AT_MOST} commands watch already; end one of them and try again"
                )
            self._queues.append(queue)
        return queue

    def unsubscribe(self, queue: "Queue[Record]") -> None:
        with self._lock:
            if queue in self._queues:
                self._queues.remove(queue)

    def give(self, record: Record) -> None:
        with self._lock:
            for queue in self._queues:
                if queue.full():  # the oldest goes: who watches wants to see now
                    with suppress(Empty):
                        queue.get_nowait()
                queue.put_nowait(record)


class Journal:
    """Pages come in from any thread; the album's own thread writes them."""

    def __init__(self, album: Album, feed: Feed, record_of: Callable[[Event], Record]) -> None:
        """record_of: an event in one line for people."""
        self._album = album
        self._feed = feed
        self._record_of = record_of
        self._pages: Queue[Page] = Queue(PAGES_AT_MOST)
        self.dropped = 0
        self.problem: str | None = None
        """Why nothing is kept, for people."""

    def keep(self, page: Page) -> None:
        """Never blocks; when too much waits, the picture is dropped, counted."""
        self._feed.give(page.record)
        try:
            self._pages.put_nowait(page)
        except Full:
            self.dropped += 1

    def committed(self, events: Sequence[tuple[Event, Keepsake | None]]) -> None:
        """`Delivery`'s news: these are on disk, so others may hear of them."""
        for event, keepsake in events:
            self.keep(Page(self._record_of(event), keepsake))

    def turn(self) -> None:
        """Write what waits; at most a second without anything."""
        try:
            pages = [self._pages.get(timeout=1.0)]
        except Empty:
            return
        while len(pages) < PAGES_AT_MOST:
            try:
                pages.append(self._pages.get_nowait())
            except Empty:
                break
        try:
            self._album.keep(pages)
        except TransientError as exc:
            self.dropped += len(pages)
            if self.problem is None:  # once a change of state, not once a page
                log.warning("album does not keep: %s", exc)
            self.problem = str(exc)
        except Exception:
            self.dropped += len(pages)
            raise
        else:
            self.problem = None

    def flush(self) -> None:
        """Write all that waits; for the end."""
        while not self._pages.empty():
            self.turn()
