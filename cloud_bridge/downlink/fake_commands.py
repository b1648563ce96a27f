"""A subscription in memory: what is not acknowledged comes again with the next pull."""

from collections import deque
from collections.abc import Mapping, Sequence
from threading import Condition

from cloud_bridge.errors import CloudError
from cloud_bridge.ports import Received

WAIT_S = 0.05


class FakeCommands:
    """Matches `ports.CommandSource`."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._held: dict[str, tuple[bytes, dict[str, str]]] = {}
        self._next = 1
        self.errors: deque[CloudError] = deque()
        """Of the next calls."""

    def pull(self) -> list[Received]:
        with self._changed:
            self._raise()
            self._changed.wait_for(lambda: bool(self._held), WAIT_S)
            return [Received(ack_id, *each) for ack_id, each in list(self._held.items())[:100]]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        with self._changed:
            self._raise()
            for ack_id in ack_ids:
                self._held.pop(ack_id, None)

    def close(self) -> None: ...

    # --- the test's side ----------------------------------------------------------------------

    def put(self, body: bytes, attributes: Mapping[str, str]) -> None:
        with self._changed:
            self._held[f"ack-{self._next}"] = (body, dict(attributes))
            self._next += 1
            self._changed.notify_all()

    @property
    def held(self) -> int:
        with self._changed:
            return len(self._held)

    def _raise(self) -> None:
        if self.errors:
            raise self.errors.popleft()
