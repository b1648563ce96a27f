"""The downlink: what came down, taken one by one on a thread of its own."""

import logging
from collections.abc import Callable
from queue import Empty, Full, Queue

from device.pipeline.commanding import Commanding
from device.pipeline.tuning import Tuning
from device.ports import Incoming
from device.wire.downward import decode_desired
from device.wire.errors import WireError
from device.wire.names import Topics

log = logging.getLogger(__name__)

WAITING_AT_MOST = 256
TURN_S = 0.5


class Downlink:
    """`put` and `reload` may come from any thread; the rest belongs to its own."""

    def __init__(self, topics: Topics, commanding: Commanding, tuning: Tuning) -> None:
        self._topics = topics
        self._commanding = commanding
        self._tuning = tuning
        self._waiting: Queue[Incoming | Callable[[], None]] = Queue(WAITING_AT_MOST)
        self._dropped = 0
        self._unreadable = 0

    @property
    def dropped(self) -> int:
        """Messages that came too fast, or that nobody could read. Any thread."""
        return self._dropped + self._unreadable + self._commanding.unreadable

    def put(self, message: Incoming) -> None:
        """Any thread; never waits."""
        try:
            self._waiting.put_nowait(message)
        except Full:
            self._dropped += 1
            log.warning("message dropped, too many wait topic=%s", message.topic)

    def do(self, job: Callable[[], None]) -> bool:
        """Have `job` done on this thread, in its turn; False: too many wait. Any thread."""
        try:
            self._waiting.put_nowait(job)
        except Full:
            return False
        return True

    def turn(self, timeout_s: float = TURN_S) -> None:
        """One message, or `timeout_s` without one."""
        try:
            found = self._waiting.get(timeout=timeout_s)
        except Empty:
            found = None
        if isinstance(found, Incoming):
            self._take(found)
        elif found is not None:
            found()
        self._tuning.watch_trial()

    def _take(self, message: Incoming) -> None:
        if self._topics.command_subfolder(message.topic) is not None:
            self._commanding.take(message.payload)
        elif message.topic == self._topics.config and message.payload:
            try:
                desired = decode_desired(message.payload)
            except WireError as exc:
                self._unreadable += 1
                log.warning("desired settings not read: %s", exc)
                self._tuning.refuse_unreadable(str(exc))
                return
            self._tuning.desire(desired)
