"""A small real RTSP server (RFC 2326) that plays an H.264 clip over and over, over TCP.

It can fall silent, hang up, ask for a password, and accept callers without ever answering.
"""

import base64
import socket
import struct
from contextlib import suppress
from fractions import Fraction
from itertools import count
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

import av

from tests.clips import HEIGHT_PX, WIDTH_PX, yuv_frame

RATE = 25
CLOCK_HZ = 90_000
PAYLOAD_BYTES = 1200
FU_A = 28
"""Fragmented NAL unit. Source: RFC 6184, section 5.8."""


def h264_pictures(frames: int = 25) -> list[list[bytes]]:
    """The moving square, each picture as its NAL units; a key frame every five."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
    context.time_base, context.framerate = Fraction(1, RATE), Fraction(RATE)
    context.color_range, context.colorspace = 1, 5
    context.options = {"tune": "zerolatency", "g": "5", "preset": "ultrafast", "slices": "1"}
    packets = []
    for step in range(frames):
        frame = yuv_frame(step)
        frame.pts = step
        packets += context.encode(frame)
    packets += context.encode(None)
    return [_nal_units(bytes(packet)) for packet in packets]


def _nal_units(annex_b: bytes) -> list[bytes]:
    parts = annex_b.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


class RtspServer:
    """Listens on 127.0.0.1 from construction; a context manager."""

    def __init__(self, credentials: str | None = None, *, is_mute: bool = False) -> None:
        """credentials: "name:password" that callers must give (Basic). is_mute: callers are
        accepted and never answered."""
        self._pictures = h264_pictures()
        self._credentials = credentials
        self._is_mute = is_mute
        self._stop = Event()
        self._may_send = Event()
        self._may_send.set()
        self._lock = Lock()
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/stream1"

    def fall_silent(self) -> None:
        """Keep connections open and send nothing more."""
        self._may_send.clear()

    def speak(self) -> None:
        self._may_send.set()

    def hang_up(self) -> None:
        """Break every connection, as a camera does that loses its power and comes back."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.append(connection)
            thread = Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if self._is_mute:
                while connection.recv(4096):
                    pass
                return
            write_lock = Lock()
            pending = b""
            while True:
                received = connection.recv(4096)
                if not received:
                    return
                pending += received
                while pending:
                    if pending[:1] == b"$":  # the caller's RTCP
                        if len(pending) < 4 or len(pending) < 4 + _length(pending):
                            break
                        pending = pending[4 + _length(pending) :]
                        continue
                    head, found, pending_rest = pending.partition(b"\r\n\r\n")
                    if not found:
                        break
                    pending = pending_rest
                    method = self._answer(connection, write_lock, head.decode())
                    if method == "PLAY":
                        player = Thread(
                            target=self._play, args=(connection, write_lock), daemon=True
                        )
                        self._threads.append(player)
                        player.start()

    def _answer(self, connection: socket.socket, write_lock: Lock, head: str) -> str:
        """Answer one request; returns its method, or nothing where it was refused."""
        first, *lines = head.split("\r\n")
        method, url, _ = first.split(" ", 2)
        pairs = (line.split(": ", 1) for line in lines if ": " in line)
        headers = {name.lower(): value for name, value in pairs}
        status, extra, body = "200 OK", "", ""
        expected = None
        if self._credentials is not None:
            expected = "Basic " + base64.b64encode(self._credentials.encode()).decode()
        if expected is not None and headers.get("authorization") != expected:
            status, extra = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
            method = ""
        elif not url.rstrip("/").removesuffix("/track0").endswith("/stream1"):
            status, method = "404 Not Found", ""
        elif method == "OPTIONS":
            extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = self._description()
            extra = f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\n"
        elif method == "SETUP":
            extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1;timeout=60\r\n"
        else:
            extra = "Session: 1\r\n"
        answer = (
            f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        with write_lock:
            connection.sendall(answer.encode())
        return method

    def _description(self) -> str:
        by_kind = {unit[0] & 31: unit for unit in self._pictures[0]}
        sets = ",".join(base64.b64encode(by_kind[kind]).decode() for kind in (7, 8))
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
            f"a=framerate:{RATE}\r\na=control:track0\r\n"
        )

    def _play(self, connection: socket.socket, write_lock: Lock) -> None:
        numbers = count()
        with suppress(OSError):
            for picture in count():
                while not self._may_send.wait(0.05):
                    if self._stop.is_set():
                        return
                if self._stop.wait(1 / RATE):
                    return
                units = self._pictures[picture % len(self._pictures)]
                payloads = [payload for unit in units for payload in _payloads(unit)]
                for index, payload in enumerate(payloads):
                    is_last = index == len(payloads) - 1
                    packet = struct.pack(
                        ">BBHII",
                        0x80,
                        96 | (0x80 if is_last else 0),
                        next(numbers) & 0xFFFF,
                        picture * CLOCK_HZ // RATE,
                        0x10C0,
                    )
                    data = packet + payload
                    with write_lock:
                        connection.sendall(struct.pack(">cBH", b"$", 0, len(data)) + data)


def _length(interleaved: bytes) -> int:
    return int.from_bytes(interleaved[2:4], "big")


def _payloads(unit: bytes) -> list[bytes]:
    if len(unit) <= PAYLOAD_BYTES:
        return [unit]
    head, body = unit[0], unit[1:]
    pieces = [body[at : at + PAYLOAD_BYTES] for at in range(0, len(body), PAYLOAD_BYTES)]
    last = len(pieces) - 1
    return [
        bytes([head & 0xE0 | FU_A, head & 31 | (at == 0) << 7 | (at == last) << 6]) + piece
        for at, piece in enumerate(pieces)
    ]
