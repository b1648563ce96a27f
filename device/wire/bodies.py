"""What an event can say: one model a kind, read and written by pydantic.

Readers ignore fields that they do not know: an old reader meets a newer writer. A field is
only ever added.
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

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


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
    score: Score


class ThresholdPair(Part):
    """On from `high`, off below `low`."""

    low: Score
    high: Score


class GateWhy(Part):
    """Why the region was looked at: `first`, `changed`, `due` or `busy`, and how much of it had
    changed, 0 to 1."""

    reason: str
    changed: Share


class Why(Part):
    """Why the box says so."""

    reason: str
    """`seen`, `gone`, `too_long`, `blind`; of a near miss `score`, `time`, `cooldown`."""
    gate: GateWhy | None = None
    history: list[tuple[int, Score]]
    """The last looks, oldest first: milliseconds before the event, and the raw score."""
    thresholds: ThresholdPair
    rules: list[str] = []
    """The rules that ask about this label in this region."""
    bundle: str
    """Name and version, such as `imagenet@1.0.0`."""
    bundle_sha256: str


class Detection(Body):
    """A label or group began or ended to be seen in a region."""

    subfolder: ClassVar[str] = "detection"

    change: Literal["began", "ended"]
    region: str
    label: str
    kind: Literal["label", "group"]
    score: Score
    """Smoothed, at this moment."""
    peak: Score
    count: int | None = None
    """How many at once, where the model can count."""
    box: tuple[Share, Share, Share, Share] | None = None
    """[top, left, bottom, right] as shares of the frame, where the model has boxes."""
    duration_s: Seconds | None = None
    """How long it was there; with `ended`."""
    labels: list[LabelScore] = []
    """The best labels of the deciding look, best first."""
    why: Why

    def type_name(self) -> str:
        return f"lookout.detection.{self.change}"

    def subject(self) -> str | None:
        return f"{self.region}/{self.label}"


class RegionSight(Part):
    """What one look at one region saw."""

    region: str
    present: list[str] = []
    """What counts as seen there now; empty is *nothing*."""
    labels: list[LabelScore] = []


class Button(Body):
    """Somebody pressed a button: a short press looks now, a held one pauses the camera."""

    subfolder: ClassVar[str] = "button"

    button: str
    press: Literal["short", "held"]
    result: Literal["looked", "paused", "resumed", "no_picture"]
    sights: list[RegionSight] = []

    def type_name(self) -> str:
        return f"lookout.button.{self.press}"

    def subject(self) -> str | None:
        return self.button


class RunStarted(Body):
    """The first event of a run: names the run before and its last seq, so a lost tail shows."""

    subfolder: ClassVar[str] = "run"

    previous_run: str | None = None
    previous_seq: int | None = None
    reason: str
    """Why the box started: `first`, `stopped` (the run before ended as asked) or `died`."""
    version: str
    bundle: str
    runtime: str

    def type_name(self) -> str:
        return "lookout.run.started"


class LostRange(Part):
    """Events of one run that were expelled, first and last seq included."""

    run: str
    first: int
    last: int
    count: int


class Gap(Body):
    """Events that the box could not keep, named and counted."""

    subfolder: ClassVar[str] = "gap"

    reason: Literal["full", "disk", "oversize"]
    counts: dict[str, int]
    """How many of each subfolder."""
    ranges: list[LostRange] = []

    def type_name(self) -> str:
        return "lookout.gap"


class Telemetry(Body):
    """How the box is, every so often."""

    subfolder: ClassVar[str] = "telemetry"

    uptime_s: Seconds
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
    disk_free_bytes: int | None = None
    temperature_c: float | None = None


class ClockAnchor(Body):
    """The clock was set: readers compute the true time of earlier events of the run from it.

    An earlier event with `mono_ns` m happened at `time` - (this `mono_ns` - m).
    """

    subfolder: ClassVar[str] = "clock"

    step_s: float
    """How far the wall clock moved, later positive."""

    def type_name(self) -> str:
        return "lookout.clock.anchor"


AnyBody: TypeAlias = Detection | Button | RunStarted | Gap | Telemetry | ClockAnchor

BODIES: tuple[type[Body], ...] = (Detection, Button, RunStarted, Gap, Telemetry, ClockAnchor)
