"""A broker that does what a test says: takes few packets at once, acknowledges or does not."""

import socket
from collections.abc import Callable
from threading import Condition, Thread
from types import TracebackType
from typing import BinaryIO, Self

from tests.kit.waiting import wait_until


class ScriptedBroker:
    """MQTT 5 for one client at a time, QoS 1 only. It ends a connection that has more under way
    than `receive_maximum`, as a broker may.

    acknowledges: at once; else what came waits for `acknowledge`.
    """

    def __init__(self, receive_maximum: int | None = None, acknowledges: bool = True) -> None:
        self.acknowledges = acknowledges
        self.connections = 0
        self.violations = 0
        self.pings = 0
        self.published: list[tuple[int, str, bytes]] = []
        """Connection, topic and payload of everything that came."""
        self._receive_maximum = receive_maximum
        self._changed = Condition()
        self._owed: list[int] = []
        self._client: socket.socket | None = None
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = Thread(target=self._serve, name="scripted-broker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.drop()
        self._thread.join(timeout=10.0)

    def topics(self, connection: int | None = None) -> list[str]:
        """The last part of each topic, of one connection or of all."""
        with self._changed:
            return [
                topic.rpartition("/")[2]
                for number, topic, _ in self.published
                if connection in (None, number)
            ]

    def acknowledge(self, count: int | None = None) -> int:
        """The oldest so many that are owed, or all; how many."""
        with self._changed:
            owed, self._owed = self._owed[:count], self._owed[count or len(self._owed) :]
            for packet_id in owed:
                self._send(b"\x40\x02" + packet_id.to_bytes(2, "big"))
            return len(owed)

    def drop(self) -> None:
        """End the connection without a word."""
        with self._changed:
            if self._client is not None:
                self._client.shutdown(socket.SHUT_RDWR)

    def wait_for(self, fact: Callable[[], object], what: str) -> None:
        wait_until(fact, what, timeout_s=10.0, every_s=0.005)

    def _send(self, packet: bytes) -> None:
        if self._client is not None:
            try:
                self._client.sendall(packet)
            except OSError:
                return  # it has gone

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                with self._changed:
                    self._client, self._owed = client, []
                    self.connections += 1
                try:
                    while self._answer(stream):
                        pass
                except OSError:
                    pass
                with self._changed:
                    self._client = None

    def _answer(self, stream: BinaryIO) -> bool:
        """One packet; whether the connection goes on."""
        head = stream.read(1)
        if not head:
            return False
        body = stream.read(_length(stream))
        with self._changed:
            match head[0] >> 4:
                case 1:
                    most = self._receive_maximum
                    told = b"" if most is None else b"\x21" + most.to_bytes(2, "big")
                    packet = b"\x00\x00" + bytes([len(told)]) + told
                    self._send(b"\x20" + bytes([len(packet)]) + packet)
                case 3:
                    return self._take(body)
                case 12:
                    self.pings += 1
                    self._send(b"\xd0\x00")
                case 14:
                    return False
        return True

    def _take(self, body: bytes) -> bool:
        topic_end = 2 + int.from_bytes(body[:2], "big")
        packet_id = int.from_bytes(body[topic_end : topic_end + 2], "big")
        payload = body[topic_end + 3 + body[topic_end + 2] :]
        self.published.append((self.connections, body[2:topic_end].decode(), payload))
        self._owed.append(packet_id)
        if self._receive_maximum is not None and len(self._owed) > self._receive_maximum:
            self.violations += 1
            self._send(b"\xe0\x01\x93")
            return False
        if self.acknowledges:
            self.acknowledge()
        return True


def _length(stream: BinaryIO) -> int:
    """MQTT's variable byte integer."""
    length = shift = 0
    while True:
        byte = stream.read(1)
        if not byte:
            return 0
        length |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return length
