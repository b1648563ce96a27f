"""The bytes of every kind of event, and what happens to bytes that are none."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.wire.bodies import BODIES, Detection, LabelScore
from device.wire.errors import WireError
from device.wire.events import MAX_EVENT_BYTES, Event, Rank, decode, encode, time_ns, time_text
from tests.device.wire.examples import BEGAN, EVENTS, NOON_NS, event
from tests.device.wire.strategies import events

GOLDEN = Path(__file__).parent / "golden"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")


def read(payload: bytes) -> Event | None:
    """Any other error than WireError fails the test."""
    try:
        return decode(payload)
    except WireError:
        return None


def paths_in(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a JSON value, the value itself left out."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths_in(inner, (*path, key))
    elif isinstance(value, list):
        for row, inner in enumerate(value):
            found += paths_in(inner, (*path, row))
    return found


def around(message: dict[str, Any], path: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - JSON
    """The object or list that holds the last step of `path`."""
    inner: Any = message
    for step in path[:-1]:
        inner = inner[step]
    return inner


def test_there_is_a_golden_file_for_every_kind() -> None:
    assert {type(example.body) for example in EVENTS.values()} == set(BODIES)
    on_disk = {path.stem for path in GOLDEN.glob("*.json")}
    assert on_disk == {*EVENTS, "state", "availability", "receipt", "command", "desired"}


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_becomes_exactly_these_bytes(name: str) -> None:
    assert encode(EVENTS[name]) == golden(name)


@pytest.mark.parametrize("name", EVENTS)
def test_these_bytes_become_the_event_again(name: str) -> None:
    assert decode(golden(name)) == EVENTS[name]


@settings(deadline=None)
@given(events)
def test_what_was_encoded_is_decoded_unchanged(original: Event) -> None:
    assert decode(encode(original)) == original


@pytest.mark.parametrize("name", EVENTS)
def test_fields_of_a_newer_writer_are_ignored_wherever_they_stand(name: str) -> None:
    message = json.loads(golden(name))
    for path in [("new",), *((*each, "new") for each in paths_in(message))]:
        holder = around(message, path)
        # Objects whose keys are not fields but names, as `counts`, have no unknown ones.
        if isinstance(holder, dict) and "counts" not in path:
            holder["new"] = {"a": [1, None]}
    assert decode(json.dumps(message).encode()) == EVENTS[name]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_a_wire_error(payload: bytes) -> None:
    read(payload)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(EVENTS)),
    st.integers(0, 2000),
    st.integers(0, 2000),
    st.binary(max_size=4),
)
def test_a_damaged_event_is_an_event_or_a_wire_error(
    name: str, start: int, length: int, patch: bytes
) -> None:
    whole = golden(name)
    at = start % len(whole)
    read(whole[:at] + patch + whole[at + length % 40 :])


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(sorted(EVENTS)), json_values)
def test_a_changed_value_gives_an_event_or_a_wire_error(
    data: st.DataObject, name: str, value: object
) -> None:
    message = json.loads(golden(name))
    path = data.draw(st.sampled_from(paths_in(message)))
    around(message, path)[path[-1]] = value
    read(json.dumps(message).encode())


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("field", ["specversion", "id", "source", "type", "time", "data"])
def test_an_event_without_a_field_of_the_envelope_is_refused(name: str, field: str) -> None:
    message = json.loads(golden(name))
    del message[field]
    with pytest.raises(WireError, match=field):
        decode(json.dumps(message).encode())


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("specversion", "0.3", "specversion"),
        ("id", "garden:12-9f2c1a7b:3", "data names run 12-9f2c1a7b seq 2"),
        ("id", "garden:13-9f2c1a7b:2", "data names run 12-9f2c1a7b seq 2"),
        ("id", "garden:12-9f2c1a7b:2\n", "want DEVICE:RUN:SEQ"),
        ("source", "/home/devices/lawn", "want /REGISTRY/devices/garden"),
        ("source", "/ho+me/devices/garden", "want /REGISTRY/devices/garden"),
        ("source", "home/devices/garden", "want /REGISTRY/devices/garden"),
        ("type", "lookout.weather", "no event of this reader"),
        ("type", "lookout.detectionist", "no event of this reader"),
        ("time", "2026-11-24T12:00:02", "want an offset"),
        ("time", "yesterday", "RFC 3339"),
        ("data", {}, "run"),
        ("data", [], "data"),
    ],
)
def test_an_envelope_that_contradicts_itself_is_refused(
    field: str, value: object, wanted: str
) -> None:
    message = json.loads(golden("detection_began"))
    message[field] = value
    with pytest.raises(WireError, match=wanted.replace("+", r"\+")):
        decode(json.dumps(message).encode())


@pytest.mark.parametrize(
    ("key", "value"),
    [("score", "0.5"), ("score", 1.5), ("score", True), ("change", "begun"), ("count", 1.5)],
)
def test_values_of_another_type_or_outside_their_limits_are_refused(
    key: str, value: object
) -> None:
    message = json.loads(golden("detection_ended"))
    message["data"][key] = value
    with pytest.raises(WireError, match=key):
        decode(json.dumps(message).encode())


def test_deeply_nested_json_is_a_wire_error() -> None:
    assert read(b"[" * 50_000) is None
    assert read(b'{"data":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001) is None


def test_a_later_kind_of_detection_is_read_as_a_detection() -> None:
    message = json.loads(golden("detection_began"))
    message["type"] = "lookout.detection.identified"
    assert decode(json.dumps(message).encode()).body == BEGAN


def test_a_detection_with_its_full_why_is_under_one_kibibyte() -> None:
    assert len(BEGAN.why.history) == 8
    assert len(golden("detection_began")) <= 1024
    assert len(golden("detection_ended")) <= 1024


def test_an_event_too_large_for_the_broker_is_refused_at_both_ends() -> None:
    many = [LabelScore(label=f"label {row:05}", score=0.5) for row in range(2000)]
    with pytest.raises(WireError, match=f"at most {MAX_EVENT_BYTES}"):
        encode(event(1, BEGAN.model_copy(update={"labels": many})))
    with pytest.raises(WireError, match=f"at most {MAX_EVENT_BYTES}"):
        decode(b" " * (MAX_EVENT_BYTES + 1))


def test_scores_have_three_decimals_on_the_wire() -> None:
    body = BEGAN.model_copy(update={"score": 0.61249, "peak": 2 / 3})
    assert isinstance(body, Detection)
    data = json.loads(encode(event(1, body)))["data"]
    assert (data["score"], data["peak"]) == (0.612, 0.667)


def test_telemetry_makes_room_first_and_buttons_and_alarms_last() -> None:
    ranks = {name: example.draft.rank for name, example in EVENTS.items()}
    assert ranks["telemetry"] == Rank.TELEMETRY
    assert ranks["detection_began"] == ranks["detection_ended"] == Rank.DETECTION
    assert {rank for name, rank in ranks.items() if name[:3] not in ("tel", "det")} == {Rank.KEEP}


def test_times_are_utc_with_microseconds() -> None:
    assert time_text(NOON_NS + 1_234_567) == "2026-11-24T12:00:00.001234Z"
    assert time_ns("2026-11-24T13:30:00.001234+01:30") == NOON_NS + 1_234_000
