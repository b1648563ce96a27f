"""The album on disk: records in SQLite, pictures beside it, bounded by bytes together.

Not the outbox: an event is safe there before it comes here, so a power cut may cost the album its
last seconds (`synchronous=NORMAL`). A picture is written before its record and removed after it,
so what a crash leaves over is a file without a record: it goes at the next start.
"""

import logging
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import ENOSPC
from hashlib import sha256
from os import stat_result
from pathlib import Path
from threading import Lock
from urllib.parse import quote, unquote

from device.album.pictures import jpeg_of_region
from device.errors import OutputError, TransientError
from device.ports import Page
from device.wire.control import Record
from device.wire.events import time_text
from device.wire.text import printable

log = logging.getLogger(__name__)

DATABASE = "album.db"
DAMAGED = "album.db.damaged"
PICTURES = "pictures"
BLOCK_BYTES = 4096
"""Of a file system: a file takes whole ones."""
LOG_BYTES = 64 * BLOCK_BYTES
"""What the write-ahead log is held to; counted whether it is there or not."""
NEAR_MISSES = "near_miss"
NEAR_MISS_SHARE = 10
"""Near misses may take one part in so many of the album; beyond it they go first."""
LONGEST_NAME = 200
DAY = re.compile(r"\d{4}-\d\d-\d\d")

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS records (
        row INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        time TEXT NOT NULL,
        line TEXT NOT NULL,
        picture TEXT,
        picture_bytes INTEGER NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind, row)",
)
_INSERT = (
    "INSERT INTO records (id, kind, time, line, picture, picture_bytes) VALUES (?, ?, ?, ?, ?, ?)"
)
_SELECT = "SELECT line, picture FROM records"
_PRAGMAS = (
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    f"PRAGMA wal_autocheckpoint = {LOG_BYTES // BLOCK_BYTES}",
    f"PRAGMA journal_size_limit = {LOG_BYTES}",
    "PRAGMA cache_size = -256",  # KiB: what is written is seldom read
)


class SqliteAlbum:
    """One connection behind a lock: questions are rare and short."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        long_side_px: int,
        keeps_pictures: bool,
        reserve_bytes: int = 0,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """reserve_bytes: so much of the disk is left free for what matters more: events. Less is
        free: no new pictures, and old ones go; less than a quarter of it: no new records either.
        free_bytes: of the disk that holds a folder.

        Raises:
            OutputError: the folder cannot be written.
        """
        self._reserve_bytes = reserve_bytes
        self._free_of = free_bytes
        self._folder = folder
        self._max_bytes = max_bytes
        self._long_side_px = long_side_px
        self._keeps_pictures = keeps_pictures
        self._lock = Lock()
        try:
            (folder / PICTURES).mkdir(parents=True, exist_ok=True)
            self._database = self._open_or_begin_anew()
            self._pictures_bytes = self._clean()
        except (OSError, sqlite3.Error) as exc:
            raise OutputError(
                f"album {folder}: {exc}; want a folder with free space that this user may write: "
                "[device] state_dir"
            ) from exc

    @property
    def size_bytes(self) -> int:
        """Of records and pictures together, as the disk counts them."""
        with self._lock:
            return self._size_bytes()

    def keep(self, pages: Sequence[Page]) -> None:
        """All of `pages` or none; then the oldest go until the bound is kept. An id that is there
        already stays as it is: events do not change."""
        written: list[Path] = []
        try:
            with self._lock:
                if self._free_bytes() < self._reserve_bytes:
                    self._expel()
                if self._free_bytes() < self._reserve_bytes // 4:
                    raise OSError(ENOSPC, "what is still free is kept for events")
                new = [page for page in pages if not self._knows(page.record.id)]
            rows = [self._row(page, written) for page in new]
            with self._lock:
                with self._database:
                    self._database.executemany(_INSERT, rows)
                self._pictures_bytes += sum(_on_disk(row[5]) for row in rows)
                written.clear()
                self._expel()
        except (OSError, sqlite3.Error) as exc:
            for path in written:
                with suppress(OSError):
                    path.unlink()
            self._mend(exc)
            raise TransientError(
                f"album {self._folder}: {len(pages)} records not kept: {exc}; free some space, or "
                "see whether the disk is still sound"
            ) from exc

    def find(self, record_id: str) -> Record | None:
        """Raises TransientError when the disk cannot be read."""
        found = self._read(f"{_SELECT} WHERE id = ?", (record_id,))
        return found[0] if found else None

    def recent(self, limit: int, kind: str | None = None) -> list[Record]:
        """Raises TransientError when the disk cannot be read."""
        if kind is None:
            return self._read(f"{_SELECT} ORDER BY row DESC LIMIT ?", (limit,))
        return self._read(f"{_SELECT} WHERE kind = ? ORDER BY row DESC LIMIT ?", (kind, limit))

    def picture_path(self, record_id: str) -> Path | None:
        """The record's picture, if one was kept and is still there."""
        record = self.find(record_id)
        if record is None or record.picture is None:
            return None
        path = Path(record.picture)
        return path if path.is_file() else None

    def close(self) -> None:
        """May be called twice, raises nothing; what comes later is refused."""
        with self._lock, suppress(sqlite3.Error):
            self._database.close()

    def _read(self, statement: str, values: tuple[str | int, ...]) -> list[Record]:
        try:
            with self._lock:
                rows = self._database.execute(statement, values).fetchall()
        except sqlite3.Error as exc:
            raise TransientError(f"album {self._folder}: cannot be read: {exc}") from exc
        return [self._record(line, picture) for line, picture in rows]

    def _record(self, line: str, picture: str | None) -> Record:
        record = Record.model_validate_json(line)
        path = None if picture is None else str(self._folder / PICTURES / picture)
        return record.model_copy(update={"picture": path})

    def _row(self, page: Page, written: list[Path]) -> tuple[str, str, str, str, str | None, int]:
        """The record's row, its picture written and noted in `written`."""
        record = page.record
        picture, size_bytes = None, 0
        has_room = self._free_bytes() >= self._reserve_bytes
        if page.keepsake is not None and self._keeps_pictures and has_room:
            picture = picture_name(record)
            path = self._folder / PICTURES / picture
            path.parent.mkdir(exist_ok=True)
            written.append(path)
            content = jpeg_of_region(
                page.keepsake.picture, page.keepsake.region, page.keepsake.box, self._long_side_px
            )
            path.write_bytes(content)
            size_bytes = len(content)
        line = record.model_copy(update={"picture": None}).model_dump_json(exclude_none=True)
        return record.id, record.kind, record.time, line, picture, size_bytes

    def _knows(self, record_id: str) -> bool:
        statement = "SELECT 1 FROM records WHERE id = ?"
        return self._database.execute(statement, (record_id,)).fetchone() is not None

    def _size_bytes(self) -> int:
        pages = self._database.execute("PRAGMA page_count").fetchone()[0]
        size_bytes = self._pictures_bytes + int(pages) * BLOCK_BYTES + LOG_BYTES
        with suppress(FileNotFoundError):
            size_bytes += (self._folder / DAMAGED).stat().st_size
        return size_bytes

    def _expel(self) -> None:
        """Remove the oldest, near misses beyond their share before all else; a little more than
        needed, so that it is not done each time."""
        bound_bytes = self._bound_bytes()
        if self._size_bytes() <= bound_bytes:
            return
        goal_bytes = bound_bytes - bound_bytes // 50
        while (excess_bytes := self._size_bytes() - goal_bytes) > 0:
            spare_bytes = self._near_misses_bytes() - self._max_bytes // NEAR_MISS_SHARE
            if spare_bytes > 0:
                oldest = self._oldest(min(excess_bytes, spare_bytes), NEAR_MISSES)
            else:
                oldest = self._oldest(excess_bytes)
            if not oldest:
                return
            with self._database:
                self._database.executemany(
                    "DELETE FROM records WHERE row = ?", [(row,) for row, _, _ in oldest]
                )
            for _, picture, size_bytes in oldest:
                if picture is not None:
                    self._pictures_bytes -= _on_disk(size_bytes)
                    self._unlink(self._folder / PICTURES / picture)
            # A script, for `execute` takes one step, which frees a single page.
            self._database.executescript(
                "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)"
            )

    def _bound_bytes(self) -> int:
        """The settings' bound, or less where the disk is so full that events may want the room."""
        short_bytes = max(self._reserve_bytes - self._free_bytes(), 0)
        return max(min(self._max_bytes, self._size_bytes() - short_bytes), 0)

    def _free_bytes(self) -> int:
        return self._free_of(self._folder)

    def _near_misses_bytes(self) -> int:
        statement = (
            "SELECT total((picture_bytes + ?1 - 1) / ?1 * ?1 + length(line)) FROM records "
            "WHERE kind = ?2"
        )
        [(size_bytes,)] = self._database.execute(statement, (BLOCK_BYTES, NEAR_MISSES)).fetchall()
        return int(size_bytes)

    def _oldest(
        self, excess_bytes: int, kind: str | None = None
    ) -> list[tuple[int, str | None, int]]:
        """Row, picture and its size of the oldest that hold about `excess_bytes` together."""
        oldest: list[tuple[int, str | None, int]] = []
        statement = (
            "SELECT row, picture, picture_bytes, length(line) FROM records "
            "WHERE ?1 IS NULL OR kind = ?1 ORDER BY row LIMIT 500"
        )
        for row, picture, size_bytes, line_bytes in self._database.execute(statement, (kind,)):
            oldest.append((row, picture, size_bytes))
            excess_bytes -= _on_disk(size_bytes) + line_bytes
            if excess_bytes <= 0:
                break
        return oldest

    def _unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other pictures of that day
            path.parent.rmdir()

    def _open_or_begin_anew(self) -> sqlite3.Connection:
        """The database, or one that takes a damaged one's place."""
        path = self._folder / DATABASE
        try:
            return _open(path)
        except sqlite3.DatabaseError as exc:
            if not _is_damage(exc):
                raise
            log.warning("album damaged, a new one begins error=%s kept_as=%s", exc, DAMAGED)
        aside = self._folder / DAMAGED
        path.replace(aside)
        if aside.stat().st_size > self._max_bytes // 4:
            log.warning("damaged album removed size_bytes=%d", aside.stat().st_size)
            aside.unlink()  # it would leave the new one no room
        for suffix in ("-wal", "-shm"):
            (self._folder / f"{DATABASE}{suffix}").unlink(missing_ok=True)
        return _open(path)

    def _mend(self, exc: Exception) -> None:
        """After an error that says that the database is damaged: begin a new one."""
        if not isinstance(exc, sqlite3.Error) or not _is_damage(exc):
            return
        with self._lock, suppress(OSError, sqlite3.Error):  # next time again
            self._database.close()
            self._database = self._open_or_begin_anew()
            self._pictures_bytes = self._clean()

    def _clean(self) -> int:
        """Make pictures and records agree; how many bytes the pictures take.

        Where there is no record at all they are lost, so each picture gets a poor one: all in one
        transaction, so that a power cut in the midst of it leaves no record again. Otherwise a
        picture without a record is what a crash left, and goes.
        """
        folder = self._folder / PICTURES
        adopts = self._database.execute("SELECT 1 FROM records LIMIT 1").fetchone() is None
        there = {
            str(path.relative_to(folder)): path.stat()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix == ".jpg" and _is_text(path.name)
        }
        statement = "SELECT row, picture, picture_bytes FROM records WHERE picture IS NOT NULL"
        total_bytes = 0
        lost: list[tuple[int]] = []
        for row, picture, size_bytes in self._database.execute(statement):
            found = there.pop(picture, None)
            if found is not None and found.st_size == size_bytes:
                total_bytes += _on_disk(size_bytes)
            else:  # cut short by a power cut, or taken away by somebody
                lost.append((row,))
                if found is not None:
                    self._unlink(folder / picture)
        orphans = sorted(there.items(), key=lambda each: each[1].st_mtime_ns)
        with self._database:
            self._database.executemany(
                "UPDATE records SET picture = NULL, picture_bytes = 0 WHERE row = ?", lost
            )
            if adopts:
                self._database.executemany(
                    _INSERT, [_adopted(name, found) for name, found in orphans]
                )
                total_bytes += sum(_on_disk(found.st_size) for _, found in orphans)
        if not adopts:
            for name, _ in orphans:
                self._unlink(folder / name)
        return total_bytes


def _is_text(name: str) -> bool:
    """Else it is none of ours, and no record can name it."""
    return name == printable(name)


def picture_name(record: Record) -> str:
    """Of a record's picture, in a folder for its day; no id can leave that folder, and no two
    ids share a name."""
    day = record.time[:10] if DAY.fullmatch(record.time[:10]) else "undated"
    name = quote(record.id, safe="").replace("%3A", "+")
    if len(name) > LONGEST_NAME:
        name = f"{name[:100]}-{sha256(record.id.encode()).hexdigest()}"
    return f"{day}/{name}.jpg"


def _adopted(name: str, found: stat_result) -> tuple[str, str, str, str, str, int]:
    record = Record(
        id=unquote(Path(name).stem.replace("+", "%3A")),
        time=time_text(found.st_mtime_ns),
        kind="picture",
        headline="a picture whose record was damaged",
        detail={},
    )
    line = record.model_dump_json(exclude_none=True)
    return record.id, record.kind, record.time, line, name, found.st_size


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            database.execute(pragma).fetchall()
        for statement in _SCHEMA:
            database.execute(statement)
        [(verdict,)] = database.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise _DamageError(verdict)
    except sqlite3.Error:
        database.close()
        raise
    return database


class _DamageError(sqlite3.DatabaseError):
    """What SQLite found when it looked."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _is_damage(exc: sqlite3.Error) -> bool:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _on_disk(size_bytes: int) -> int:
    """What a file of that size takes: whole blocks."""
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
