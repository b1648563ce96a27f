"""Events of every kind, of every shape that the wire can carry unchanged."""

from hypothesis import strategies as st

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
from device.wire.events import Draft, Event
from device.wire.names import EventId, RunId

HEX_DIGITS = "0123456789abcdef"

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,63}", fullmatch=True)
runs = st.builds(RunId, st.integers(1, 10**18 - 1), st.text(HEX_DIGITS, min_size=8, max_size=8))
event_ids = st.builds(EventId, names, runs, st.integers(1, 10**18 - 1))

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scores = st.integers(0, 1000).map(lambda n: n / 1000)
shares = st.integers(0, 1000).map(lambda n: n / 1000)
seconds = st.integers(0, 10**9).map(lambda n: n / 1000)
counts = st.integers(0, 2**53)

label_scores = st.lists(st.builds(LabelScore, label=words, score=scores), max_size=5)
sights = st.builds(
    RegionSight, region=words, present=st.lists(words, max_size=3), labels=label_scores
)
whys = st.builds(
    Why,
    reason=words,
    gate=st.none() | st.builds(GateWhy, reason=words, changed=shares),
    history=st.lists(st.tuples(counts, scores), max_size=8),
    thresholds=st.builds(ThresholdPair, low=scores, high=scores),
    rules=st.lists(words, max_size=3),
    bundle=words,
    bundle_sha256=st.text(HEX_DIGITS, min_size=64, max_size=64),
)
detections = st.builds(
    Detection,
    change=st.sampled_from(["began", "ended"]),
    region=words,
    label=words,
    kind=st.sampled_from(["label", "group"]),
    score=scores,
    peak=scores,
    count=st.none() | counts,
    box=st.none() | st.tuples(shares, shares, shares, shares),
    duration_s=st.none() | seconds,
    labels=label_scores,
    why=whys,
)
buttons = st.builds(
    Button,
    button=words,
    press=st.sampled_from(["short", "held"]),
    result=st.sampled_from(["looked", "paused", "resumed", "no_picture"]),
    sights=st.lists(sights, max_size=3),
)
run_starts = st.builds(
    RunStarted,
    previous_run=st.none() | runs.map(str),
    previous_seq=st.none() | counts,
    reason=words,
    version=words,
    bundle=words,
    runtime=words,
)
gaps = st.builds(
    Gap,
    reason=st.sampled_from(["full", "disk", "oversize"]),
    counts=st.dictionaries(words, counts, max_size=4),
    ranges=st.lists(
        st.builds(LostRange, run=runs.map(str), first=counts, last=counts, count=counts),
        max_size=4,
    ),
)
telemetries = st.builds(
    Telemetry,
    uptime_s=seconds,
    frames=counts,
    frames_replaced=counts,
    looks=counts,
    dismissed=counts,
    inference_ms=st.none() | seconds,
    waiting=counts,
    outbox_bytes=st.none() | counts,
    disk_free_bytes=st.none() | counts,
    temperature_c=st.none() | st.floats(-273.0, 1000.0),
)
anchors = st.builds(ClockAnchor, step_s=st.floats(-1e12, 1e12))
commands_done = st.builds(
    CommandDone,
    command_id=st.none() | words,
    command=st.none() | words,
    result=st.sampled_from(["done", "refused", "expired", "repeated", "failed"]),
    detail=st.none() | words,
    sights=st.lists(sights, max_size=3),
)

bodies: st.SearchStrategy[Body] = st.one_of(
    detections, buttons, run_starts, gaps, telemetries, anchors, commands_done
)
drafts = st.builds(
    Draft,
    # The wire carries microseconds.
    time_ns=st.integers(0, 4 * 10**15).map(lambda us: us * 1000),
    mono_ns=st.integers(0, 2**63 - 1),
    body=bodies,
)
events = st.builds(Event, id=event_ids, registry=names, draft=drafts, is_durable=st.booleans())
