"""An album in memory, for tests of the loops: bounded too, and it can be made to fail."""

from collections.abc import Sequence
from threading import Lock

from device.album.pictures import jpeg_of_region
from device.errors import TransientError
from device.ports import Page
from device.wire.control import Record


class FakeAlbum:
    """pictures: JPEG bytes by record id. is_full: the disk refuses."""

    def __init__(
        self, max_bytes: int = 10_000_000, long_side_px: int = 1280, keeps_pictures: bool = True
    ) -> None:
        self._max_bytes = max_bytes
        self._long_side_px = long_side_px
        self._keeps_pictures = keeps_pictures
        self._lock = Lock()
        self._records: dict[str, Record] = {}
        self.pictures: dict[str, bytes] = {}
        self.is_full = False

    def keep(self, pages: Sequence[Page]) -> None:
        with self._lock:
            if self.is_full:
                raise TransientError(f"album in memory: {len(pages)} records not kept: full")
            for page in pages:
                if page.record.id not in self._records:
                    self._put(page)
            while self._size_bytes() > self._max_bytes and self._records:
                oldest = self._next_to_go()
                del self._records[oldest]
                self.pictures.pop(oldest, None)

    def find(self, record_id: str) -> Record | None:
        with self._lock:
            return self._records.get(record_id)

    def recent(self, limit: int, kind: str | None = None) -> list[Record]:
        with self._lock:
            newest_first = reversed(list(self._records.values()))
            return [each for each in newest_first if kind in (None, each.kind)][:limit]

    def close(self) -> None:
        """Nothing to close; what comes later is refused."""
        self.is_full = True

    def _put(self, page: Page) -> None:
        record, kept = page.record, page.keepsake
        if kept is not None and self._keeps_pictures:
            self.pictures[record.id] = jpeg_of_region(
                kept.picture, kept.region, kept.box, self._long_side_px
            )
            record = record.model_copy(update={"picture": f"memory/{record.id}.jpg"})
        self._records[record.id] = record

    def _next_to_go(self) -> str:
        """The oldest, of the near misses while they take more than a tenth."""
        near = [each.id for each in self._records.values() if each.kind == "near_miss"]
        if sum(map(self._bytes_of, near)) > self._max_bytes // 10:
            return near[0]
        return next(iter(self._records))

    def _bytes_of(self, record_id: str) -> int:
        line = self._records[record_id].model_dump_json()
        return len(line) + len(self.pictures.get(record_id, b""))

    def _size_bytes(self) -> int:
        return sum(map(self._bytes_of, self._records))
