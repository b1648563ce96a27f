"""A network camera over RTSP: a thread drains its stream, and the newest picture is kept."""

from threading import Condition, Event, Thread
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

import av
from av.video.frame import VideoFrame

from device.camera.av_frames import to_yuv420
from device.camera.pace import FrameRate
from device.config import CameraConfig
from device.core.images import Frame
from device.errors import TransientError
from device.ports import Clock

OPEN_S = 4.0
"""An address must have answered by then; under the camera thread's own deadline of 5 s."""
SILENCE_S = 10.0
"""A connection without a byte for so long is given up; many cameras die without a FIN."""
JOIN_S = 1.0

OPTIONS = {
    "rtsp_transport": "tcp",  # over Wi-Fi, UDP loses slices and the pictures smear
    "fflags": "nobuffer",
    "flags": "low_delay",
    "analyzeduration": "1000000",  # microseconds; the default looks at five seconds first
    "probesize": "1000000",
    "fpsprobesize": "0",  # the rate is nothing to us, and finding it out takes a second
    "max_delay": "0",
}


class _Latest(NamedTuple):
    frame: VideoFrame
    captured_ns: int
    sequence: int


class RtspCamera:
    """Frames are Yuv420 as the camera encodes them, at most `frames_per_s` of them.

    A stream is drained as fast as it comes, whoever reads: what is not read in time would
    pile up, here or in the camera, as delay. FFmpeg can block for seconds and cannot be woken,
    so it lives in a thread of its own that may be left behind.
    """

    def __init__(
        self,
        config: CameraConfig,
        clock: Clock,
        open_s: float = OPEN_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """Raises TransientError when the address does not answer as a camera within `open_s`."""
        if config.url is None:
            raise TransientError('no camera address is named; want url = "rtsp://..." in [camera]')
        self._shown_url = _without_credentials(config.url)
        self._clock = clock
        self._frames_per_s = config.frames_per_s
        self._rate = FrameRate(config.frames_per_s)
        self._open_s, self._silence_s = open_s, silence_s
        self._changed = Condition()
        self._is_open = False
        self._size = ""
        self._latest: _Latest | None = None
        self._problem: str | None = None
        self._stop = Event()
        address = _with_credentials(config)
        self._thread = Thread(target=self._drain, args=(address,), name="rtsp", daemon=True)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(self._is_decided, open_s)
            if self._is_open:
                return
        self._stop.set()
        raise TransientError(self._why() or self._nothing_came(open_s))

    @property
    def description(self) -> str:
        return f"RTSP camera {self._shown_url}{self._size}, at most {self._frames_per_s:g} frames/s"

    def read(self, timeout_s: float) -> Frame | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._latest is not None or self._problem is not None, timeout_s
            )
            latest, self._latest = self._latest, None
            problem = self._problem
        if latest is not None:
            image = to_yuv420(latest.frame)
            return Frame(sequence=latest.sequence, captured_ns=latest.captured_ns, main=image)
        if problem is not None:
            raise TransientError(problem)
        return None

    def close(self) -> None:
        self._stop.set()
        with self._changed:
            self._problem = f"{self._shown_url} was closed; open the camera again"
            self._latest = None
        self._thread.join(JOIN_S)

    def _drain(self, address: str) -> None:
        try:
            problem = self._play(address)
        except av.error.FFmpegError as exc:
            problem = self._describe(exc)
        except Exception as exc:  # noqa: BLE001 - a thread's top
            problem = f"{self._shown_url} failed: {type(exc).__name__}"
        with self._changed:
            self._problem = self._problem or problem
            self._changed.notify_all()

    def _play(self, address: str) -> str:
        """Decode until the stream ends or nobody wants it; returns why it is over."""
        sequence = 0
        with av.open(
            address,
            options=OPTIONS,
            timeout=(self._open_s, self._silence_s),
            metadata_errors="replace",
        ) as source:
            if not source.streams.video:
                return f"{self._shown_url} sends no video; want a stream with a picture"
            stream = source.streams.video[0]
            with self._changed:
                self._size = f", {stream.width}x{stream.height}"
                self._is_open = True
                self._changed.notify_all()
            for packet in source.demux(stream):
                if self._stop.is_set():
                    break
                arrived_ns = self._clock.monotonic_ns()
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    continue  # until the first key frame, and after a lost packet
                for frame in frames:
                    if self._rate.admits(arrived_ns):
                        sequence += 1
                        self._put(_Latest(frame, arrived_ns, sequence))
        return f"{self._shown_url} ended the stream; want one that goes on: it is opened again"

    def _is_decided(self) -> bool:
        return self._is_open or self._problem is not None

    def _why(self) -> str | None:
        return self._problem

    def _nothing_came(self, within_s: float) -> str:
        return (
            f"{self._shown_url} answered nothing within {within_s:g} s; want an RTSP camera "
            "there: check its address, its power and the network"
        )

    def _put(self, latest: _Latest) -> None:
        with self._changed:
            self._latest = latest
            self._changed.notify_all()

    def _describe(self, exc: av.error.FFmpegError) -> str:
        """For people. The exception's own text holds the address with the password."""
        url = self._shown_url
        match exc:
            case av.error.ConnectionRefusedError():
                return (
                    f"nothing listens at {url}; want an RTSP camera there: check address and port"
                )
            case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
                return (
                    f"{url} refused the user name or the password; want the camera's own in "
                    "[camera] username and password_file"
                )
            case av.error.HTTPNotFoundError():
                return (
                    f"{url} has no stream of that name; want the path that the camera's maker "
                    "gives for RTSP"
                )
            case av.error.ExitError():
                return self._nothing_came(self._silence_s if self._is_open else self._open_s)
            case _:
                return f"{url} cannot be played ({exc.strerror}); want an RTSP camera's stream"


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _with_credentials(config: CameraConfig) -> str:
    """The address as FFmpeg wants it, with user name and password inside."""
    if config.username is None or config.url is None:
        return config.url or ""
    password = ""
    if config.password_file is not None:
        try:
            password = config.password_file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise TransientError(
                f"the password file {config.password_file} cannot be read "
                f"({getattr(exc, 'strerror', 'not UTF-8')}); want a text file with the camera's "
                "password that the box's user may read"
            ) from exc
    parts = urlsplit(config.url)
    host = parts.netloc.rpartition("@")[2]
    credentials = f"{quote(config.username, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{credentials}@{host}"))
