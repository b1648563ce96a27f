"""paho's client with its socket read and written in large pieces.

paho reads a packet in at least three calls of `recv`, and sends each acknowledgement alone; the
bridge reads what the kernel has and sends all acknowledgements of a turn at once. Two of the
methods that this rests on are paho's own doors to its socket, the third is where it hands a message
over; `tests/contracts/test_link.py` holds them.
"""

import select
import socket
from collections.abc import Sequence
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

RECEIVE_BYTES = 256 * 1024
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


def _send_at_once(_client: mqtt.Client, _userdata: object, sock: Any) -> None:  # noqa: ANN401 - paho's own protocol of sockets lacks the call
    """Else a receipt behind an acknowledgement waits 40 ms for the broker's delayed ACK."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class BufferedClient(mqtt.Client):
    """MQTT 5, manual acknowledgements, no reconnecting of its own; one thread's."""

    def __init__(self, client_id: str) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._inward = b""
        self._inward_at = 0
        self._outward = bytearray()
        self.on_socket_open = _send_at_once

    @property
    def has_input(self) -> bool:
        """Bytes that were received and not yet read by paho."""
        return self._inward_at < len(self._inward)

    @property
    def has_output(self) -> bool:
        return bool(self._outward) or self.want_write()

    def flush(self) -> None:
        """Send what fits into the socket. Raises OSError: the connection is gone."""
        if self.want_write():
            self.loop_write()  # what was published inside a callback
        while self._outward:
            try:
                sent = super()._sock_send(self._outward)
            except BlockingIOError:
                return
            del self._outward[:sent]

    def drain(self, timeout_s: float) -> None:
        """Wait until everything is with the kernel; a slow one is given so long for each piece."""
        while True:
            self.flush()
            sock = self.socket()
            if not self.has_output or sock is None:
                return
            if not select.select([], [sock], [], timeout_s)[1]:
                return

    def acknowledge(self, mids: Sequence[int]) -> None:
        """PUBACK for each, as `ack` would send it, as one piece."""
        pieces = [b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids if mid]
        self._outward += b"".join(pieces)

    def ping(self) -> None:
        """Beside paho's own: for the time when nothing is read, and no answer seen."""
        self._outward += PINGREQ

    def say_goodbye(self) -> None:
        """paho's `disconnect` would close the socket before this buffer is sent."""
        self._outward += DISCONNECT

    def _handle_on_message(self, message: mqtt.MQTTMessage) -> None:
        """There is one callback, on this thread: paho's matching of topics with callbacks and its
        locks were an eighth of what a message cost."""
        self.on_message(self, None, message)  # type: ignore[misc]

    def _sock_recv(self, bufsize: int) -> bytes:
        at = self._inward_at
        if at >= len(self._inward):
            self._inward = super()._sock_recv(RECEIVE_BYTES)
            at = 0
        piece = self._inward[at : at + bufsize]
        self._inward_at = at + len(piece)
        return piece

    def _sock_send(self, buf: bytes | bytearray) -> int:
        self._outward += buf
        return len(buf)
