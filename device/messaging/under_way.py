"""Packets that wait for the broker's acknowledgement, on one connection."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Packet:
    """row: of the outbox; None: `state` or `availability`."""

    row: int | None
    sent_ns: int


class UnderWay:
    """By packet id, oldest first. All count towards the broker's Receive Maximum, ours too."""

    def __init__(self, receive_maximum: int = 65535) -> None:
        self._receive_maximum = receive_maximum
        self._packets: dict[int, _Packet] = {}
        self._progress_ns = 0

    def __contains__(self, packet_id: int | None) -> bool:
        return packet_id in self._packets

    @property
    def is_free(self) -> bool:
        """Whether the broker takes one more."""
        return len(self._packets) < self._receive_maximum

    @property
    def event_places(self) -> int:
        """How many events may be under way, beside the packets of our own that are."""
        own = sum(packet.row is None for packet in self._packets.values())
        return self._receive_maximum - own

    def add(self, packet_id: int, now_ns: int, row: int | None = None) -> None:
        self._packets[packet_id] = _Packet(row, now_ns)

    def settle(self, packet_id: int, now_ns: int) -> int | None:
        """The broker has answered; the row, if it was an event of this connection."""
        self._progress_ns = now_ns
        packet = self._packets.pop(packet_id, None)
        return None if packet is None else packet.row

    def note_progress(self, now_ns: int) -> None:
        """Bytes are on their way still: a slow line is no silent broker."""
        self._progress_ns = now_ns

    def silent_ns(self, now_ns: int) -> int:
        """How long the broker has owed an answer without giving any."""
        oldest = next(iter(self._packets.values()), None)
        return 0 if oldest is None else now_ns - max(oldest.sent_ns, self._progress_ns)
