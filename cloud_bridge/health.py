"""How the bridge is: counters and troubles, once a minute in the log and always in a file."""

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
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(said) + "\n", encoding="utf-8")
            fresh.replace(self._file)
        except OSError as exc:
            if not self._is_file_lost:
                log.error("status file %s: %s", self._file, exc.strerror)
            self._is_file_lost = True
        else:
            self._is_file_lost = False
