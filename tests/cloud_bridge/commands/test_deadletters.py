"""Whatever became a dead letter is kept as it is, shown, and read again or refused in words."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.clocks import HandClock
from cloud_bridge.commands.deadletters import described, read_again, shown
from cloud_bridge.forward.reading import Reader
from cloud_bridge.forward.sqlite_dead_letters import SqliteDeadLetters
from cloud_bridge.ports import Arrival
from device.wire.errors import WireError
from tests.kit.bridge import event_payload

READER = Reader(frozenset({"home"}), "some-project", "global")
TOPICS = st.binary(max_size=80) | st.sampled_from(
    [
        b"home/devices/garden/events/detection",
        b"home/devices/garden/state",
        b"home/devices/garden/events/\xff",
        b"farm/devices/garden/events/detection",
        b"",
    ]
)
PAYLOADS = (
    st.binary(max_size=200)
    | st.sampled_from([b"", event_payload(7), event_payload(7, device="shed"), b"\x00" * 100_000])
    | st.integers(0, 300).map(lambda cut: event_payload(7)[:cut])
)


@settings(deadline=None)
@given(st.lists(st.tuples(TOPICS, PAYLOADS), min_size=1, max_size=5), st.text(max_size=50))
def test_any_dead_letter_is_kept_shown_and_read_again_or_refused(
    found: list[tuple[bytes, bytes]], reason: str
) -> None:
    store = SqliteDeadLetters(Path(":memory:"), 10**7, HandClock())
    letters = [READER.letter(Arrival(1, topic, payload), reason) for topic, payload in found]
    store.add_all(letters)
    kept = store.letters()
    assert [each.letter.payload for each in kept] == [
        letter.payload for letter in {(each.topic, each.payload): each for each in letters}.values()
    ]
    for each in kept:
        json.dumps(described(each))
        assert len(shown(each.letter.payload)) < 1000
        try:
            again = read_again(READER, each)
        except WireError:
            continue
        assert again.seq == 7
    store.close()


def test_a_letter_that_can_be_read_by_now_goes_on() -> None:
    store = SqliteDeadLetters(Path(":memory:"), 10**7, HandClock())
    arrival = Arrival(1, b"home/devices/garden/events/detection", event_payload(7))
    store.add_all([READER.letter(arrival, "an older bridge could not")])
    [kept] = store.letters()
    assert kept.letter.seq == 7
    assert read_again(READER, kept).message.attributes["deviceId"] == "garden"
    store.close()
