"""A folder of pictures as a camera: each is shown for a while, as if a scene stood still."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

from device.camera.pace import NS_PER_S
from device.config import CameraConfig
from device.core.images import Frame, Rgb
from device.errors import PictureError, SourceEndedError, TransientError
from device.picture_files import read_picture
from device.ports import Clock

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class PictureFolder:
    """Frames are Rgb, each in its picture's own shape, scaled down to fit the asked-for size.

    No padding and no cropping to one common size: regions are shares of a frame, so shapes may
    change between frames, and a padded picture would be squeezed into the model's input
    together with its borders. So the box sees just what `lookout classify` sees.

    Every picture gets its turn: a caller that comes late misses frames, not pictures.
    """

    def __init__(
        self, config: CameraConfig, clock: Clock, wait: Callable[[float], object] | None = None
    ) -> None:
        """wait: lets at most so many seconds pass.

        Raises:
            TransientError: no such folder, or no readable picture in it.
        """
        if config.path is None:
            raise TransientError('no folder of pictures is named; want path = "..." in [camera]')
        self._folder = config.path
        self._config = config
        self._clock = clock
        self._wait = wait if wait is not None else Event().wait
        self._interval_ns = max(round(NS_PER_S / config.frames_per_s), 1)
        self._picture_ns = round(config.picture_s * NS_PER_S)
        self._named_as_bad: set[Path] = set()
        self._is_closed = False
        self._paths: Iterator[Path] = iter(())
        self._picture = self._next_picture(may_begin_again=True)
        self._sequence = 0
        self._due_ns = clock.monotonic_ns()
        self._since_ns = self._due_ns

    @property
    def description(self) -> str:
        config = self._config
        return (
            f"pictures of {self._folder}, up to {config.width_px}x{config.height_px}, each for "
            f"{config.picture_s:g} s at {config.frames_per_s:g} frames/s"
        )

    def read(self, timeout_s: float) -> Frame | None:
        if self._is_closed:
            raise TransientError(f"{self._folder} was closed; open the camera again")
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._due_ns:
            self._wait(min(timeout_s, (self._due_ns - now_ns) / NS_PER_S))
            now_ns = self._clock.monotonic_ns()
            if now_ns < self._due_ns:
                return None
        shown_ns = now_ns - self._since_ns
        if shown_ns >= self._picture_ns:
            self._picture = self._next_picture(may_begin_again=self._config.at_end == "repeat")
            self._since_ns += self._picture_ns
            if shown_ns >= 2 * self._picture_ns:
                self._since_ns = now_ns
        passed = (now_ns - self._due_ns) // self._interval_ns
        self._sequence += 1 + passed
        self._due_ns += (1 + passed) * self._interval_ns
        return Frame(sequence=self._sequence, captured_ns=now_ns, main=self._picture)

    def close(self) -> None:
        self._is_closed = True

    def _next_picture(self, may_begin_again: bool) -> Rgb:
        """The next readable one. The folder is listed again at each round, so what was put in
        or taken out meanwhile counts."""
        for path in self._paths:
            picture = self._load(path)
            if picture is not None:
                return picture
        if not may_begin_again:
            raise SourceEndedError(f"all pictures of {self._folder} were shown, and at_end is stop")
        found = self._list()
        self._paths = iter(found)
        for path in self._paths:
            picture = self._load(path)
            if picture is not None:
                return picture
        what = f"{len(found)} files that cannot be read as pictures" if found else "no pictures"
        raise TransientError(
            f"{self._folder} has {what}; want at least one whole picture "
            f"({', '.join(sorted(SUFFIXES))})"
        )

    def _list(self) -> list[Path]:
        try:
            return sorted(
                path
                for path in self._folder.iterdir()
                if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
            )
        except OSError as exc:
            raise TransientError(
                f"{self._folder} cannot be listed ({exc.strerror}); want a folder of pictures: "
                "put some in, or name another one in [camera] path"
            ) from exc

    def _load(self, path: Path) -> Rgb | None:
        try:
            return read_picture(path, (self._config.height_px, self._config.width_px))
        except PictureError as exc:
            if path not in self._named_as_bad:
                self._named_as_bad.add(path)
                log.warning("picture skipped path=%s reason=%s", path, exc)
            return None
