"""An album whose disk may refuse at start: the box runs without it, and opens it when it can."""

from collections.abc import Callable, Sequence
from threading import Lock

from device.errors import OutputError, TransientError
from device.ports import Album, Clock, Page
from device.wire.control import Record

RETRY_NS = 10 * 1_000_000_000


class LateAlbum:
    """Matches `ports.Album`; until the real one opens it keeps nothing, and says why."""

    def __init__(self, open_album: Callable[[], Album], clock: Clock) -> None:
        """open_album: raises OutputError while the folder cannot be written."""
        self._open_album = open_album
        self._clock = clock
        self._lock = Lock()
        self._album: Album | None = None
        self._problem = ""
        self._retry_ns = 0

    def keep(self, pages: Sequence[Page]) -> None:
        album = self._opened()
        if album is None:
            raise TransientError(self._problem)
        album.keep(pages)

    def find(self, record_id: str) -> Record | None:
        album = self._opened()
        return None if album is None else album.find(record_id)

    def recent(self, limit: int, kind: str | None = None) -> list[Record]:
        album = self._opened()
        return [] if album is None else album.recent(limit, kind)

    def close(self) -> None:
        with self._lock:
            if self._album is not None:
                self._album.close()

    def _opened(self) -> Album | None:
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            if self._album is None and now_ns >= self._retry_ns:
                try:
                    self._album = self._open_album()
                except OutputError as exc:
                    self._problem = str(exc)
                    self._retry_ns = now_ns + RETRY_NS
            return self._album
