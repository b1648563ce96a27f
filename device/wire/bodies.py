"""What an event can say: one model a kind, read and written by pydantic.

A reader may be older than the box: it skips unknown fields, and fields are only ever added.
"""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Score = Annotated[
    float, Field(ge=0.0, le=1.0), PlainSerializer(lambda score: round(score, 3), return_type=float)
]
"""0 to 1, three decimals on the wire: a quantized model has no more to say."""

Seconds = Annotated[
    float, Field(ge=0.0), PlainSerializer(lambda seconds: round(seconds, 3), return_type=float)
]

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Part(BaseModel):
    """Anything inside a message."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        use_attribute_docstrings=True,  # docs/wire-format.md is made from them
    )


class Body(Part):
    """The part of an event that its kind decides; sub-classes name the kind's subfolder."""

    subfolder: ClassVar[str]

    def type_name(self) -> str:
        """The CloudEvents type."""
        return f"lookout.{self.subfolder}"

    def subject(self) -> str | None:
        """The CloudEvents subject: what of the device it is about."""
        return None


class LabelScore(Part):
    """A label or group with its score."""

    label: str
    """Its name in the bundle."""
    score: Score
    """0 to 1."""


class ThresholdPair(Part):
    """On from `high`, off below `low`."""

    low: Score
    """Off below."""
    high: Score
    """On from."""


class GateWhy(Part):
    """Why the region was looked at."""

    reason: str
    """`first`, `changed`, `due` (a while had passed) or `busy` (something was there, or about to
    be)."""
    changed: Share
    """The share of the region that had changed since the last look."""


class Why(Part):
    """Why the box says so."""

    reason: str
    """`seen`, `gone`, `too_long`, `blind`; of a near miss `score`, `time`, `cooldown`."""
    gate: GateWhy | None = None
    """Why the region was looked at, where a look decided."""
    history: list[tuple[int, Score]]
    """The last looks, oldest first: milliseconds before the event, and the raw score."""
    thresholds: ThresholdPair
    """Those that held."""
    rules: list[str] = []
    """The rules that ask about this label in this region."""
    bundle: str
    """Name and version, such as `imagenet@1.0.0`."""
    bundle_sha256: str
    """Of its `model.toml`, which names the hash of every other file of the bundle."""


class Detection(Body):
    """A label or group began or ended to be seen in a region."""

    subfolder: ClassVar[str] = "detection"

    change: Literal["began", "ended"]
    """Also the end of the event's type."""
    region: str
    """Its name in the settings; `whole` where the settings name none."""
    label: str
    """Name of the label or group."""
    kind: Literal["label", "group"]
    """What `label` names."""
    score: Score
    """Smoothed, at this moment."""
    peak: Score
    """The largest smoothed score of this presence so far."""
    count: int | None = None
    """How many at once, where the model can count."""
    box: tuple[Share, Share, Share, Share] | None = None
    """[top, left, bottom, right] as shares of the frame, where the model has boxes."""
    duration_s: Seconds | None = None
    """How long it was there; with `ended`."""
    labels: list[LabelScore] = []
    """The best labels of the deciding look, best first."""
    why: Why
    """Why the box says so."""

    def type_name(self) -> str:
        return f"lookout.detection.{self.change}"

    def subject(self) -> str | None:
        return f"{self.region}/{self.label}"


class RegionSight(Part):
    """What one look at one region saw."""

    region: str
    """Its name in the settings."""
    present: list[str] = []
    """What counts as seen there now; empty is *nothing*."""
    labels: list[LabelScore] = []
    """The best of what the region watches for, best first."""


class Button(Body):
    """Somebody pressed a button: a short press looks now, a held one pauses the camera."""

    subfolder: ClassVar[str] = "button"

    button: str
    """Its name in the settings."""
    press: Literal["short", "held"]
    """Also the end of the event's type."""
    result: Literal["looked", "paused", "resumed", "no_picture"]
    """What the box did; `no_picture`: the camera had none to look at."""
    sights: list[RegionSight] = []
    """What it saw; after `looked`."""

    def type_name(self) -> str:
        return f"lookout.button.{self.press}"

    def subject(self) -> str | None:
        return self.button


class RunStarted(Body):
    """The first event of a run: names the run before and its last seq, so a lost tail shows."""

    subfolder: ClassVar[str] = "run"

    previous_run: str | None = None
    """Absent in the first run of all."""
    previous_seq: int | None = None
    """The last seq of that run: events up to it exist, or a gap event names them."""
    reason: str
    """Why the box started: `first`, `stopped` (the run before ended as asked), `asked` (a command
    asked for it) or `died`."""
    version: str
    """Of Lookout."""
    bundle: str
    """Name and version of the first region's bundle."""
    runtime: str
    """Name and version of what runs it."""

    def type_name(self) -> str:
        return "lookout.run.started"


class LostRange(Part):
    """Events of one run that were expelled, first and last seq included."""

    run: str
    """The run they belong to."""
    first: int
    """The lowest seq."""
    last: int
    """The highest seq."""
    count: int
    """How many of them are lost: others between the two may have arrived."""


class Gap(Body):
    """Events that the box could not keep, named and counted."""

    subfolder: ClassVar[str] = "gap"

    reason: Literal["full", "disk", "oversize"]
    """`full`: they made room for newer ones; `disk`: it failed; `oversize`: too large to send."""
    counts: dict[str, int]
    """How many of each subfolder."""
    ranges: list[LostRange] = []
    """Which numbers they had, as far as they had any."""

    def type_name(self) -> str:
        return "lookout.gap"


class Telemetry(Body):
    """How the box is, every so often."""

    subfolder: ClassVar[str] = "telemetry"

    uptime_s: Seconds
    """Since the run began."""
    frames: int
    """Frames that the camera gave, since the run began."""
    frames_replaced: int
    """Those that a newer one replaced before the loop took them."""
    looks: int
    """Inferences."""
    dismissed: int
    """Region frames that the gate dismissed."""
    inference_ms: float | None = None
    """Mean since the last telemetry."""
    waiting: int
    """Events in the outbox."""
    outbox_bytes: int | None = None
    """Size of the outbox."""
    disk_free_bytes: int | None = None
    """Where the state folder lies."""
    temperature_c: float | None = None
    """Of the processor, where it says."""


class ClockAnchor(Body):
    """The clock was set: readers compute the true time of earlier events of the run from it.

    An earlier event with `mono_ns` m happened at `time` - (this `mono_ns` - m).
    """

    subfolder: ClassVar[str] = "clock"

    step_s: float
    """How far the wall clock moved, later positive."""

    def type_name(self) -> str:
        return "lookout.clock.anchor"


class CommandDone(Body):
    """What came of a command that came down; one event for each that arrived."""

    subfolder: ClassVar[str] = "command"

    command_id: str | None = None
    """The sender's; absent where it could not be read."""
    command: str | None = None
    """What was asked; absent where it could not be read."""
    result: Literal["done", "refused", "expired", "repeated", "failed"]
    """`repeated`: a command of that id was taken before, and nothing was done now."""
    detail: str | None = None
    """Why, for people."""
    sights: list[RegionSight] = []
    """What the box saw; after `classify`."""

    def type_name(self) -> str:
        return "lookout.command.done"

    def subject(self) -> str | None:
        return self.command


AnyBody: TypeAlias = Detection | Button | RunStarted | Gap | Telemetry | ClockAnchor | CommandDone

BODIES: tuple[type[Body], ...] = (
    Detection,
    Button,
    RunStarted,
    Gap,
    Telemetry,
    ClockAnchor,
    CommandDone,
)
