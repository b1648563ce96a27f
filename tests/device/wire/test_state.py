"""The bytes of `state` and `availability`, and what happens to bytes that are neither."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.wire.errors import WireError
from device.wire.state import decode_availability, decode_state, encode_part
from tests.device.wire.examples import AVAILABILITY, STATE

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")


def test_state_becomes_exactly_these_bytes_and_comes_back() -> None:
    assert encode_part(STATE) == golden("state")
    assert decode_state(golden("state")) == STATE


def test_availability_becomes_exactly_these_bytes_and_comes_back() -> None:
    assert encode_part(AVAILABILITY) == golden("availability")
    assert decode_availability(golden("availability")) == AVAILABILITY


def test_fields_of_a_newer_writer_are_ignored() -> None:
    message = json.loads(golden("state"))
    message["new"] = 1
    message["backend"]["new"] = {"a": []}
    message["degraded"][0]["new"] = None
    assert decode_state(json.dumps(message).encode()) == STATE


def test_a_state_without_what_may_be_absent_is_read() -> None:
    message = json.loads(golden("state"))
    for key in ("backend", "bundles", "sights", "outputs", "degraded", "losses"):
        del message[key]
    state = decode_state(json.dumps(message).encode())
    assert (state.backend, state.outputs, state.degraded) == (None, {}, [])


@pytest.mark.parametrize("key", ["run", "last_seq", "camera", "settings"])
def test_a_state_without_what_it_must_say_is_refused(key: str) -> None:
    message = json.loads(golden("state"))
    del message[key]
    with pytest.raises(WireError, match=f"not a state: {key}"):
        decode_state(json.dumps(message).encode())


def test_another_availability_is_refused() -> None:
    with pytest.raises(WireError, match="not an availability: status"):
        decode_availability(b'{"status":"away","run":"12-9f2c1a7b"}')


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2000))
def test_any_bytes_are_a_state_or_a_wire_error(junk: bytes, at: int) -> None:
    whole = golden("state")
    for payload in (junk, whole[: at % len(whole)] + junk):
        with suppress(WireError):
            decode_state(payload)  # any other error fails the test
        with suppress(WireError):
            assert decode_availability(payload).status in ("online", "offline")
