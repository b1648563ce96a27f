"""One line for people for everything that an event can say."""

import pytest

from device.core.headlines import headline, record_of
from device.wire.bodies import (
    BODIES,
    Body,
    Button,
    ClockAnchor,
    CommandDone,
    Detection,
    Gap,
    GateWhy,
    LabelScore,
    RegionSight,
    RunStarted,
    Telemetry,
    ThresholdPair,
    Why,
)
from device.wire.events import Draft, Event
from device.wire.names import EventId, RunId


def why(reason: str, gate: GateWhy | None = None) -> Why:
    return Why(
        reason=reason,
        gate=gate,
        history=[(100, 0.4), (0, 0.83)],
        thresholds=ThresholdPair(low=0.25, high=0.4),
        bundle="imagenet@1.0.0",
        bundle_sha256="0" * 64,
    )


CHANGED = GateWhy(reason="changed", changed=0.12)


def detection(change: str, reason: str, **more: object) -> Detection:
    base = {
        "change": change,
        "region": "feeder",
        "label": "cat",
        "kind": "group",
        "score": 0.83 if change == "began" else 0.1,
        "peak": 0.91,
        "why": why(reason, CHANGED),
    }
    return Detection.model_validate(base | more)


LINES: list[tuple[Body, str]] = [
    (detection("began", "seen"), "cat began in feeder, 0.83 (why: changed 12 %, from 0.40 on)"),
    (
        detection("began", "seen", count=2, why=why("seen")),
        "cat x2 began in feeder, 0.83 (why: from 0.40 on)",
    ),
    (
        detection("began", "seen", why=why("seen", GateWhy(reason="due", changed=0.0))),
        "cat began in feeder, 0.83 (why: a look was due, from 0.40 on)",
    ),
    (
        detection("ended", "gone", duration_s=83.0),
        "cat ended in feeder after 1 min 23 s, 0.91 at best "
        "(why: changed 12 %, 0.10 is below 0.25)",
    ),
    (
        detection("ended", "too_long", duration_s=7260.0),
        "cat ended in feeder after 2 h 1 min, 0.91 at best (why: was there for longer than it may)",
    ),
    (
        detection("ended", "blind", duration_s=4.25, why=why("blind")),
        "cat ended in feeder after 4.2 s, 0.91 at best (why: the camera went silent)",
    ),
    (
        Button(
            button="look",
            press="short",
            result="looked",
            sights=[
                RegionSight(region="feeder", present=["cat", "dog"]),
                RegionSight(region="yard", labels=[LabelScore(label="teapot", score=0.2)]),
            ],
        ),
        "button look pressed, saw cat, dog in feeder; nothing (best guess teapot 0.20) in yard",
    ),
    (Button(button="look", press="short", result="looked"), "button look pressed, saw nothing"),
    (Button(button="look", press="held", result="paused"), "button look held, camera paused"),
    (Button(button="look", press="held", result="resumed"), "button look held, camera resumed"),
    (
        Button(button="look", press="short", result="no_picture"),
        "button look pressed, but there was no picture",
    ),
    (
        RunStarted(reason="died", version="0.1.0", bundle="imagenet@1.0.0", runtime="litert 2.3"),
        "run started, the run before did not end as asked "
        "(version 0.1.0, imagenet@1.0.0, litert 2.3)",
    ),
    (
        Gap(reason="full", counts={"telemetry": 5, "detection": 2}),
        "gap: 7 events lost, the outbox was full (2 detection, 5 telemetry)",
    ),
    (Gap(reason="disk", counts={}), "gap: 0 events lost, the disk refused them (no kind known)"),
    (
        Telemetry(
            uptime_s=59.96,
            frames=600,
            frames_replaced=1,
            looks=20,
            dismissed=580,
            inference_ms=3.44,
            waiting=0,
            temperature_c=51.4,
        ),
        "up 60.0 s, 600 frames, 20 looks, 0 events waiting, inference 3.4 ms, 51 °C",
    ),
    (ClockAnchor(step_s=-3.25), "clock set back by 3.2 s"),
    (ClockAnchor(step_s=3600.0), "clock set forward by 3600.0 s"),
    (CommandDone(command_id="1", command="pause", result="done"), "command pause done"),
    (
        CommandDone(result="refused", detail="not a command"),
        "command that nobody can read refused (not a command)",
    ),
]


@pytest.mark.parametrize(("body", "line"), LINES)
def test_the_headline_says_what_happened(body: Body, line: str) -> None:
    assert headline(body) == line


def test_every_body_has_a_headline_of_its_own() -> None:
    assert {type(body) for body, _ in LINES} == set(BODIES)


def test_a_body_of_a_newer_box_is_named_by_its_type() -> None:
    class Weather(Body):
        subfolder = "weather"

    assert headline(Weather()) == "lookout.weather"


def event(body: Body) -> Event:
    return Event(
        id=EventId("garden", RunId(3, "9f2c1a7b"), 42),
        registry="home",
        draft=Draft(time_ns=1_764_000_000_000_000_000, mono_ns=5, body=body),
    )


def test_a_record_holds_the_event_s_data_and_its_place() -> None:
    record = record_of(event(detection("began", "seen")))
    assert (record.id, record.kind) == ("garden:3-9f2c1a7b:42", "detection")
    assert (record.region, record.label) == ("feeder", "cat")
    assert record.time == "2025-11-24T16:00:00.000000Z"
    assert record.headline.startswith("cat began in feeder")
    assert record.detail["type"] == "lookout.detection.began"
    assert record.detail["seq"] == 42
    assert record.detail["why"]["thresholds"] == {"low": 0.25, "high": 0.4}
    assert record.picture is None


def test_a_record_of_what_has_no_place_has_none() -> None:
    record = record_of(event(ClockAnchor(step_s=1.0)))
    assert (record.kind, record.region, record.label) == ("clock", None, None)
