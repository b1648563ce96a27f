"""Ends a wait on a socket, from any thread."""

import os
import select
from threading import Lock


class WakePipe:
    """A pipe beside the socket; a wake after `close` does nothing."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_closed = False

    @property
    def fileno(self) -> int:
        return self._read

    def wake(self) -> None:
        # Under the lock: the number of a closed pipe may be that of a file by now.
        with self._lock:
            if self._is_closed:
                return
            try:
                os.write(self._write, b"w")
            except BlockingIOError:
                return  # it is full of wakes

    def drain(self) -> None:
        try:
            os.read(self._read, 65536)
        except BlockingIOError:
            return

    def pause(self, timeout_s: float) -> None:
        """Wait for a wake."""
        if select.select([self._read], [], [], max(timeout_s, 0.0))[0]:
            self.drain()

    def close(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._read)
                os.close(self._write)
