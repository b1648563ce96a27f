"""What the commands and the running box say to each other over the control socket.

One JSON object a line, UTF-8. A request is answered by any number of `item` lines and one
`end` line, which carries the result or the error.
"""

from typing import Any, Literal, TypeAlias

from device.wire.bodies import Part

CommandName: TypeAlias = Literal[
    "status", "watch", "snap", "look", "pause", "resume", "why", "near"
]


class ControlRequest(Part):
    """command: what is asked. arguments: as the command wants them."""

    command: CommandName
    arguments: dict[str, Any] = {}


class ControlItem(Part):
    """One of several answers, such as an event of `watch`."""

    item: dict[str, Any]


class ControlEnd(Part):
    """The last line of an answer."""

    ok: bool
    result: dict[str, Any] = {}
    error: str | None = None
    exit_code: int = 0


class Record(Part):
    """One line of the box's own record: what it decided, and why; kept after the event left."""

    id: str
    """The event's id, or `near-...` or `output-...` for what never leaves the box."""
    time: str
    kind: str
    """`detection`, `near_miss`, `output`, `button`, `run`, `gap`, `telemetry`, `clock`."""
    region: str | None = None
    label: str | None = None
    headline: str
    """One line for people."""
    detail: dict[str, Any]
    """The event's data, or the like of it."""
    picture: str | None = None
    """The album's file, if one was kept."""
