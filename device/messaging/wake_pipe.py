"""A pipe that ends another thread's wait on a socket."""

import os
import select
from threading import Lock


class WakePipe:
    """`wake` comes from any thread, also after `close`; the rest belongs to the waiting one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_closed = False
        self.fileno, self._write = os.pipe()
        os.set_blocking(self.fileno, False)
        os.set_blocking(self._write, False)

    def wake(self) -> None:
        with self._lock:
            if not self._is_closed:
                try:
                    os.write(self._write, b"!")
                except BlockingIOError:
                    return  # it is full of wakes already

    def pause(self, timeout_s: float) -> None:
        """Wait for a wake and nothing else."""
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        poll.poll(max(timeout_s, 0.0) * 1000)
        self.drain()

    def drain(self) -> None:
        try:
            os.read(self.fileno, 4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self.fileno)
                os.close(self._write)
