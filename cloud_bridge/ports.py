"""Every door between the bridge's loops and the world: each port states its whole contract."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """Both in nanoseconds; logic runs on the monotonic one."""

    def monotonic_ns(self) -> int: ...

    def wall_ns(self) -> int: ...


# --- MQTT ---------------------------------------------------------------------------------------


class Arrival(NamedTuple):
    """A message from the broker. mid: to acknowledge it by, 0 when it wants none (QoS 0).

    topic: bytes, since a broker may let broken UTF-8 through.
    """

    mid: int
    topic: bytes
    payload: bytes


class Link(Protocol):
    """One MQTT 5 connection with a session; owned by the thread that calls `turn`.

    Only `send` and `wake` may be called from other threads.
    """

    @property
    def connection(self) -> int:
        """Grows by one with each connection; a mid means nothing to another connection."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def problem(self) -> str | None:
        """Why there is no connection, for people."""

    def turn(self, timeout_s: float, room: int) -> list[Arrival]:
        """Wait for the network and return what came on the present connection, about `room`
        messages at most.

        Connects and reconnects by itself, with backoff and jitter. room: 0 reads nothing once it
        is connected, and keeps the connection alive all the same. A socket's worth may come on
        top, and while it connects, what the session holds. Nothing that the broker or the network
        does raises.
        """

    def acknowledge(self, mids: Sequence[int]) -> None:
        """In the order in which they came on the present connection; without one, nothing."""

    def send(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        must_be_heard: bool = False,
        done: Callable[[str | None], None] | None = None,
    ) -> None:
        """Publish from any thread. done: called once, with None after the broker took it (QoS 1:
        its PUBACK), or with a problem for people: refused, or no connection. must_be_heard: it
        is a problem, too, when the broker says that it has no subscriber (QoS 1)."""

    def wake(self) -> None:
        """End the wait of `turn`, from any thread."""

    def close(self) -> None:
        """Say goodbye; the session stays, and what was not acknowledged comes again."""


# --- Pub/Sub ------------------------------------------------------------------------------------


class OutMessage(NamedTuple):
    """What goes to Pub/Sub."""

    body: bytes
    attributes: Mapping[str, str]


class Publisher(Protocol):
    """Called from several threads at once."""

    def publish(self, topic: str, messages: Sequence[OutMessage]) -> None:
        """On return Pub/Sub has confirmed each of the messages, at least one and at most 1,000.

        topic: `projects/P/topics/T`. Blocks for at most about 20 s.

        Raises:
            TransientError: nobody knows whether they were taken; trying again may help.
            RejectedError: one of them will never be taken; none was.
            BlockedError: none is taken until a person mends something.
        """

    def subscriptions(self, topic: str) -> int:
        """How many subscriptions the topic has, counted up to 1.

        Raises TransientError and BlockedError.
        """

    def close(self) -> None: ...


class Received(NamedTuple):
    """A message of a subscription."""

    ack_id: str
    body: bytes
    attributes: Mapping[str, str]


class CommandSource(Protocol):
    """The subscription of what goes down to the devices."""

    def pull(self) -> list[Received]:
        """Wait a few seconds for messages; empty when none came.

        Raises TransientError and BlockedError.
        """

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """They do not come again, as a rule. Raises TransientError and BlockedError."""

    def close(self) -> None: ...


class Versions(Protocol):
    """The newest version of desired settings that each device was sent; survives a power cut."""

    def admit(self, registry: str, device: str, version: int, digest: str) -> int | None:
        """Note it when it is the largest so far. None: it may go out, for the first time or, with
        the same digest, again; else the version that stands in its way.

        Raises TransientError.
        """

    def close(self) -> None: ...


# --- dead letters -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message that went nowhere. topic: MQTT's, unreadable bytes escaped.

    device, run, seq: as far as they can be told; with all three the device hears of it.
    """

    topic: str
    payload: bytes
    reason: str
    registry: str | None = None
    device: str | None = None
    run: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLetter:
    """A letter on disk. number: grows, never given twice. times: how often the same came."""

    number: int
    letter: Letter
    first_ns: int
    last_ns: int
    times: int


class DeadLetters(Protocol):
    """Letters on disk; one object a thread, several processes at once."""

    def add_all(self, letters: Sequence[Letter]) -> None:
        """On return all survive a power cut. The same topic and payload again is counted.

        Raises:
            FullError: there is no room for all of them; none was kept.
            TransientError: the disk refused; none was kept.
        """

    def letters(self, numbers: Sequence[int] | None = None, limit: int = 100) -> list[KeptLetter]:
        """Oldest first; `numbers`: those alone."""

    def remove(self, numbers: Sequence[int]) -> int:
        """How many there were of them."""

    def count(self) -> tuple[int, int]:
        """Letters, and bytes of them."""

    def close(self) -> None: ...


# --- being heard --------------------------------------------------------------------------------


class Reporter(Protocol):
    """Where workers say how they are; from any thread."""

    def add(self, what: str, count: int = 1) -> None:
        """Count."""

    def trouble(self, part: str, words: str) -> None:
        """A part is not itself; logged when it is news."""

    def well(self, part: str) -> None:
        """It is again."""
