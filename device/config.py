"""Text to settings: every setting, its default and its limits stand here and nowhere else.

Parsing opens and probes nothing. Secrets are files that settings name.
"""

from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from device.core.change import GateSettings
from device.core.delivery import DeliverySettings
from device.core.detection import Patience, Thresholds
from device.core.images import WHOLE, Rectangle
from device.core.rules import NS_PER_S, Action, Hours, OutputLimits, Rule
from device.wire.names import NAME_PATTERN, Topics

SECTION_NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"
HOURS_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"

Name = Annotated[str, Field(pattern=SECTION_NAME_PATTERN)]
"""Of a region, output, button or rule: small letters, digits, - and _; a letter first."""

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=1e8)]
SecondsOrZero = Annotated[float, Field(ge=0, le=1e8)]
Score = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
SizeBytes = Annotated[int, Field(ge=1_000_000, le=10**15)]
HoursText = Annotated[str, Field(pattern=HOURS_PATTERN)]


def _can_be_a_path(value: object) -> object:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError("want a path, and this is none")
    if isinstance(value, str) and value.startswith("~"):
        raise ValueError(f"{value.split('/')[0]} is nobody here; want a path without ~")
    return value


def _is_rtsp(url: str) -> str:
    """Messages repeat nothing of `url`: there may be a password in it."""
    if not url.lower().startswith(("rtsp://", "rtsps://")):
        raise ValueError(
            "want an address that begins with rtsp:// or rtsps://, such as "
            "rtsp://192.168.1.20/stream1"
        )
    if "@" in url:
        raise ValueError(
            "a user name or password stands in the address; want the address without them, and "
            'username = "..." and password_file = "..." beside it (an @ that belongs to the path '
            "is written %40)"
        )
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(
            "want the camera's name or address behind rtsp://, and a port if it has its own, "
            "such as rtsp://192.168.1.20:8554/stream1"
        )
    return url


def _is_a_rectangle(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    _rectangle(box)
    return box


LaxPath = Annotated[Path, Field(strict=False), BeforeValidator(_can_be_a_path)]
RtspUrl = Annotated[str, AfterValidator(_is_rtsp)]
Box = Annotated[
    tuple[Share, Share, Share, Share], Field(strict=False), AfterValidator(_is_a_rectangle)
]
"""[top, left, bottom, right] as shares of the frame's height and width."""


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)


class Section(BaseModel):
    """Settings are frozen, strict (no "30" for 30, no true for 1) and know all their keys."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class DeviceConfig(Section):
    """Who this box is and where it keeps what it must not forget."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)] = "lookout"
    """Its name among all devices of the registry: letters, digits, - and _; a letter first."""
    registry: Annotated[str, Field(pattern=NAME_PATTERN)] = "home"
    """The group of devices it belongs to; the first part of every topic."""
    state_dir: LaxPath = Path("/var/lib/lookout")
    """Folder of the outbox, the album and installed bundles. One running box per folder."""
    control_socket: LaxPath | None = None
    """Where commands reach the running box; by default `control.sock` in the state folder."""

    identify_output: Name | None = None
    """The output that blinks when the command `identify` comes; without one it is refused."""
    allow_remote_rules: bool = False
    """Whether settings desired from afar may hold `[rules]`, which drive outputs."""

    @property
    def socket_path(self) -> Path:
        return self.control_socket or self.state_dir / "control.sock"


class CameraConfig(Section):
    """Where pixels come from."""

    source: Literal["picamera2", "usb", "rtsp", "video", "pictures"] = "picamera2"
    """`picamera2`: the Pi's camera; `usb`: V4L2; `rtsp`: a network camera; `video`: a file;
    `pictures`: a folder."""
    path: LaxPath | None = None
    """The file of `video`, the folder of `pictures`."""
    url: RtspUrl | None = None
    """The address of `rtsp`, such as `rtsp://192.168.1.20/stream1`; no user name or password in
    it."""
    username: str | None = None
    """For `rtsp`."""
    password_file: LaxPath | None = None
    """For `rtsp`: a file that holds the password."""
    device: str = "/dev/video0"
    """For `usb`: the device file, or a name from `lookout camera list`."""
    number: Annotated[int, Field(ge=0, le=9)] = 0
    """For `picamera2`: which one, from 0."""
    height_px: Annotated[int, Field(ge=16, le=8192)] = 720
    """Of the large stream that is asked for; a source may give its own."""
    width_px: Annotated[int, Field(ge=16, le=8192)] = 1280
    """Of the large stream."""
    frames_per_s: Annotated[float, Field(gt=0, le=240)] = 10.0
    """Frames a second that are asked for; pictures and video are played at this rate."""
    picture_s: Seconds = 3.0
    """For `pictures`: how long each is shown."""
    at_end: Literal["repeat", "stop"] = "repeat"
    """For `video` and `pictures`: what to do at the end. After `stop` the box goes on, blind."""
    rotation: Literal[0, 180] = 0
    """Degrees that the picture is turned (`picamera2`)."""
    stale_s: Seconds = 5.0
    """Silent for so long, the camera counts as failed: outputs go safe, it is opened again."""

    @model_validator(mode="after")
    def _source_has_its_place(self) -> Self:
        needed = {"video": "path", "pictures": "path", "rtsp": "url"}.get(self.source)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f'source = "{self.source}" wants {needed} = "..." beside it')
        return self


class InferenceConfig(Section):
    """What runs the model."""

    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = "auto"
    """`auto`: ai-edge-litert where it is installed, else tflite-runtime."""
    threads: Annotated[int, Field(ge=1, le=16)] = 2
    """Threads of one inference."""
    bundle: str = "imagenet"
    """The bundle of every region that names none: a name, or a folder."""


class ThresholdConfig(Section):
    """Hysteresis of one label or group."""

    low: Score
    """Off below."""
    high: Score
    """On from."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"want low <= high, got {self.low} and {self.high}")
        return self

    def value(self) -> Thresholds:
        return Thresholds(low=self.low, high=self.high)


class DetectionConfig(Section):
    """When a label counts as seen."""

    smoothing_s: SecondsOrZero = 0.3
    """Time constant of the smoothed score; 0 takes each score as it comes."""
    shortest_s: SecondsOrZero = 0.3
    """Over its threshold for so long before it *began*."""
    absence_s: SecondsOrZero = 1.0
    """Under its threshold for so long before it *ended*."""
    longest_s: Seconds | None = None
    """A presence ends after so long, and begins anew only once the label was gone."""
    cooldown_s: SecondsOrZero = 0.0
    """After an end, nothing begins for so long."""
    near_miss_share: Annotated[float, Field(ge=0.1, le=1)] = 0.75
    """A score that came to this share of its threshold and never *began* is a near miss."""
    near_miss_pause_s: SecondsOrZero = 60.0
    """After a near miss, no other of the same label and region is kept for so long."""
    gate: bool = True
    """Look only at regions that changed."""
    gate_step: Annotated[int, Field(ge=1, le=255)] = 12
    """A cell of the gate's small picture has changed when its brightness moved by more."""
    gate_share: Share = 0.005
    """A region is worth a look when more than this share of its cells has changed."""
    gate_look_every_s: Seconds = 5.0
    """Look at least this often, changed or not."""

    def patience(self) -> Patience:
        return Patience(
            smoothing_ns=_ns(self.smoothing_s),
            shortest_ns=_ns(self.shortest_s),
            absence_ns=_ns(self.absence_s),
            longest_ns=None if self.longest_s is None else _ns(self.longest_s),
            cooldown_ns=_ns(self.cooldown_s),
            near_miss_share=self.near_miss_share,
            near_miss_pause_ns=_ns(self.near_miss_pause_s),
        )

    def gate_settings(self) -> GateSettings | None:
        """None: look at every frame."""
        if not self.gate:
            return None
        return GateSettings(
            pixel_step=self.gate_step,
            share=self.gate_share,
            look_every_ns=_ns(self.gate_look_every_s),
        )


def _rectangle(box: tuple[float, float, float, float]) -> Rectangle:
    top, left, bottom, right = box
    return Rectangle(top=top, left=left, bottom=bottom, right=right)


class RegionConfig(Section):
    """A named rectangle of the frame that is looked at on its own."""

    box: Box = (0.0, 0.0, 1.0, 1.0)
    """[top, left, bottom, right] as shares of the frame: the left half is [0, 0, 1, 0.5]."""
    masks: list[Box] = []
    """Rectangles, as shares of the frame too, that the region does not see: painted grey."""
    bundle: str | None = None
    """The bundle that looks here; by default that of `[inference]`."""
    watch: list[str] | None = None
    """Labels and groups to watch for; by default every group of the bundle."""
    thresholds: dict[str, ThresholdConfig] = {}
    """Of a label or group, instead of the bundle's."""
    detection: DetectionConfig | None = None
    """Instead of `[detection]`, as a whole."""

    def rectangle(self) -> Rectangle:
        return _rectangle(self.box)

    def mask_rectangles(self) -> tuple[Rectangle, ...]:
        return tuple(_rectangle(mask) for mask in self.masks)


class GpioConfig(Section):
    """What drives the pins."""

    driver: Literal["auto", "gpiozero", "mock", "file"] = "auto"
    """`auto`: real pins where the machine has any, else gpiozero's mock, and the log says so.
    `file`: one file a pin in `folder`, for another process to watch and press."""
    folder: LaxPath | None = None
    """For `file`."""

    @model_validator(mode="after")
    def _file_has_a_folder(self) -> Self:
        if self.driver == "file" and self.folder is None:
            raise ValueError('driver = "file" wants folder = "..." beside it')
        return self


Pin = Annotated[int, Field(ge=0, le=27)]
"""Number as the chip counts (BCM), 0 to 27 on the 40-pin header."""


class OutputConfig(Section):
    """Something that the box switches: a lamp, a relay."""

    pin: Pin
    """BCM number."""
    active_high: bool = True
    """False for relay boards that switch on when the pin is low."""
    safe: Literal["on", "off"] = "off"
    """The level while the box is blind, stopping or in doubt."""
    longest_on_s: Seconds | None = None
    """On for so long without a break, it goes safe until its rules let go."""

    def limits(self) -> OutputLimits:
        return OutputLimits(
            safe_level=self.safe == "on",
            longest_on_ns=None if self.longest_on_s is None else _ns(self.longest_on_s),
        )


class ButtonConfig(Section):
    """A button: a short press looks now, a held one pauses the camera or ends the pause."""

    pin: Pin
    """BCM number; the other side to ground (pulled up) unless `pull` says otherwise."""
    pull: Literal["up", "down"] = "up"
    """The pin's resting level; pressing takes it to the other."""
    hold_s: Seconds = 3.0
    """Pressed for so long, it was held."""
    bounce_s: SecondsOrZero = 0.05
    """Shorter changes are the contact's bouncing."""


class RuleConfig(Section):
    """While, or for some time after, something is seen (or absent), an output does something."""

    output: str
    """The output it drives. Of several active rules the first in the file wins."""
    seen: str | None = None
    """A label or group; this or `absent`."""
    absent: str | None = None
    """A label or group that must be gone."""
    regions: list[str] = []
    """Where; by default in any region (of `absent`: in all)."""
    after_s: SecondsOrZero = 0.0
    """It must have been so for so long."""
    keep_s: SecondsOrZero = 0.0
    """The rule goes on for so long after it is no longer so."""
    action: Annotated[Action, Field(strict=False)] = Action.ON
    """`on`, `off`, `pulse` (once each time) or `blink`."""
    pulse_s: Seconds = 1.0
    """For `pulse`: on for so long."""
    blink_on_s: Seconds = 0.5
    """For `blink`."""
    blink_off_s: Seconds = 0.5
    """For `blink`."""
    hours: HoursText | None = None
    """Only in these hours, local time: "22:00-06:00"."""
    outside_hours: HoursText | None = None
    """Not in these."""

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if (self.seen is None) == (self.absent is None):
            raise ValueError('want either seen = "..." or absent = "...", and not both')
        return self

    def value(self, name: str) -> Rule:
        return Rule(
            name=name,
            output=self.output,
            target=self.seen or self.absent or "",
            is_absence=self.absent is not None,
            regions=frozenset(self.regions),
            after_ns=_ns(self.after_s),
            keep_ns=_ns(self.keep_s),
            action=self.action,
            pulse_ns=_ns(self.pulse_s),
            blink_on_ns=_ns(self.blink_on_s),
            blink_off_ns=_ns(self.blink_off_s),
            hours=_hours(self.hours),
            outside_hours=_hours(self.outside_hours),
        )


def _hours(text: str | None) -> Hours | None:
    if text is None:
        return None
    start, end = (int(part[:2]) * 60 + int(part[3:]) for part in text.split("-"))
    return Hours(start, end)


class TlsConfig(Section):
    """TLS to the broker; with a certificate of our own, the broker knows the box by it."""

    ca_file: LaxPath | None = None
    """Authorities that the broker's certificate must come from; by default the system's."""
    cert_file: LaxPath | None = None
    """The box's own certificate (PEM)."""
    key_file: LaxPath | None = None
    """Its key (PEM)."""

    @model_validator(mode="after")
    def _a_pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("want cert_file and key_file together, or neither")
        return self


class MqttConfig(Section):
    """The broker that events go to; MQTT 5."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Name or address."""
    port: Port | None = None
    """By default 8883 with `[mqtt.tls]`, else 1883."""
    tls: TlsConfig | None = None
    """Without it, nothing is encrypted: only for a broker on the same machine."""
    username: str | None = None
    """If the broker asks for one."""
    password_file: LaxPath | None = None
    """A file that holds the password."""
    keepalive_s: Annotated[int, Field(ge=5, le=600)] = 30
    """A connection that is silent for longer is dead."""
    delivery: Literal["receipts", "broker"] = "broker"
    """What lets an event leave the box. `receipts`: a bridge confirms that it is stored beyond the
    broker. `broker`: the broker's acknowledgement counts as arrival. It is lossy: a broker may
    forget what it has acknowledged (docs/delivery.md)."""
    window: Annotated[int, Field(ge=2, le=1000)] = 64
    """Events under way at most; with `receipts`, an event is under way until its receipt."""
    live_share: Share = 0.25
    """The part of the window that is kept for new events while a backlog is sent."""

    @property
    def port_number(self) -> int:
        return self.port or (8883 if self.tls else 1883)

    def delivery_settings(self) -> DeliverySettings:
        return DeliverySettings(mode=self.delivery, window=self.window, live_share=self.live_share)


class OutboxConfig(Section):
    """The queue of events on disk."""

    max_bytes: SizeBytes = 300_000_000
    """When full, the oldest of the least important go first, and a gap event counts them."""
    group_ms: Annotated[int, Field(ge=0, le=1000)] = 50
    """Events that come within so long are committed together."""


class AlbumConfig(Section):
    """Pictures and records on the box's own disk; they never leave it."""

    max_bytes: SizeBytes = 500_000_000
    """The oldest go first."""
    pictures: bool = True
    """Keep a picture with each detection, near miss and press."""
    long_side_px: Annotated[int, Field(ge=64, le=8192)] = 1280
    """Pictures are scaled down to this."""


class ReportConfig(Section):
    """How often the box reports how it is."""

    telemetry_s: Seconds = 300.0
    """A `telemetry` event every so often."""
    state_s: Seconds = 60.0
    """`state` is repeated every so often."""


class Config(Section):
    """A whole settings file."""

    device: DeviceConfig = DeviceConfig()
    camera: CameraConfig = CameraConfig()
    inference: InferenceConfig = InferenceConfig()
    detection: DetectionConfig = DetectionConfig()
    regions: dict[Name, RegionConfig] = {}
    """Without any, the whole frame is the region `whole`."""
    gpio: GpioConfig = GpioConfig()
    outputs: dict[Name, OutputConfig] = {}
    buttons: dict[Name, ButtonConfig] = {}
    rules: dict[Name, RuleConfig] = {}
    mqtt: MqttConfig = MqttConfig()
    outbox: OutboxConfig = OutboxConfig()
    album: AlbumConfig = AlbumConfig()
    report: ReportConfig = ReportConfig()

    @property
    def topics(self) -> Topics:
        return Topics(self.device.registry, self.device.name)

    @cached_property
    def all_regions(self) -> dict[str, RegionConfig]:
        """Those of the file, or the whole frame."""
        whole = RegionConfig(box=(WHOLE.top, WHOLE.left, WHOLE.bottom, WHOLE.right))
        return dict(self.regions) or {"whole": whole}

    def rule_values(self) -> tuple[Rule, ...]:
        """In the order of the file."""
        return tuple(rule.value(name) for name, rule in self.rules.items())

    def output_limits(self) -> dict[str, OutputLimits]:
        return {name: output.limits() for name, output in self.outputs.items()}


@cache
def schema() -> dict[str, Any]:
    """JSON Schema of a settings file; `docs/settings.md` is made from it. Not to be changed.

    Made once: it takes 40 ms, every mistake in settings asks for it, and settings from afar may
    have thousands.
    """
    return Config.model_json_schema()
