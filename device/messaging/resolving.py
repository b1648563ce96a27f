"""Names to addresses in a thread that may be left behind: a resolver can block for a minute."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

Resolve = Callable[[str, int], list[str]]
"""Host and port to numeric addresses, best first. Raises OSError."""


def resolve(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Answer:
    """addresses: best first, or none, with the reason."""

    addresses: tuple[str, ...]
    problem: str | None = None


class Lookup:
    """One question. `answer` is set last, by the lookup's own thread, and only once."""

    def __init__(self, host: str, port: int, ask: Resolve, done: Callable[[], None]) -> None:
        """done: called on the lookup's thread when the answer is there."""
        self._host = host
        self._port = port
        self._ask = ask
        self._done = done
        self.answer: Answer | None = None
        Thread(target=self._run, name="lookup", daemon=True).start()

    def _run(self) -> None:
        try:
            addresses = tuple(self._ask(self._host, self._port))
        except (OSError, UnicodeError) as exc:
            self.answer = Answer((), getattr(exc, "strerror", None) or str(exc))
        else:
            self.answer = Answer(addresses, None if addresses else "it has no address")
        self._done()
