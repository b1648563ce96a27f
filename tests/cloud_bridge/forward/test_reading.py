"""What the bridge makes of a message: declared errors alone, and no belief beyond the topic's."""

import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.forward.reading import Reader, Reading, device_number
from cloud_bridge.ports import Arrival
from device.wire.errors import WireError
from device.wire.events import MAX_EVENT_BYTES, Event
from device.wire.events import encode as encode_event
from tests.device.wire.strategies import events
from tests.kit.bridge import RUN, event_payload

MANY: dict[str, Any] = {f"x{key}": key for key in range(50)}
TOPIC = b"home/devices/garden/events/detection"


def reader() -> Reader:
    return Reader(frozenset({"home", "farm"}), "some-project", "global")


def read(payload: bytes, topic: bytes = TOPIC) -> Reading:
    arrival = Arrival(1, topic, payload)
    return reader().event(reader().place(topic), arrival)


def refused(payload: bytes, topic: bytes = TOPIC) -> str:
    with pytest.raises(WireError) as caught:
        read(payload, topic)
    return str(caught.value)


def test_the_data_of_the_event_is_the_data_of_the_message() -> None:
    found = read(event_payload(7))
    assert json.loads(found.message.body) == json.loads(event_payload(7))["data"]
    assert (found.device, found.run, found.seq) == (("home", "garden"), RUN, 7)


def test_the_attributes_are_those_of_iot_core_and_of_cloudevents() -> None:
    assert read(event_payload(7)).message.attributes == {
        "deviceId": "garden",
        "deviceNumId": str(device_number("home", "garden")),
        "deviceRegistryId": "home",
        "deviceRegistryLocation": "global",
        "projectId": "some-project",
        "subFolder": "detection",
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-source": "/home/devices/garden",
        "ce-id": f"garden:{RUN}:7",
        "ce-type": "lookout.detection.began",
        "ce-time": "2026-11-24T12:00:02.000000Z",
        "ce-subject": "whole/cat",
    }


def test_the_cloudevents_library_reads_it() -> None:
    message = read(event_payload(7)).message
    event = from_http_event(HTTPMessage(dict(message.attributes), message.body))
    assert event.get_id() == message.attributes["ce-id"] == f"garden:{RUN}:7"
    assert event.get_source() == message.attributes["ce-source"]
    assert event.get_type() == message.attributes["ce-type"]
    assert event.get_subject() == message.attributes["ce-subject"]
    assert event.get_data() == json.loads(event_payload(7))["data"]
    assert event.get_datacontenttype() == "application/json"


def test_a_consumer_written_for_iot_core_reads_it() -> None:
    """The fields that Google's IoT Core samples take from a message."""
    message = read(event_payload(7)).message
    told = [message.attributes[key] for key in ("deviceRegistryId", "deviceId", "subFolder")]
    assert told == ["home", "garden", "detection"]
    assert int(message.attributes["deviceNumId"]) < 2**63
    assert json.loads(message.body.decode("utf-8"))["seq"] == 7


@given(events)
def test_whatever_a_box_writes_goes_on(event: Event) -> None:
    payload = encode_event(event)
    topic = f"{event.registry}/devices/{event.id.device}/events/{event.subfolder}".encode()
    some = Reader(frozenset({event.registry}), "some-project", "global")
    found = some.event(some.place(topic), Arrival(1, topic, payload))
    assert json.loads(found.message.body) == json.loads(payload)["data"]
    assert found.message.attributes["ce-id"] == str(event.id)
    assert (found.run, found.seq) == (str(event.id.run), event.id.seq)


def test_a_kind_that_the_bridge_does_not_know_goes_on() -> None:
    found = read(event_payload(1, kind="weather.changed"), b"home/devices/garden/events/weather")
    assert found.message.attributes["ce-type"] == "lookout.weather.changed"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "want a JSON object"),
        (b"null", "want a JSON object"),
        (b'{"id":"\xff\xfe"}', "not JSON"),
        (event_payload(1).decode().encode("utf-16"), "not JSON"),
        (event_payload(1, subject="\x00").replace(b"\\u0000", b"\\ud800"), "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
        (event_payload(1).replace(b'"mono_ns":1', b'"mono_ns":NaN'), "not JSON"),
        (event_payload(1, pad=MAX_EVENT_BYTES), "want at most 65536"),
        (event_payload(1, specversion="2.0"), "specversion '2.0': want 1.0"),
        (event_payload(1, specversion=1.0), "want 1.0"),
        (event_payload(1, id=7), "want DEVICE:RUN:SEQ"),
        (event_payload(1, id="garden:1:1"), "want DEVICE:RUN:SEQ"),
        (event_payload(1, id=f"garden:{RUN}:1\n"), "want DEVICE:RUN:SEQ"),
        (event_payload(1, id=f"garden:{RUN}:2"), "data names another"),
        (event_payload(1, id=f"garden:{RUN}:0"), "want DEVICE:RUN:SEQ"),
        (event_payload(1, device="door"), "the topic is that of device garden"),
        (event_payload(1, registry="farm"), "want /home/devices/garden"),
        (event_payload(1, source="/home/devices/garden/"), "want /home/devices/garden"),
        (event_payload(1, type="lookout.button.short"), "want lookout.detection"),
        (event_payload(1, type="lookout.detections"), "want lookout.detection"),
        (event_payload(1, type="lookout.detection." + "x" * 300), "at most 256"),
        (event_payload(1, time="yesterday"), "want RFC 3339"),
        (event_payload(1, time="2026-11-39T12:00:00Z"), "want RFC 3339"),
        (event_payload(1, time="2026-11-24T12:00:00"), "want RFC 3339"),
        (event_payload(1, time=None), "want RFC 3339"),
        (event_payload(1, data=[]), "want an object"),
        (event_payload(1, data={"run": RUN, "seq": True}), "another run or seq"),
        (event_payload(1, data={"run": RUN, "seq": 1.0}), "another run or seq"),
        (event_payload(1).replace(b'"mono_ns":1', b'"mono_ns":1e999'), "too large"),
        (event_payload(1, **MANY), "members"),
    ],
)  # fmt: skip
def test_what_nobody_can_read_is_refused_with_a_reason(payload: bytes, words: str) -> None:
    assert words in refused(payload)


def test_a_million_keys_are_refused_before_they_are_read() -> None:
    payload = json.dumps({str(key): key for key in range(1_000_000)}).encode()
    assert "want at most" in refused(payload)


@pytest.mark.parametrize(
    "topic",
    [
        b"",
        b"home",
        b"/devices/garden/events/detection",
        b"other/devices/garden/events/detection",
        b"home/device/garden/events/detection",
        b"home/devices//events/detection",
        b"home/devices/gar den/events/detection",
        b"home/devices/garden/events",
        b"home/devices/garden/events/",
        b"home/devices/garden/events/a/b",
        b"home/devices/garden/events/UPPER",
        b"home/devices/garden/state/x",
        b"home/devices/garden/receipts",
        b"home/devices/\xff/events/detection",
    ],
)
def test_a_topic_that_is_none_is_refused(topic: bytes) -> None:
    with pytest.raises(WireError):
        reader().place(topic)


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_bytes_give_a_reading_or_a_wire_error(topic: bytes, payload: bytes) -> None:
    arrival = Arrival(1, topic, payload)
    try:
        place = reader().place(topic)
        reader().event(place, arrival)
    except WireError:
        letter = reader().letter(arrival, "why")
        assert letter.payload == payload


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
FIELDS = st.sampled_from(["specversion", "id", "source", "type", "time", "subject", "data", "new"])


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_field_may_hold_anything(changes: dict[str, Any]) -> None:
    payload = event_payload(1, **changes)
    try:
        found = read(payload)
    except WireError:
        return
    assert found.message.attributes["deviceId"] == "garden"
    for value in found.message.attributes.values():
        assert len(value.encode()) <= 1024


def test_a_refusal_names_the_event_where_the_payload_tells_it() -> None:
    arrival = Arrival(1, TOPIC, f'{{"id":"garden:{RUN}:9", broken'.encode())
    letter = reader().letter(arrival, "why")
    assert (letter.registry, letter.device, letter.run, letter.seq) == ("home", "garden", RUN, 9)


def test_a_refusal_goes_to_the_topics_device_whatever_the_payload_says() -> None:
    letter = reader().letter(Arrival(1, TOPIC, event_payload(9, device="door")), "why")
    assert (letter.device, letter.seq) == ("garden", 9)


def test_a_letter_from_nowhere_names_nobody() -> None:
    letter = reader().letter(Arrival(1, b"what/\xff", event_payload(1)), "why")
    assert letter.topic == "what/\\xff"
    assert (letter.device, letter.run, letter.seq) == (None, None, None)


def test_a_subject_too_long_for_an_attribute_is_left_out() -> None:
    assert "ce-subject" not in read(event_payload(1, subject="x" * 2000)).message.attributes


def test_a_state_names_its_device_and_kind() -> None:
    topic = b"home/devices/garden/state"
    arrival = Arrival(1, topic, b'{"run":"1-9f2c1a7b"}')
    message = reader().state(reader().place(topic), arrival, "2026-11-24T12:00:00Z", 7)
    assert message.attributes["ce-type"] == "lookout.state"
    assert message.attributes["ce-id"] == "garden:state:7"
    assert message.attributes["deviceId"] == "garden"
    assert message.body == arrival.payload


@pytest.mark.parametrize("payload", [b"{", b"[]", b"{}", b'{"run":1}', b"x" * 300_000])
def test_a_state_that_is_none_is_refused(payload: bytes) -> None:
    topic = b"home/devices/garden/state"
    with pytest.raises(WireError):
        reader().state(reader().place(topic), Arrival(1, topic, payload), "", 1)


def test_extensions_that_the_bridge_does_not_know_become_attributes() -> None:
    payload = event_payload(1, traceparent="00-1", sampledrate=7, new={"a": 1}, Big="x", flag=True)
    attributes = read(payload).message.attributes
    assert attributes["ce-traceparent"] == "00-1"
    assert attributes["ce-sampledrate"] == "7"
    assert attributes["ce-flag"] == "true"
    assert not {"ce-new", "ce-Big", "ce-data", "ce-datacontenttype"} & set(attributes)


def test_a_word_that_looks_like_a_number_too_large_is_a_word() -> None:
    assert (
        b"Infinity"
        in read(event_payload(1, data={"run": RUN, "seq": 1, "a": "Infinity"})).message.body
    )


@pytest.mark.parametrize("number", ["0.1", "1e300", "123456789012345678901234567890", "-0.0"])
def test_numbers_keep_their_value(number: str) -> None:
    payload = event_payload(1).replace(b'"mono_ns":1', f'"mono_ns":{number}'.encode())
    assert json.loads(read(payload).message.body)["mono_ns"] == json.loads(number)


@pytest.mark.parametrize("field", ["id", "subject", "time", "type", "new", "specversion"])
def test_a_number_of_many_digits_is_no_surprise(field: str) -> None:
    changed: dict[str, Any] = {field: 777}
    payload = event_payload(1, **changed).replace(b"777", b"7" * 5000)
    try:
        found: object = read(payload).seq
    except WireError as exc:
        found = len(str(exc)) < 300
    assert found


def test_a_number_of_many_digits_in_the_data_keeps_its_value() -> None:
    payload = event_payload(1).replace(b'"mono_ns":1', b'"mono_ns":' + b"7" * 4000)
    assert b"7" * 4000 in read(payload).message.body
