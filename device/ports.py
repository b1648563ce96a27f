"""Every door between the loops and the rooms: what each side may rely on.

An adapter matches a port by its shape and inherits nothing. All calls come from the one thread
that owns the adapter unless a port says otherwise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from device.core.bundle import Bundle, Variant
from device.core.images import Frame, Image, Rectangle
from device.core.scores import Scores
from device.wire.control import ControlEnd, ControlItem, ControlRequest, Record
from device.wire.events import Draft, Event
from device.wire.names import RunId

# --- time -------------------------------------------------------------------------------------


class Clock(Protocol):
    """Any thread may ask."""

    def monotonic_ns(self) -> int: ...

    def wall_ns(self) -> int:
        """Nanoseconds since 1970; a label, never a measure."""
        ...

    def minute_of_day(self) -> int | None:
        """Local time, 0 to 1439; None while the wall clock is plainly wrong (before 2025)."""
        ...


# --- pixels in --------------------------------------------------------------------------------


class Camera(Protocol):
    """One opened source of frames; made by a `CameraFactory`, which raises as `read` does."""

    @property
    def description(self) -> str:
        """For people: what it is, its size, its rate."""
        ...

    def read(self, timeout_s: float) -> Frame | None:
        """The newest frame; None when none came within `timeout_s`.

        The frame's arrays are its own: the adapter copied them once out of the driver's buffer
        and never writes to them again.

        Raises:
            TransientError: the source failed; the caller closes it, waits and opens it again.
            SourceEndedError: a clip came to its end and was not to be repeated.
        """
        ...

    def close(self) -> None:
        """Free the source; may be called twice, raises nothing."""
        ...


CameraFactory: TypeAlias = Callable[[], Camera]


# --- pixels to scores -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a model file.

    shape: batch first, as the file says. scale, zero_point: of a quantized tensor, else 0.0, 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int


class Network(Protocol):
    """One model in memory; owned by one thread."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def operators(self) -> tuple[str, ...]:
        """Operator names in order, such as CONV_2D; SOFTMAX last in most classifiers."""
        ...

    @property
    def nodes(self) -> int: ...

    @property
    def delegated_nodes(self) -> int:
        """How many of `nodes` a delegate took."""
        ...

    def run(self, tensor: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """One inference; `tensor` has the shape and dtype of `inputs[0]`; outputs are copies.

        Raises:
            ModelError: the model failed when invoked.
        """
        ...


class Runtime(Protocol):
    """A TFLite runtime: ai-edge-litert or tflite-runtime."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def load(self, path: Path, threads: int) -> Network:
        """Load a model and allocate its tensors. A file that is not trusted may end the whole
        process: it is first loaded in a throw-away child (`device/bundles/`).

        Raises:
            ModelError: not a model, or not one that this runtime can run.
        """
        ...


class Classifier(Protocol):
    """A bundle ready to run; owned by one thread."""

    @property
    def bundle(self) -> Bundle: ...

    def classify(self, image: Image) -> Scores:
        """Scale `image` (already cut to its region) as the bundle says, run, dequantize.

        Raises:
            ModelError: the model failed when invoked.
        """
        ...


class BundleStore(Protocol):
    """Bundles on disk."""

    def find(self, name_or_folder: str) -> Bundle:
        """The bundle of that name, or in that folder, with its files' hashes proven.

        Raises:
            ModelError: there is none, or it is not whole; the message says what is.
        """
        ...

    def folder_of(self, name_or_folder: str) -> Path:
        """Where `find` would look, whole or not. Raises ModelError: there is none."""
        ...

    def names(self) -> list[str]: ...

    def variant_path(self, bundle: Bundle, variant: Variant) -> Path: ...


# --- pins -------------------------------------------------------------------------------------

Press: TypeAlias = Literal["short", "held"]


class Pins(Protocol):
    """Outputs and buttons under their settings' names.

    Each output is at its safe level from construction until `write`, and after `close`.
    """

    @property
    def description(self) -> str:
        """For people: what drives the pins, and if nothing real does, that."""
        ...

    def write(self, output: str, level: bool) -> None:
        """Logical level: `active_high` is the adapter's business. Returns at once; after `close`
        it does nothing, so a thread that hung cannot switch anything when it wakes.

        Raises:
            TransientError: the pin refused.
            KeyError: no output has that name.
        """
        ...

    def close(self) -> None:
        """Outputs safe, pins free; may be called twice and from any thread, raises nothing."""
        ...


PressCallback: TypeAlias = Callable[[str, Press], None]
"""Button name and kind of press; called on a library's thread, so it may only enqueue."""


# --- events out -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event on disk: its row (grows for ever over runs, and within a run by one with its seq
    where nothing was adopted between), its bytes as sent."""

    row: int
    id: str
    subfolder: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """What the outbox knows of the run before this one."""

    run: RunId
    last_seq: int
    ended_cleanly: bool


@dataclass(frozen=True, slots=True)
class Appended:
    """events: in the order of the drafts, numbered. stored: the same as rows on disk, with
    `gaps`, the gap events for what had to make room, in front. expelled: how many went for it.
    oversize: how many of `events` are gap events that stand for a draft too large to send."""

    events: Sequence[Event]
    stored: Sequence[StoredEvent]
    expelled: int = 0
    gaps: Sequence[Event] = ()
    oversize: int = 0


class Outbox(Protocol):
    """The one queue of events, on disk, bounded by bytes."""

    @property
    def run(self) -> RunId:
        """Committed before the run's first event. It changes when the file turns out to be
        damaged and a new one is begun: `append_all` raises then, and works the next time."""
        ...

    @property
    def previous(self) -> PreviousRun | None: ...

    @property
    def damage(self) -> str | None:
        """What was found damaged and put aside, for people: its events are lost. It is told
        again after each start until something was appended: the run's first events tell of it."""
        ...

    @property
    def last_seq(self) -> int: ...

    @property
    def waiting(self) -> int:
        """Events not yet removed."""
        ...

    @property
    def size_bytes(self) -> int: ...

    def append_all(self, drafts: Sequence[Draft]) -> Appended:
        """Number and store `drafts` in one transaction. On return all survive a power cut.

        Raises:
            TransientError: the disk refused; nothing was stored and no number was used.
        """
        ...

    def adopt(self, events: Sequence[StoredEvent]) -> Appended:
        """Store events that another outbox has numbered, in one transaction: ids and bytes as
        they are, in rows of its own.

        Raises:
            TransientError: the disk refused; nothing was stored.
        """
        ...

    def oldest(self, limit: int, after_row: int = 0) -> list[StoredEvent]:
        """Up to `limit` events with a row over `after_row`, oldest first: fewer only at the end.
        A row that cannot be read is left out, and becomes part of a gap with the next append.

        Raises:
            TransientError: the disk refused.
        """
        ...

    def remove(self, rows: Sequence[int]) -> None:
        """Forget events that have arrived; unknown rows are ignored.

        Raises:
            TransientError: the disk refused; they will be sent again.
        """
        ...

    def close(self) -> None:
        """Note that the run ended as asked. May be called twice, raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that came down to this device."""

    topic: str
    payload: bytes


INCOMING_AT_MOST = 256
"""Messages that wait to be taken; more are counted and dropped: receipts heal, and whoever
commands more than this at once is no friend."""


class Uplink(Protocol):
    """The connection to a broker; one thread owns it, and `wake` may come from any.

    It keeps no queue: `publish` is only called while `is_connected`.
    """

    @property
    def is_connected(self) -> bool: ...

    def turn(self, timeout_s: float) -> list[int]:
        """Do network work for at most about `timeout_s`, connecting when that is due; returns
        the rows that the broker has acknowledged meanwhile. Raises nothing: a lost or refused
        connection is logged, counted and tried again with full jitter."""
        ...

    def publish(self, event: StoredEvent) -> None:
        """Hand one event to the connection, QoS 1. If the connection goes, so does the event:
        the caller sends it again after the next connect."""
        ...

    def set_state(self, payload: bytes) -> None:
        """Publish retained `state` now or at the next connect; newest wins."""
        ...

    def set_run(self, run: RunId) -> None:
        """`availability` speaks of this run from now on, the will from the next connect on."""
        ...

    def incoming(self) -> list[Incoming]:
        """Receipts, desired settings and commands that came since the last call, in order; at
        most `INCOMING_AT_MOST`. They are subscribed to before anything is published."""
        ...

    @property
    def incoming_dropped(self) -> int:
        """Messages that found the queue full, or were too large."""
        ...

    def refused(self) -> list[int]:
        """Rows that the broker refused since the last call; `problem` says why. They are no
        longer under way, and may be published again."""
        ...

    @property
    def receive_maximum(self) -> int:
        """How many events may be under way now; 0 while others' packets take all the places
        that the broker has."""
        ...

    @property
    def connects(self) -> int:
        """How often a connection came to stand; a change means that what was under way is not."""
        ...

    @property
    def problem(self) -> str | None:
        """Why there is no connection, or why the broker refuses events, for people; else None."""
        ...

    def wake(self) -> None:
        """End a waiting `turn` early. Any thread."""
        ...

    def close(self) -> None:
        """Say `offline` and disconnect if that can be done at once; raises nothing."""
        ...


class SmallFile(Protocol):
    """A few bytes that must outlive the process: written whole or not at all."""

    def read(self) -> bytes | None:
        """None: there is none, or it cannot be read (the log says so)."""
        ...

    def write(self, content: bytes) -> None:
        """On return it survives a power cut.

        Raises:
            TransientError: the disk refused; what was there before is still there.
        """
        ...

    def remove(self) -> None:
        """Raises TransientError: the disk refused."""
        ...


# --- the box's own record ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Keepsake:
    """What the album may keep of a decision: the frame's picture with the region's place."""

    picture: Image
    region: str
    box: Rectangle


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One line for the album, with its picture if there is one."""

    record: Record
    keepsake: Keepsake | None = None


class Album(Protocol):
    """Records and pictures on the box's own disk, bounded by bytes; the oldest go first, near
    misses before all else while they take more than a tenth of it.

    `keep` belongs to the album's own thread; the questions may come from any thread.
    """

    def keep(self, pages: Sequence[Page]) -> None:
        """Raises TransientError when the disk refused; the pages are lost, and counted."""
        ...

    def find(self, record_id: str) -> Record | None:
        """Raises TransientError when the disk cannot be read."""
        ...

    def recent(self, limit: int, kind: str | None = None) -> list[Record]:
        """Newest first; of one kind or of all. Raises as `find`."""
        ...

    def close(self) -> None: ...


# --- the machine --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the machine is. None: it does not say."""

    temperature_c: float | None
    disk_free_bytes: int | None


# --- between loop and desk --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the loop last knew, for status, state and telemetry; replaced whole, so any thread
    may read it."""

    camera: Literal["on", "opening", "paused", "ended", "failed"] = "opening"
    is_paused: bool = False
    frames: int = 0
    frames_replaced: int = 0
    looks: int = 0
    dismissed: int = 0
    inference_ms: float | None = None
    scores: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    """Region to its best targets, best first."""
    present: Mapping[str, Sequence[str]] = field(default_factory=dict)
    outputs: Mapping[str, bool] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    """`model`, `pins`: why that part is not itself, for people."""


# --- commands that reach the running box --------------------------------------------------------


class Closed(Protocol):
    """Whether nobody waits for an answer any more: the client went away, or the box stops."""

    def is_set(self) -> bool: ...

    def wait(self, timeout_s: float, /) -> bool:
        """Wait until it is so, at most `timeout_s`; returns `is_set()`."""
        ...


Answer: TypeAlias = Callable[[ControlRequest, Closed], Iterator[ControlItem | ControlEnd]]
"""Answers one command, on a thread of its own: items as they come, then one end. A LookoutError
becomes an end with its exit code. An answer that goes on for ever looks at `Closed` at least every
half second."""


class Control(Protocol):
    """Listens to commands, on threads of its own, from construction until `close`."""

    def close(self) -> None:
        """End all answers within a second; may be called twice, raises nothing."""
        ...
