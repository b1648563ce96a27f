"""Names, ids and topics: written as text, read again, and refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.wire.errors import WireError
from device.wire.names import NAME_PATTERN, EventId, RunId, Topics
from tests.device.wire.strategies import event_ids, runs


@given(runs)
def test_a_run_id_is_read_as_it_was_written(run: RunId) -> None:
    assert RunId.parse(str(run)) == run


@given(event_ids)
def test_an_event_id_is_read_as_it_was_written(event_id: EventId) -> None:
    assert EventId.parse(str(event_id)) == event_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "0-9f2c1a7b",
        "03-9f2c1a7b",
        "3-9F2C1A7B",
        "3-9f2c1a7",
        "3-9f2c1a7bb",
        "3-9f2c1a7b\n",
    ],
)
def test_other_run_ids_are_refused(text: str) -> None:
    with pytest.raises(WireError, match="8 hex digits"):
        RunId.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garden",
        "garden:3-9f2c1a7b",
        "garden:3-9f2c1a7b:0",
        "garden:3-9f2c1a7b:-1",
        "garden:3-9f2c1a7b:1 ",
        "garden:3-9f2c1a7b:1\n",
        "9:3-9f2c1a7b:1",
        "gar/den:3-9f2c1a7b:1",
    ],
)
def test_other_event_ids_are_refused(text: str) -> None:
    with pytest.raises(WireError, match="DEVICE:RUN:SEQ"):
        EventId.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_an_event_id_or_a_wire_error(text: str) -> None:
    try:
        assert str(EventId.parse(text)) == text
    except WireError:
        assert True


def test_runs_are_ordered_by_their_number() -> None:
    assert RunId(9, "ffffffff") < RunId(10, "00000000")


def test_a_name_holds_nothing_that_a_topic_gives_a_meaning() -> None:
    name = re.compile(NAME_PATTERN)
    assert name.fullmatch("garden-2_b")
    for wrong in ("", "2garden", "-a", "a/b", "a+", "a#", "$a", "a b", "ä", "a" * 65):
        assert not name.fullmatch(wrong)


def test_topics_are_those_of_cloud_iot_core_under_the_registry() -> None:
    topics = Topics("home", "garden")
    assert topics.events("detection") == "home/devices/garden/events/detection"
    assert topics.state == "home/devices/garden/state"
    assert topics.availability == "home/devices/garden/availability"
    assert topics.receipts == "home/devices/garden/receipts"
    assert topics.config == "home/devices/garden/config"
    assert topics.commands("look") == "home/devices/garden/commands/look"
