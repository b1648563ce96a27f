"""One message of each kind, as values; `golden/NAME.json` holds the bytes that each becomes."""

from device.wire.bodies import (
    Body,
    Button,
    ClockAnchor,
    CommandDone,
    Detection,
    Gap,
    GateWhy,
    LabelScore,
    LostRange,
    RegionSight,
    RunStarted,
    Telemetry,
    ThresholdPair,
    Why,
)
from device.wire.downward import Command, DesiredSettings
from device.wire.events import Draft, Event
from device.wire.names import EventId, RunId
from device.wire.receipts import Receipt, Refusal
from device.wire.state import (
    Availability,
    Backend,
    BundleState,
    CertificateState,
    Degraded,
    DeliveryHealth,
    Losses,
    RefusedEvent,
    SettingsState,
    State,
)

RUN = RunId(12, "9f2c1a7b")
HASH = "5f0c" * 16
NOON_NS = 1_795_521_600_000_000_000  # 2026-11-24T12:00:00Z


def event(seq: int, body: Body, is_durable: bool = True) -> Event:
    """Event number `seq` of the run, `seq` seconds after noon."""
    return Event(
        id=EventId("garden", RUN, seq),
        registry="home",
        draft=Draft(
            time_ns=NOON_NS + seq * 1_000_000_000, mono_ns=seq * 1_000_000_000 + 57, body=body
        ),
        is_durable=is_durable,
    )


WHY_SEEN = Why(
    reason="seen",
    gate=GateWhy(reason="changed", changed=0.082),
    history=[
        (2310, 0.02),
        (1980, 0.031),
        (1650, 0.074),
        (1320, 0.318),
        (990, 0.552),
        (660, 0.611),
        (330, 0.627),
        (0, 0.664),
    ],
    thresholds=ThresholdPair(low=0.3, high=0.45),
    rules=["lamp_while_bird", "relay_for_bird"],
    bundle="imagenet@1.0.0",
    bundle_sha256=HASH,
)

BEGAN = Detection(
    change="began",
    region="feeder",
    label="bird",
    kind="group",
    score=0.612,
    peak=0.612,
    labels=[
        LabelScore(label="chickadee", score=0.41),
        LabelScore(label="house finch", score=0.182),
        LabelScore(label="brambling", score=0.051),
    ],
    why=WHY_SEEN,
)

ENDED = Detection(
    change="ended",
    region="feeder",
    label="bird",
    kind="group",
    score=0.118,
    peak=0.887,
    count=2,
    box=(0.25, 0.125, 0.75, 0.5),
    duration_s=6.42,
    labels=[LabelScore(label="lakeside", score=0.09)],
    why=Why(
        reason="gone",
        gate=GateWhy(reason="busy", changed=0.0),
        history=[(660, 0.21), (330, 0.09), (0, 0.04)],
        thresholds=ThresholdPair(low=0.3, high=0.45),
        bundle="imagenet@1.0.0",
        bundle_sha256=HASH,
    ),
)

EVENTS: dict[str, Event] = {
    "detection_began": event(2, BEGAN),
    "detection_ended": event(8, ENDED),
    "button_short": event(
        9,
        Button(
            button="door",
            press="short",
            result="looked",
            sights=[
                RegionSight(
                    region="feeder",
                    present=["bird"],
                    labels=[LabelScore(label="bird", score=0.731)],
                ),
                RegionSight(region="lawn", labels=[LabelScore(label="rabbit", score=0.06)]),
            ],
        ),
    ),
    "button_held": event(10, Button(button="door", press="held", result="paused")),
    "run_started": event(
        1,
        RunStarted(
            previous_run="11-0badcafe",
            previous_seq=4077,
            reason="died",
            version="0.1.0",
            bundle="imagenet@1.0.0",
            runtime="ai-edge-litert 2.3.0",
        ),
    ),
    "gap": event(
        11,
        Gap(
            reason="full",
            counts={"telemetry": 3, "detection": 1},
            ranges=[LostRange(run="11-0badcafe", first=17, last=20, count=4)],
        ),
    ),
    "telemetry": event(
        12,
        Telemetry(
            uptime_s=300.004,
            frames=2988,
            frames_replaced=3,
            looks=140,
            dismissed=2845,
            inference_ms=14.2,
            waiting=2,
            outbox_bytes=1846,
            disk_free_bytes=21_474_836_480,
            temperature_c=51.5,
        ),
        is_durable=False,
    ),
    "clock_anchor": event(13, ClockAnchor(step_s=3600.25)),
    "command_done": event(
        14,
        CommandDone(
            command_id="look-at-the-feeder.1",
            command="classify",
            result="done",
            sights=[
                RegionSight(
                    region="feeder",
                    present=["bird"],
                    labels=[LabelScore(label="bird", score=0.731)],
                )
            ],
        ),
    ),
    "command_refused": event(
        15, CommandDone(result="refused", detail="not a command: command: Field required")
    ),
}

STATE = State(
    time="2026-11-24T12:00:20.000000Z",
    run=str(RUN),
    last_seq=13,
    waiting=2,
    version="0.1.0",
    started="2026-11-24T12:00:00.000000Z",
    is_paused=False,
    camera="on",
    backend=Backend(
        runtime="ai-edge-litert",
        version="2.3.0",
        accelerator="cpu",
        threads=2,
        delegated_nodes=1,
        nodes=64,
    ),
    bundles=[BundleState(name="imagenet", version="1.0.0", sha256=HASH)],
    settings=SettingsState(
        source="/var/lib/lookout/last_good_settings.toml",
        refused=['lookout.toml:4: camera.sorce: unknown key; did you mean "source"?'],
        desired_version=7,
        refused_version=8,
    ),
    delivery=DeliveryHealth(mode="receipts", receipts=4, repeated=1, unknown=1),
    certificate=CertificateState(expires="2027-01-03T00:00:00.000000Z", days_left=39),
    sights=[
        RegionSight(
            region="feeder", present=["bird"], labels=[LabelScore(label="bird", score=0.731)]
        )
    ],
    outputs={"lamp": True, "relay": False},
    degraded=[
        Degraded(
            part="disk",
            since="2026-11-24T12:00:11.000000Z",
            reason="no space left; free some, the box goes on in memory",
        )
    ],
    losses=Losses(
        events_expelled=4,
        events_not_durable=1,
        events_refused=1,
        refused=[RefusedEvent(event="12-9f2c1a7b:3", reason="no schema of this registry fits it")],
    ),
)

RECEIPT = Receipt(
    run=str(RUN), ok=[(1, 40), (42, 42)], refused=[Refusal(seq=41, reason="not a CloudEvent")]
)

COMMAND = Command(
    id="look-at-the-feeder.1", command="classify", expires="2026-11-24T12:05:00Z", arguments={}
)

DESIRED = DesiredSettings(
    version=8,
    settings={
        "detection": {"shortest_s": 0.5},
        "regions": {"feeder": {"thresholds": {"bird": {"low": 0.3, "high": 0.5}}}},
    },
)

AVAILABILITY = Availability(status="online", run=str(RUN))
