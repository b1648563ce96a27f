"""The bytes of what comes down, and what happens to bytes that are none of it."""

import json
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.wire.bodies import Part
from device.wire.downward import (
    Command,
    DesiredSettings,
    decode_command,
    decode_desired,
    encode_down,
)
from device.wire.errors import WireError
from device.wire.events import decode as decode_event
from device.wire.events import time_ns
from device.wire.names import EventId
from device.wire.receipts import (
    Receipt,
    Refusal,
    decode_receipt,
    encode_receipt,
    ranges_of,
)
from tests.device.wire.examples import COMMAND, DESIRED, RECEIPT
from tests.device.wire.strategies import runs, words

GOLDEN = Path(__file__).parent / "golden"

Decode = Callable[[bytes], Part]
KINDS: dict[str, tuple[Decode, Part, bytes]] = {
    "receipt": (decode_receipt, RECEIPT, encode_receipt(RECEIPT)),
    "command": (decode_command, COMMAND, encode_down(COMMAND)),
    "desired": (decode_desired, DESIRED, encode_down(DESIRED)),
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
seqs = st.integers(1, 10**18)


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")


@pytest.mark.parametrize("name", KINDS)
def test_each_becomes_exactly_its_golden_bytes_and_comes_back(name: str) -> None:
    decode, value, payload = KINDS[name]
    assert payload == golden(name)
    assert decode(payload) == value


@pytest.mark.parametrize("name", KINDS)
def test_fields_of_a_newer_writer_are_ignored(name: str) -> None:
    decode, value, payload = KINDS[name]
    assert decode(json.dumps({**json.loads(payload), "new": [1]}).encode()) == value


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b'{"run":"1-0badcafe"',
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"version":' + b"9" * 50_000 + b"}",
    b'"\\ud800"',
    b"x" * 70_000,
    json.dumps({str(number): 0 for number in range(1_000_000)}).encode(),
]


@pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("name", KINDS)
def test_hostile_bytes_are_a_wire_error(name: str, payload: bytes) -> None:
    with pytest.raises(WireError):
        KINDS[name][0](payload)


@pytest.mark.parametrize(
    "change",
    [
        {"run": "x"},
        {"run": "1-0badcafe\n"},
        {"ok": [[2, 1]]},
        {"ok": [[0, 1]]},
        {"ok": [[1]]},
        {"ok": [[1, 2, 3]]},
        {"ok": [["1", "2"]]},
        {"ok": [[1.5, 2]]},
        {"ok": [[True, 2]]},
        {"ok": [[1, 10**19]]},
        {"refused": [{"seq": 1}]},
        {"refused": [1]},
    ],
)
def test_a_receipt_that_says_something_else_is_refused(change: dict[str, object]) -> None:
    message = {**json.loads(golden("receipt")), **change}
    with pytest.raises(WireError):
        decode_receipt(json.dumps(message).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "a b"},
        {"id": "a\n"},
        {"id": "x" * 65},
        {"command": "format"},
        {"command": "Classify"},
        {"expires": 5},
        {"arguments": []},
    ],
)
def test_a_command_that_says_something_else_is_refused(change: dict[str, object]) -> None:
    message = {**json.loads(golden("command")), **change}
    with pytest.raises(WireError, match="not a command"):
        decode_command(json.dumps(message).encode())


@pytest.mark.parametrize("version", [0, -1, 1.5, "7", True, None, 10**16])
def test_a_version_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(WireError, match="version"):
        decode_desired(json.dumps({"version": version, "settings": {}}).encode())


LONG = "x" * 60_000


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (decode_receipt, {"run": LONG}),
        (decode_receipt, {"run": LONG, "ok": [[LONG, 1]]}),
        (decode_command, {**json.loads(golden("command")), "id": LONG}),
        (decode_command, {**json.loads(golden("command")), "command": LONG}),
        (decode_desired, {"version": LONG, "settings": {}}),
        (decode_desired, {"version": 1, "settings": LONG}),
        (lambda payload: time_ns(json.loads(payload)), LONG),
        (lambda payload: EventId.parse(json.loads(payload)), LONG),
        (decode_event, {**json.loads(golden("run_started")), "source": LONG}),
        (decode_event, {**json.loads(golden("run_started")), "type": LONG}),
        (decode_event, {**json.loads(golden("run_started")), "time": LONG}),
        (decode_event, {**json.loads(golden("run_started")), "id": LONG}),
    ],
)
def test_what_is_said_of_a_bad_message_is_short(
    decode: Callable[[bytes], object], message: object
) -> None:
    with pytest.raises(WireError) as caught:
        decode(json.dumps(message).encode())
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"[[-1e999]]"])
def test_a_number_that_json_cannot_say_is_refused(number: bytes) -> None:
    command = golden("command").replace(b'"arguments":{', b'"arguments":{"n":%s,' % number)
    command = command.replace(b",}", b"}")
    with pytest.raises(WireError, match=r"arguments: .*found a number"):
        decode_command(command)
    with pytest.raises(WireError, match=r"settings: .*found a number"):
        decode_desired(b'{"version":1,"settings":{"a":{"b":%s}}}' % number)


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=200), st.integers(0, 2000))
def test_any_bytes_are_a_message_or_a_wire_error(name: str, junk: bytes, at: int) -> None:
    decode, _, whole = KINDS[name]
    for payload in (junk, whole[: at % len(whole)] + junk):
        with suppress(WireError):
            decode(payload)  # any other error fails the test


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.data(), json_values)
def test_any_value_in_any_place_is_a_message_or_a_wire_error(
    name: str, data: st.DataObject, value: object
) -> None:
    decode, _, whole = KINDS[name]
    message = json.loads(whole)
    message[data.draw(st.sampled_from(sorted(message)))] = value
    with suppress(WireError):
        decode(json.dumps(message).encode())


@given(
    st.builds(
        Receipt,
        run=runs.map(str),
        ok=st.lists(st.tuples(seqs, seqs).map(lambda pair: (min(pair), max(pair))), max_size=8),
        refused=st.lists(st.builds(Refusal, seq=seqs, reason=words), max_size=4),
    )
)
def test_every_receipt_comes_back(receipt: Receipt) -> None:
    assert decode_receipt(encode_receipt(receipt)) == receipt


@given(
    st.builds(
        Command,
        id=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        command=st.sampled_from(["classify", "identify", "pause", "resume", "reload", "restart"]),
        expires=words,
        arguments=st.dictionaries(words, words, max_size=3),
    )
)
def test_every_command_comes_back(command: Command) -> None:
    assert decode_command(encode_down(command)) == command


@given(
    st.builds(
        DesiredSettings,
        version=st.integers(1, 10**15),
        settings=st.dictionaries(words, st.dictionaries(words, st.integers() | words), max_size=3),
    )
)
def test_all_desired_settings_come_back(desired: DesiredSettings) -> None:
    assert decode_desired(encode_down(desired)) == desired


@given(st.lists(st.integers(1, 60), max_size=80))
def test_ranges_name_each_number_and_no_other(numbers: list[int]) -> None:
    ranges = ranges_of(sorted(numbers))
    named = [seq for first, last in ranges for seq in range(first, last + 1)]
    assert named == sorted(set(numbers))
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(ranges))


def test_what_is_no_json_is_told_without_an_empty_place() -> None:
    with pytest.raises(WireError, match=r"^not a command: Invalid JSON"):
        decode_command(b"nothing")
