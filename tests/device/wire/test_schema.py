"""`docs/wire-schema.json`, by which others check messages, agrees with what the box sends."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from device.wire.events import Event, encode
from tests.device.wire.examples import EVENTS
from tests.device.wire.strategies import events

HERE = Path(__file__).parent
SCHEMA = json.loads((HERE.parents[2] / "docs/wire-schema.json").read_text(encoding="utf-8"))


def mistakes(kind: str, message: object) -> list[str]:
    part = {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{kind}"}
    validator = jsonschema.Draft202012Validator(part)
    return [each.message for each in validator.iter_errors(message)]


def golden(name: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads((HERE / "golden" / f"{name}.json").read_bytes())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", EVENTS)
def test_the_golden_events_are_valid(name: str) -> None:
    assert mistakes("Event", golden(name)) == []


def test_the_golden_state_and_availability_are_valid() -> None:
    assert mistakes("State", golden("state")) == []
    assert mistakes("Availability", golden("availability")) == []


@settings(deadline=None)
@given(events)
def test_every_event_that_can_be_sent_is_valid(event: Event) -> None:
    assert mistakes("Event", json.loads(encode(event))) == []


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("key", ["run", "seq", "mono_ns", "durable"])
def test_an_event_without_its_number_is_not_valid(name: str, key: str) -> None:
    message = golden(name)
    del message["data"][key]
    assert any(key in mistake for mistake in mistakes("Event", message))


def test_the_data_of_an_event_is_checked_by_its_kind() -> None:
    message = golden("detection_began")
    message["data"]["score"] = 1.5
    assert mistakes("Event", message) == ["1.5 is greater than the maximum of 1.0"]
    message["type"] = "lookout.weather"
    assert mistakes("Event", message) == []


def test_fields_of_a_newer_writer_are_valid() -> None:
    message = golden("detection_began")
    message["new"] = message["data"]["new"] = message["data"]["why"]["new"] = {}
    assert mistakes("Event", message) == []
