"""Reads along what an MQTT 5 client sends and gets: which events are on the wire, unanswered."""

import json
from collections import Counter
from threading import Lock

from tests.kit.tcp_proxy import Way

PUBLISH, PUBACK = 3, 4


class MqttTap:
    """A tap of a `TcpProxy` before a broker. Only events count, not `state` or `availability`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pieces: dict[tuple[int, Way], bytearray] = {}
        self._unanswered: dict[int, set[int]] = {}
        self._sent: Counter[str] = Counter()
        self._most = 0

    def __call__(self, connection: int, way: Way, piece: bytes) -> None:
        buffer = self._pieces.setdefault((connection, way), bytearray())
        buffer += piece
        while (packet := _take_packet(buffer)) is not None:
            with self._lock:
                self._take(connection, way, *packet)

    @property
    def sent(self) -> Counter[str]:
        """How often each event, by its id, was sent."""
        with self._lock:
            return Counter(self._sent)

    @property
    def distinct(self) -> int:
        """How many events were sent, each counted once."""
        with self._lock:
            return len(self._sent)

    @property
    def most_unanswered(self) -> int:
        """The most events that one connection had on the wire without PUBACK."""
        with self._lock:
            return self._most

    def _take(self, connection: int, way: Way, head: int, body: bytes) -> None:
        unanswered = self._unanswered.setdefault(connection, set())
        if way == "up" and head >> 4 == PUBLISH and head & 6:
            topic_end = 2 + int.from_bytes(body[:2], "big")
            if b"/events/" not in body[:topic_end]:
                return
            unanswered.add(int.from_bytes(body[topic_end : topic_end + 2], "big"))
            self._most = max(self._most, len(unanswered))
            length, size = _number(body, topic_end + 2) or (0, 0)
            event = json.loads(body[topic_end + 2 + size + length :])
            self._sent[event["id"]] += 1
        elif way == "down" and head >> 4 == PUBACK:
            unanswered.discard(int.from_bytes(body[:2], "big"))


def _number(buffer: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """MQTT's variable byte integer: value, and how many bytes it has; None: not all of it came."""
    value = 0
    for index in range(4):
        if at + index >= len(buffer):
            return None
        byte = buffer[at + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, index + 1
    raise AssertionError("no MQTT: a length of more than four bytes")


def _take_packet(buffer: bytearray) -> tuple[int, bytes] | None:
    """The first whole packet as (first byte, body), taken away; None: it is not whole yet."""
    found = _number(buffer, 1) if buffer else None
    if found is None:
        return None
    length, size = found
    end = 1 + size + length
    if len(buffer) < end:
        return None
    head, body = buffer[0], bytes(buffer[1 + size : end])
    del buffer[:end]
    return head, body
