"""A video file as a camera: played at its own speed, from the beginning again if so asked."""

import logging
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from threading import Event
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from device.camera.av_frames import to_yuv420
from device.camera.pace import NS_PER_S, FrameRate
from device.config import CameraConfig
from device.core.images import Frame
from device.errors import SourceEndedError, TransientError
from device.ports import Clock

log = logging.getLogger(__name__)

PATIENCE_NS = NS_PER_S
"""For a caller that comes later than this the clip waits; for less, frames are skipped."""
USUAL_FRAMES_PER_S = 25.0


class _Decoded(NamedTuple):
    """at_ns: on the clip's own time line, which goes on over repeats; 0 at the first frame."""

    frame: VideoFrame
    at_ns: int


class VideoFile:
    """Frames are Yuv420 in the file's own size and timing, at most `frames_per_s` of them.

    Of a file that was cut, what can be decoded is played. Where decoding is slower than the
    clip, the clip is slower too.
    """

    def __init__(
        self, config: CameraConfig, clock: Clock, wait: Callable[[float], object] | None = None
    ) -> None:
        """wait: lets at most so many seconds pass.

        Raises:
            TransientError: no such file, or nothing in it can be decoded as video.
        """
        if config.path is None:
            raise TransientError('no video file is named; want path = "..." in [camera]')
        self._path = config.path
        self._clock = clock
        self._wait = wait if wait is not None else Event().wait
        self._frames_per_s = config.frames_per_s
        self._interval_ns = FrameRate(config.frames_per_s).interval_ns
        self._sequence = 0
        self._is_closed = False
        self._frames = _play(self._path, config.at_end == "repeat", config.frames_per_s)
        self._next: _Decoded | None = next(self._frames)
        first = self._next.frame
        self._size = f"{first.width}x{first.height}"
        self._began_ns = clock.monotonic_ns()

    @property
    def description(self) -> str:
        return f"video file {self._path}, {self._size}, at most {self._frames_per_s:g} frames/s"

    def read(self, timeout_s: float) -> Frame | None:
        if self._is_closed:
            raise TransientError(f"{self._path} was closed; open the camera again")
        called_ns = now_ns = self._clock.monotonic_ns()
        due = self._peek()
        if due is None:
            raise SourceEndedError(f"{self._path} came to its end, and at_end is stop")
        early_ns = self._began_ns + due.at_ns - now_ns
        if early_ns > 0:
            self._wait(min(timeout_s, early_ns / NS_PER_S))
            now_ns = self._clock.monotonic_ns()
            if now_ns < self._began_ns + due.at_ns:
                return None
        self._next = None
        while self._interval_ns <= self._late_ns(due, now_ns) <= PATIENCE_NS:
            newer = self._peek()
            now_ns = self._clock.monotonic_ns()
            took_too_long = now_ns - called_ns > self._interval_ns
            if newer is None or took_too_long or self._late_ns(newer, now_ns) < 0:
                break
            due, self._next = newer, None
        late_ns = self._late_ns(due, now_ns)
        if late_ns >= self._interval_ns:
            self._began_ns += late_ns
        self._sequence += 1
        return Frame(sequence=self._sequence, captured_ns=now_ns, main=to_yuv420(due.frame))

    def close(self) -> None:
        self._is_closed = True
        self._frames.close()
        self._next = None

    def _peek(self) -> _Decoded | None:
        if self._next is None:
            self._next = next(self._frames, None)
        return self._next

    def _late_ns(self, decoded: _Decoded, now_ns: int) -> int:
        return now_ns - self._began_ns - decoded.at_ns


def _play(path: Path, repeats: bool, frames_per_s: float) -> Generator[_Decoded, None, None]:
    """The clip's frames, thinned to `frames_per_s`; raises TransientError when there are none."""
    rate = FrameRate(frames_per_s)
    offset_ns = 0
    while True:
        count, end_ns = 0, 0
        # Opened anew each time: seeking to the start fails in files without an index.
        with _open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            usual_ns = round(NS_PER_S / float(stream.average_rate or USUAL_FRAMES_PER_S))
            first_ns: int | None = None
            for frame in _decode(path, container, stream):
                # Typed as always there; a raw stream has none.
                time_s: float | None = frame.time
                at_ns = end_ns if time_s is None else round(time_s * NS_PER_S)
                first_ns = at_ns if first_ns is None else first_ns
                at_ns -= first_ns
                if count > 0 and at_ns <= end_ns - usual_ns:  # times that go back are no times
                    at_ns = end_ns
                count, end_ns = count + 1, at_ns + usual_ns
                if rate.admits(offset_ns + at_ns):
                    yield _Decoded(frame, offset_ns + at_ns)
        if count == 0:
            raise TransientError(
                f"{path} holds no frame that can be decoded; want a whole video file: "
                "copy it again, or name another one in [camera] path"
            )
        if not repeats:
            return
        offset_ns += end_ns


def _open(path: Path) -> InputContainer:
    try:
        # A named pipe would be waited for, for ever.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise TransientError(f"{path} is no plain file; want a video file there")
        # Titles in another encoding are nothing to us.
        container = av.open(str(path), mode="r", metadata_errors="replace")
    except av.error.FileNotFoundError as exc:
        raise TransientError(f"there is no file {path}; want a video file there") from exc
    except av.error.FFmpegError as exc:
        raise TransientError(
            f"{path} cannot be opened as video ({exc.strerror}); want a whole video file such as "
            ".mp4, .mkv or .avi: it may be cut, or be something else"
        ) from exc
    if not container.streams.video:
        container.close()
        raise TransientError(
            f"{path} has no video stream; want a whole video file: it may be cut, or be sound only"
        )
    return container


def _decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """All frames that can be decoded; damage is passed over and counted."""
    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as exc:
            log.warning("video file ends early path=%s reason=%s", path, exc.strerror)
            return
        if packet is None:
            break
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            damaged += 1
    if damaged:
        log.warning("video file is damaged path=%s packets=%d", path, damaged)
