"""How the bridge is: counters and troubles, once a minute in the log and always in a file."""

import errno
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from cloud_bridge.ports import Clock

log = logging.getLogger(__name__)

LOG_EVERY_NS = 60 * 1_000_000_000
BLOCK_BYTES = 4096
"""The status file ends in spaces, so that on a full disk a longer text has room in its place."""

FILE_EVERY_S = 5.0


class Health:
    """Matches `ports.Reporter`. status_file: written whole, or None for none."""

    def __init__(
        self, clock: Clock, status_file: Path | None = None, file_every_s: float = FILE_EVERY_S
    ) -> None:
        self._clock = clock
        self._file = status_file
        self._file_every_ns = round(file_every_s * 1e9)
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._troubles: dict[str, str] = {}
        self._logged_ns = self._written_ns = clock.monotonic_ns()
        self._is_file_lost = False

    def add(self, what: str, count: int = 1) -> None:
        with self._lock:
            self._counts[what] += count

    def trouble(self, part: str, words: str) -> None:
        with self._lock:
            is_news = self._troubles.get(part) != words
            self._troubles[part] = words
        if is_news:
            log.error("%s: %s", part, words)

    def well(self, part: str) -> None:
        with self._lock:
            was_ill = self._troubles.pop(part, None) is not None
        if was_ill:
            log.info("%s: well again", part)

    @property
    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    @property
    def troubles(self) -> dict[str, str]:
        with self._lock:
            return dict(self._troubles)

    def tick(self, now: Mapping[str, int]) -> None:
        """Say it where that is due. now: what is so at this moment, such as `in_flight`."""
        mono_ns = self._clock.monotonic_ns()
        if mono_ns - self._written_ns >= self._file_every_ns:
            self._written_ns = mono_ns
            self.write(now)
        if mono_ns - self._logged_ns >= LOG_EVERY_NS:
            self._logged_ns = mono_ns
            figures = {**self.counts, **now}
            log.info("status %s", " ".join(f"{key}={figures[key]}" for key in sorted(figures)))
            for part, words in self.troubles.items():
                log.error("still: %s: %s", part, words)

    def write(self, now: Mapping[str, int]) -> None:
        """The status file; a disk that refuses is said once."""
        if self._file is None:
            return
        said: dict[str, Any] = {
            "wall_ns": self._clock.wall_ns(),
            "pid": os.getpid(),
            "counts": self.counts,
            "now": dict(now),
            "troubles": self.troubles,
        }
        text = f"{json.dumps(said)}\n".encode()
        try:
            _write_whole(self._file, text + b" " * (-len(text) % BLOCK_BYTES))
        except OSError as exc:
            if not self._is_file_lost:
                log.error("status file %s: %s", self._file, exc.strerror)
            self._is_file_lost = True
        else:
            self._is_file_lost = False


def _write_whole(path: Path, content: bytes) -> None:
    """Into a new file that then takes its place; on a full disk over the old one, where it fits.

    Raises OSError.
    """
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as exc:
        fresh.unlink(missing_ok=True)
        has_room = path.exists() and path.stat().st_size >= len(content)
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT) or not has_room:
            raise
        with path.open("r+b", buffering=0) as file:
            file.write(content)
            file.truncate()
