"""Dead letters in one SQLite file: WAL, `synchronous=FULL`, bounded by bytes."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from cloud_bridge.errors import FullError, OutputError, TransientError
from cloud_bridge.ports import Clock, KeptLetter, Letter

ROW_BYTES = 300
"""About what a letter takes beside topic, payload and reason."""

BUSY_S = 5.0
"""How long to wait for another process, such as `lookout-cloud deadletters`."""

_TABLES = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    reason TEXT NOT NULL,
    registry TEXT, device TEXT, run TEXT, seq INTEGER,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    times INTEGER NOT NULL DEFAULT 1,
    size_bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS total (one INTEGER PRIMARY KEY CHECK (one = 1), size_bytes INTEGER);
INSERT OR IGNORE INTO total VALUES (1, 0);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON letters BEGIN
    UPDATE total SET size_bytes = size_bytes + new.size_bytes;
END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON letters BEGIN
    UPDATE total SET size_bytes = size_bytes - old.size_bytes;
END;
"""

_ADD = """
INSERT INTO letters
    (digest, topic, payload, reason, registry, device, run, seq, first_ns, last_ns, size_bytes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE
    SET times = times + 1, last_ns = excluded.last_ns, reason = excluded.reason
"""

_READ = """
SELECT number, topic, payload, reason, registry, device, run, seq, first_ns, last_ns, times
FROM letters
"""


class SqliteDeadLetters:
    """Matches `ports.DeadLetters`. synchronous: for the test that shows why FULL."""

    def __init__(self, path: Path, max_bytes: int, clock: Clock, synchronous: str = "FULL") -> None:
        """Raises OutputError: the file cannot be opened or is damaged."""
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        try:
            # Autocommit: transactions are begun by hand. Closed by another thread at the end.
            self._sql = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._sql.execute("PRAGMA journal_mode=WAL")
            self._sql.execute(f"PRAGMA synchronous={synchronous}")
            self._sql.executescript(_TABLES)
        except sqlite3.Error as exc:
            raise OutputError(
                f"dead letters {path}: {exc}; want a file that this user can write: mend the "
                "folder's rights, or move a damaged file away"
            ) from exc

    def add_all(self, letters: Sequence[Letter]) -> None:
        now_ns = self._clock.wall_ns()
        with self._transaction():
            self._sql.executemany(_ADD, [_row(letter, now_ns) for letter in letters])
            size_bytes = self._size_bytes()
            if size_bytes > self._max_bytes:
                raise FullError(
                    f"dead letters {self._path}: {len(letters)} more would make {size_bytes} bytes"
                    f" of at most {self._max_bytes}; look at them with lookout-cloud deadletters"
                    " list, then retry or drop them, or raise [dead_letters] max_bytes"
                )

    def letters(self, numbers: Sequence[int] | None = None, limit: int = 100) -> list[KeptLetter]:
        with self._translated():
            if numbers is None:
                rows = self._sql.execute(f"{_READ} ORDER BY number LIMIT ?", (limit,)).fetchall()
            else:
                rows = [
                    row
                    for number in sorted(set(numbers))
                    for row in self._sql.execute(f"{_READ} WHERE number = ?", (number,))
                ]
        return [_kept(row) for row in rows]

    def remove(self, numbers: Sequence[int]) -> int:
        with self._transaction():
            gone = 0
            for number in set(numbers):
                gone += self._sql.execute(
                    "DELETE FROM letters WHERE number = ?", (number,)
                ).rowcount
            return gone

    def count(self) -> tuple[int, int]:
        with self._translated():
            [count] = self._sql.execute("SELECT count(*) FROM letters").fetchone()
            return int(count), self._size_bytes()

    def close(self) -> None:
        self._sql.close()

    def _size_bytes(self) -> int:
        [size_bytes] = self._sql.execute("SELECT size_bytes FROM total").fetchone()
        return int(size_bytes)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._sql.execute("ROLLBACK")
                raise
            self._sql.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            if self._sql.in_transaction:
                self._sql.rollback()
            raise TransientError(
                f"dead letters {self._path}: {exc}; want a disk that takes them: make room, or "
                "mend it"
            ) from exc


def _row(letter: Letter, now_ns: int) -> tuple[Any, ...]:
    topic = letter.topic.encode(errors="replace").decode()
    reason = letter.reason.encode(errors="replace").decode()
    digest = sha256(topic.encode() + b"\0" + letter.payload).digest()
    size_bytes = len(letter.payload) + len(topic) + len(reason) + ROW_BYTES
    origin = (letter.registry, letter.device, letter.run, letter.seq)
    return (digest, topic, letter.payload, reason, *origin, now_ns, now_ns, size_bytes)


def _kept(row: tuple[Any, ...]) -> KeptLetter:
    number, topic, payload, reason, registry, device, run, seq, first_ns, last_ns, times = row
    return KeptLetter(
        number=number,
        letter=Letter(
            topic=topic,
            payload=payload,
            reason=reason,
            registry=registry,
            device=device,
            run=run,
            seq=seq,
        ),
        first_ns=first_ns,
        last_ns=last_ns,
        times=times,
    )
