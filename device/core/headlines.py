"""Events in one line for people, and as records of the box's own."""

from collections.abc import Sequence

from device.wire.bodies import (
    Body,
    Button,
    ClockAnchor,
    CommandDone,
    Detection,
    Gap,
    RegionSight,
    RunStarted,
    Telemetry,
)
from device.wire.control import Record
from device.wire.events import Event, time_text

GAP_WORDS = {
    "full": "the outbox was full",
    "disk": "the disk refused them",
    "oversize": "they were too large to send",
}
START_WORDS = {
    "first": "for the first time",
    "stopped": "the run before was stopped as asked",
    "asked": "a command asked for it",
    "died": "the run before did not end as asked",
}
END_WORDS = {
    "too_long": "was there for longer than it may",
    "blind": "the camera went silent",
}


def headline(body: Body) -> str:
    """Such as `cat began in feeder, 0.83 (why: changed 12 %, from 0.40 on)`."""
    match body:
        case Detection():
            return _detection(body)
        case Button():
            return _button(body)
        case RunStarted():
            how = START_WORDS.get(body.reason, body.reason)
            return f"run started, {how} (version {body.version}, {body.bundle}, {body.runtime})"
        case Gap():
            lost = ", ".join(f"{count} {kind}" for kind, count in sorted(body.counts.items()))
            why = GAP_WORDS[body.reason]
            return (
                f"gap: {sum(body.counts.values())} events lost, {why} ({lost or 'no kind known'})"
            )
        case Telemetry():
            return _telemetry(body)
        case ClockAnchor():
            way = "forward" if body.step_s >= 0 else "back"
            return f"clock set {way} by {abs(body.step_s):.1f} s"
        case CommandDone():
            saw = f", saw {_sights(body.sights)}" if body.sights else ""
            why = f" ({body.detail})" if body.detail else ""
            return f"command {body.command or 'that nobody can read'} {body.result}{saw}{why}"
    return body.type_name()


def record_of(event: Event) -> Record:
    """What the box keeps of an event, and shows to those who watch."""
    body = event.body
    where = body if isinstance(body, Detection) else None
    return Record(
        id=str(event.id),
        time=time_text(event.draft.time_ns),
        kind=body.subfolder,
        region=None if where is None else where.region,
        label=None if where is None else where.label,
        headline=headline(body),
        detail={
            "type": body.type_name(),
            "run": str(event.id.run),
            "seq": event.id.seq,
            "mono_ns": event.draft.mono_ns,
            "durable": event.is_durable,
            **body.model_dump(mode="json", exclude_none=True),
        },
    )


def _detection(body: Detection) -> str:
    many = f" x{body.count}" if body.count is not None and body.count > 1 else ""
    said = f"{body.label}{many} {body.change} in {body.region}"
    if body.change == "began":
        return (
            f"{said}, {body.score:.2f} (why: {_gate(body)}from {body.why.thresholds.high:.2f} on)"
        )
    there = "" if body.duration_s is None else f" after {_duration(body.duration_s)}"
    why = END_WORDS.get(
        body.why.reason, f"{_gate(body)}{body.score:.2f} is below {body.why.thresholds.low:.2f}"
    )
    return f"{said}{there}, {body.peak:.2f} at best (why: {why})"


def _gate(body: Detection) -> str:
    gate = body.why.gate
    if gate is None:
        return ""
    if gate.reason == "changed":
        return f"changed {gate.changed * 100:.0f} %, "
    return {"first": "first look, ", "due": "a look was due, ", "busy": ""}.get(gate.reason, "")


def _button(body: Button) -> str:
    said = f"button {body.button} {'pressed' if body.press == 'short' else 'held'}"
    match body.result:
        case "looked":
            return f"{said}, saw {_sights(body.sights)}"
        case "paused" | "resumed":
            return f"{said}, camera {body.result}"
        case "no_picture":
            return f"{said}, but there was no picture"


def _sights(sights: Sequence[RegionSight]) -> str:
    """What is present; where nothing is, the best guess."""
    parts = []
    for sight in sights:
        guess = (
            f" (best guess {sight.labels[0].label} {sight.labels[0].score:.2f})"
            if sight.labels
            else ""
        )
        seen = ", ".join(sight.present) or f"nothing{guess}"
        parts.append(f"{seen} in {sight.region}")
    return "; ".join(parts) or "nothing"


def _telemetry(body: Telemetry) -> str:
    parts = [
        f"up {_duration(body.uptime_s)}",
        f"{body.frames} frames",
        f"{body.looks} looks",
        f"{body.waiting} events waiting",
    ]
    if body.inference_ms is not None:
        parts.append(f"inference {body.inference_ms:.1f} ms")
    if body.temperature_c is not None:
        parts.append(f"{body.temperature_c:.0f} °C")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
