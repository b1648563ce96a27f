"""Reads along what an MQTT 5 client sends and gets: which events are on their way, without
PUBACK or without receipt."""

import json
from collections import Counter
from collections.abc import Mapping
from threading import Lock
from typing import Any

from tests.kit.tcp_proxy import Way

PUBLISH, PUBACK = 3, 4


class MqttTap:
    """A tap of a `TcpProxy` before a broker. Only events count, not `state` or `availability`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pieces: dict[tuple[int, Way], bytearray] = {}
        self._unanswered: dict[int, set[int]] = {}
        self._sent: Counter[str] = Counter()
        self._confirmed: set[str] = set()
        self._in_flight: set[str] = set()
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
    def in_flight(self) -> int:
        """How many events were sent, and are in no receipt yet."""
        with self._lock:
            return len(self._in_flight)

    @property
    def most_unanswered(self) -> int:
        """The most events that one connection had on the wire without PUBACK."""
        with self._lock:
            return self._most

    def _take(self, connection: int, way: Way, head: int, body: bytes) -> None:
        unanswered = self._unanswered.setdefault(connection, set())
        kind = head >> 4
        if kind == PUBLISH:
            topic_end = 2 + int.from_bytes(body[:2], "big")
            topic, at = body[2:topic_end].decode(), topic_end
            if head & 6:
                at += 2
            length, size = _number(body, at) or (0, 0)
            payload = body[at + size + length :]
            if way == "up" and "/events/" in topic:
                unanswered.add(int.from_bytes(body[topic_end:at], "big"))
                self._most = max(self._most, len(unanswered))
                self._note_sent(json.loads(payload)["id"])
            elif way == "down" and topic.endswith("/receipts"):
                self._note_receipt(topic.split("/")[-2], json.loads(payload))
        elif way == "down" and kind == PUBACK:
            unanswered.discard(int.from_bytes(body[:2], "big"))

    def _note_sent(self, event_id: str) -> None:
        self._sent[event_id] += 1
        if event_id not in self._confirmed:
            self._in_flight.add(event_id)

    def _note_receipt(self, device: str, receipt: Mapping[str, Any]) -> None:
        run = receipt["run"]
        named = [seq for first, last in receipt["ok"] for seq in range(first, last + 1)]
        named += [refusal["seq"] for refusal in receipt.get("refused", ())]
        ids = {f"{device}:{run}:{seq}" for seq in named} & self._in_flight
        self._in_flight -= ids
        self._confirmed |= ids


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
