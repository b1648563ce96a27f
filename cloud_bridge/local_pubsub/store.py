"""Messages, topics and subscriptions on disk; one thread uses it, inside one transaction at a time.

A message stays while a subscription has a row of it in `backlog`. Statements take whole batches
as one JSON list: each step of a statement gives Python's lock away and must win it back, so a
thousand single inserts beside a busy event loop are slow.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from grpc import StatusCode

from cloud_bridge.errors import TransientError
from cloud_bridge.local_pubsub.ballast import BALLAST_BYTES, Ballast
from cloud_bridge.local_pubsub.refusals import RefusedError
from cloud_bridge.local_pubsub.store_file import Synchronous, open_file

_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})

IDS_A_RUN = 1 << 36
"""Each start of the service gives ids from a range of its own, so that none comes twice."""

ROW_BYTES = 40
"""What a message costs beside its body, roughly."""

_INSERT_MESSAGES = """
INSERT INTO messages (id, born_s, body)
SELECT json_extract(value, '$[0]'), ?1,
    substr(?2, json_extract(value, '$[1]'), json_extract(value, '$[2]')) FROM json_each(?3)
"""
_INSERT_BACKLOG = """
INSERT INTO backlog (subscription, message, attempts) SELECT ?1, value, 0 FROM json_each(?2)
"""
_DELETE_BACKLOG = """
DELETE FROM backlog WHERE subscription = ?1 AND message IN (SELECT value FROM json_each(?2))
"""
_DELETE_MESSAGES = """
DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?1)) AND NOT EXISTS (
    SELECT 1 FROM subscriptions CROSS JOIN backlog
    WHERE backlog.subscription = subscriptions.number AND backlog.message = messages.id
)
"""
_SELECT_BACKLOG = """
SELECT backlog.message, backlog.attempts, messages.body
FROM backlog CROSS JOIN messages ON messages.id = backlog.message
WHERE backlog.subscription = ? AND backlog.message > ? ORDER BY backlog.message LIMIT ?
"""
_SELECT_OLDEST = """
SELECT backlog.message, messages.born_s
FROM backlog CROSS JOIN messages ON messages.id = backlog.message
WHERE backlog.subscription = ? ORDER BY backlog.message LIMIT ?
"""
_SELECT_ORPHANS = """
SELECT subscription, message FROM backlog
WHERE subscription NOT IN (SELECT number FROM subscriptions) LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of a subscription. attempts: deliveries that have failed."""

    id: int
    attempts: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages to store, ascending by id, and the subscriptions each one waits in.

    backlogs: (number of a subscription, ids). may_exceed: stored even where the disk's share is
    used up, because as much is removed for it.
    """

    born_s: float
    bodies: Sequence[tuple[int, bytes]]
    backlogs: Sequence[tuple[int, Sequence[int]]]
    may_exceed: bool = False

    def size_bytes(self) -> int:
        return sum(len(body) + ROW_BYTES for _, body in self.bodies)


class Store:
    """The file. All calls but the constructor belong inside `transaction`."""

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        synchronous: Synchronous = "FULL",
        ballast_bytes: int = BALLAST_BYTES,
    ) -> None:
        """Open the file and commit the number of this run.

        max_bytes: bound of the file; its log and its ballast may add some 40 MB.

        Raises:
            OutputError: the file is damaged, or of another format.
            TransientError: the disk refused.
        """
        self._ballast = Ballast(path.with_suffix(".ballast"), ballast_bytes)
        try:
            self._db = open_file(path, synchronous)
        except TransientError:
            self._ballast.drop()
            self._db = open_file(path, synchronous)
        self._max_bytes = max_bytes
        self._page_bytes = int(self._one("PRAGMA page_size"))
        try:
            try:
                self._begin_run()
            except RefusedError:
                self._begin_run()  # with the ballast's room
        except RefusedError as refusal:
            self._db.close()
            raise TransientError(
                f"{path}: {refusal.words} Want a disk with room that this user can write."
            ) from refusal

    def _begin_run(self) -> None:
        with self.transaction():
            self.served_s = float(self._one("SELECT coalesce(max(served_s), 0) FROM runs"))
            self._db.execute("DELETE FROM runs")
            self._db.execute("INSERT INTO runs (served_s) VALUES (?)", (self.served_s,))
            self.run = int(self._one("SELECT number FROM runs"))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it is durable on leaving, or nothing of it is stored.

        Raises:
            RefusedError: UNAVAILABLE, the disk refused; nothing was stored.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            self._roll_back()
            if exc.sqlite_errorcode & 0xFF in _NO_ROOM:
                self._make_room()
            raise RefusedError(
                StatusCode.UNAVAILABLE, f"The disk refused: {exc}; nothing was stored."
            ) from exc
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _make_room(self) -> None:
        """On a full disk: let the log's content into the file, so that the log is used again.

        It keeps its size: then removals need no room, though others have taken the ballast's.
        """
        self._ballast.drop()
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(RESTART)")

    # --- messages -------------------------------------------------------------------------------

    def append(self, batch: Batch) -> None:
        """
        Raises:
            RefusedError: RESOURCE_EXHAUSTED (our share) or UNAVAILABLE (the disk is full); nothing
                of the batch was stored.
        """
        if not batch.bodies:
            return
        if not self._ballast.keep() and not self._has_room_within(batch.size_bytes()):
            raise RefusedError(
                StatusCode.UNAVAILABLE,
                "The disk is full; nothing was stored. Want room beside the data folder.",
            )
        if not batch.may_exceed and self.used_bytes() + batch.size_bytes() > self._max_bytes:
            raise RefusedError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"The local Pub/Sub is full: {self._max_bytes} bytes of messages wait; want "
                "subscribers that acknowledge, or a larger --max-bytes.",
            )
        places: list[tuple[int, int, int]] = []
        at = 1
        for identity, body in batch.bodies:
            places.append((identity, at, len(body)))
            at += len(body)
        joined = b"".join(body for _, body in batch.bodies)
        self._db.execute(_INSERT_MESSAGES, (batch.born_s, joined, json.dumps(places)))
        for subscription, ids in batch.backlogs:
            self._db.execute(_INSERT_BACKLOG, (subscription, json.dumps(ids)))

    def remove(self, subscription: int, ids: Iterable[int]) -> None:
        """A subscription has done with these; what is not there is no error."""
        listed = json.dumps(sorted(ids))
        self._db.execute(_DELETE_BACKLOG, (subscription, listed))
        self._db.execute(_DELETE_MESSAGES, (listed,))

    def note_attempts(self, subscription: int, attempts: Iterable[tuple[int, int]]) -> None:
        """attempts: (id, deliveries that have failed)."""
        self._db.executemany(
            "UPDATE backlog SET attempts = ? WHERE subscription = ? AND message = ?",
            [(count, subscription, identity) for identity, count in attempts],
        )

    def after(
        self, subscription: int, last_id: int, limit: int, max_bytes: int
    ) -> tuple[list[Stored], bool]:
        """The oldest messages beyond `last_id`, and whether they are all there are."""
        found: list[Stored] = []
        size_bytes = 0
        for row in self._db.execute(_SELECT_BACKLOG, (subscription, last_id, limit)):
            found.append(Stored(*row))
            size_bytes += len(found[-1].body)
            if size_bytes >= max_bytes:
                return found, False
        return found, len(found) < limit

    def remove_older(self, subscription: int, born_before_s: float, limit: int) -> list[int]:
        """Remove up to `limit` of the oldest messages that were born earlier; their ids."""
        oldest = self._db.execute(_SELECT_OLDEST, (subscription, limit)).fetchall()
        ids = [identity for identity, born_s in oldest if born_s < born_before_s]
        if ids:
            self.remove(subscription, ids)
        return ids

    def remove_orphans(self, limit: int) -> int:
        """Remove up to `limit` rows of subscriptions that are no more; how many there were."""
        rows = self._db.execute(_SELECT_ORPHANS, (limit,)).fetchall()
        for subscription in {row[0] for row in rows}:
            self.remove(subscription, [row[1] for row in rows if row[0] == subscription])
        return len(rows)

    def used_bytes(self) -> int:
        """Of the file, without the pages that are free to be used again."""
        pages = self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")
        return int(pages) * self._page_bytes

    def _has_room_within(self, size_bytes: int) -> bool:
        """Whether the file has enough free pages, as it never shrinks, to do without ballast."""
        free_bytes = int(self._one("PRAGMA freelist_count")) * self._page_bytes
        return free_bytes > self._ballast.size_bytes + 2 * size_bytes

    def note_served(self, served_s: float) -> None:
        self._db.execute("UPDATE runs SET served_s = ?", (served_s,))

    # --- topics and subscriptions ---------------------------------------------------------------

    def topics(self) -> list[bytes]:
        return [row[0] for row in self._db.execute("SELECT settings FROM topics ORDER BY name")]

    def put_topic(self, name: str, settings: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO topics VALUES (?, ?)", (name, settings))

    def delete_topic(self, name: str) -> None:
        self._db.execute("DELETE FROM topics WHERE name = ?", (name,))

    def subscriptions(self) -> list[tuple[int, bytes]]:
        return self._db.execute(
            "SELECT number, settings FROM subscriptions ORDER BY name"
        ).fetchall()

    def add_subscription(self, name: str, settings: bytes) -> int:
        """Its number, which is never given again."""
        cursor = self._db.execute(
            "INSERT INTO subscriptions (name, settings) VALUES (?, ?)", (name, settings)
        )
        return int(cursor.lastrowid or 0)

    def change_subscription(self, number: int, settings: bytes) -> None:
        self._db.execute(
            "UPDATE subscriptions SET settings = ? WHERE number = ?", (settings, number)
        )

    def delete_subscription(self, number: int) -> None:
        """Its messages become orphans, to be removed bit by bit."""
        self._db.execute("DELETE FROM subscriptions WHERE number = ?", (number,))

    def _one(self, statement: str) -> int | float:
        value: int | float = self._db.execute(statement).fetchone()[0]
        return value
