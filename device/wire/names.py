"""Names on the wire: devices, registries, topics, runs and event ids."""

import re
from dataclasses import dataclass

from device.wire.errors import WireError

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
"""Of a device or a registry: starts with a letter, no character that MQTT gives a meaning."""

_NAME = re.compile(NAME_PATTERN)
_RUN = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{8})")
_EVENT_ID = re.compile(
    r"([A-Za-z][A-Za-z0-9_-]{0,63}):([1-9][0-9]*-[0-9a-f]{8}):([1-9][0-9]{0,17})"
)


def is_name(text: str) -> bool:
    """Whether a device or a registry may be called so."""
    # fullmatch: a `$` would let a newline pass at the end.
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class RunId:
    """One start of the box.

    number: counted in the outbox from 1. digits: 8 random hex digits: a card may forget a
    number that it said it had kept, and two runs would share their ids.
    """

    number: int
    digits: str

    def __str__(self) -> str:
        return f"{self.number}-{self.digits}"

    @classmethod
    def parse(cls, text: str) -> "RunId":
        """Raises WireError."""
        found = _RUN.fullmatch(text)
        if found is None:
            raise WireError(f"run id {text[:80]!r}: want a number from 1, a dash and 8 hex digits")
        return cls(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class EventId:
    """`{device}:{run}:{seq}`; `seq` grows by one from 1 within a run."""

    device: str
    run: RunId
    seq: int

    def __str__(self) -> str:
        return f"{self.device}:{self.run}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "EventId":
        """Raises WireError."""
        found = _EVENT_ID.fullmatch(text)
        if found is None:
            raise WireError(
                f"event id {text[:80]!r}: want DEVICE:RUN:SEQ, such as garden:3-9f2c1a7b:42"
            )
        return cls(found[1], RunId.parse(found[2]), int(found[3]))


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device: those of Cloud IoT Core, under the registry's name."""

    registry: str
    device: str

    @property
    def root(self) -> str:
        return f"{self.registry}/devices/{self.device}"

    def events(self, subfolder: str) -> str:
        return f"{self.root}/events/{subfolder}"

    @property
    def state(self) -> str:
        return f"{self.root}/state"

    @property
    def availability(self) -> str:
        return f"{self.root}/availability"

    @property
    def receipts(self) -> str:
        return f"{self.root}/receipts"

    @property
    def config(self) -> str:
        return f"{self.root}/config"

    def commands(self, subfolder: str) -> str:
        return f"{self.root}/commands/{subfolder}"

    @property
    def downward(self) -> tuple[str, str, str]:
        """What a device subscribes to: receipts, config, and all commands."""
        return self.receipts, self.config, self.commands("#")

    def command_subfolder(self, topic: str) -> str | None:
        """Of a topic of commands; None for any other."""
        prefix = self.commands("")
        return topic[len(prefix) :] if topic.startswith(prefix) else None
