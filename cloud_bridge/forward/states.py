"""`state` and `availability`: one slot a device and kind, the newest wins."""

from threading import Condition

from cloud_bridge.ports import OutMessage

Slot = tuple[str, str, str]
"""Registry, device, kind."""

SLOTS_AT_MOST = 50_000
BYTES_AT_MOST = 64 * 1024 * 1024


class StateSlots:
    """Filled by the link's thread, emptied by the one that publishes."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[Slot, OutMessage] = {}
        self._size_bytes = 0

    def put(self, slot: Slot, message: OutMessage) -> bool:
        """False: there is no room for another device; the broker still retains it."""
        with self._changed:
            old = self._waiting.get(slot)
            size_bytes = self._size_bytes + len(message.body) - (len(old.body) if old else 0)
            if size_bytes > BYTES_AT_MOST or (old is None and len(self._waiting) >= SLOTS_AT_MOST):
                return False
            self._waiting[slot] = message
            self._size_bytes = size_bytes
            self._changed.notify_all()
            return True

    def take(self, limit: int, limit_bytes: int, timeout_s: float) -> dict[Slot, OutMessage]:
        """The oldest; waits for one."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), timeout_s)
            taken: dict[Slot, OutMessage] = {}
            size_bytes = 0
            for slot, message in self._waiting.items():
                size_bytes += len(message.body)
                if len(taken) >= limit or (taken and size_bytes > limit_bytes):
                    break
                taken[slot] = message
            for slot, message in taken.items():
                del self._waiting[slot]
                self._size_bytes -= len(message.body)
            return taken

    def put_back(self, messages: dict[Slot, OutMessage]) -> None:
        """Those that no newer one replaced meanwhile."""
        with self._changed:
            for slot, message in messages.items():
                if slot not in self._waiting:
                    self._waiting[slot] = message
                    self._size_bytes += len(message.body)

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)
