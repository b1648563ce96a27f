"""The newest version of desired settings that went to each device: Pub/Sub may bring an older one
later, and it must not become the retained one."""

import sqlite3
from pathlib import Path

from cloud_bridge.errors import OutputError, TransientError

_TABLE = """
CREATE TABLE IF NOT EXISTS newest (
    registry TEXT NOT NULL, device TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (registry, device)
) WITHOUT ROWID
"""

_NOTE = """
INSERT INTO newest VALUES (?, ?, ?, ?)
ON CONFLICT (registry, device) DO UPDATE SET version = excluded.version, digest = excluded.digest
WHERE excluded.version > version
"""


class SqliteVersions:
    """Matches `ports.Versions`."""

    def __init__(self, path: Path) -> None:
        """Raises OutputError."""
        self._path = path
        try:
            self._sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._sql.execute("PRAGMA journal_mode=WAL")
            self._sql.execute("PRAGMA synchronous=FULL")
            self._sql.execute(_TABLE)
        except sqlite3.Error as exc:
            raise OutputError(
                f"versions {path}: {exc}; want a file that this user can write"
            ) from exc

    def admit(self, registry: str, device: str, version: int, digest: str) -> int | None:
        try:
            self._sql.execute(_NOTE, (registry, device, version, digest))
            newest, kept = self._sql.execute(
                "SELECT version, digest FROM newest WHERE registry = ? AND device = ?",
                (registry, device),
            ).fetchone()
        except sqlite3.Error as exc:
            raise TransientError(f"versions {self._path}: {exc}; mend the disk") from exc
        return None if (newest, kept) == (version, digest) else int(newest)

    def close(self) -> None:
        self._sql.close()
