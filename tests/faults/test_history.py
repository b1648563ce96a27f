"""The history checker finds what was planted, and nothing where all is well."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.kit.history import Committed, Handed, compare, fingerprint
from tests.kit.outbox_reader import FileContent

FIRST, SECOND = "1-0000000a", "2-0000000b"


def body_of(run: str, seq: int) -> dict[str, Any]:
    return {"run": run, "seq": seq, "step_s": seq / 7}


def handed(run: str, seq: int, message_id: str = "", **changes: Any) -> Handed:  # noqa: ANN401
    """As an honest chain delivers it."""
    body: Mapping[str, Any] | None = None
    if seq == 1:
        previous = {FIRST: (None, None), SECOND: (FIRST, 4)}[run]
        body = dict(zip(("previous_run", "previous_seq"), previous, strict=True))
    content = fingerprint("lookout.clock.anchor", body_of(run, seq))
    event_id = f"garden:{run}:{seq}"
    given = {"content": content, "body": body, **changes}
    return Handed(event_id, message_id or f"m-{event_id}", **given)


def row(run: str, seq: int, **changes: Any) -> bytes:  # noqa: ANN401
    return json.dumps(
        {
            "id": f"garden:{run}:{seq}",
            "type": "lookout.clock.anchor",
            "data": {**body_of(run, seq), **changes},
        }
    ).encode()


ALL = [handed(FIRST, seq) for seq in range(1, 5)] + [handed(SECOND, seq) for seq in range(1, 4)]


def committed(waiting: tuple[tuple[str, int], ...] = ()) -> Committed:
    """Two runs: four events and a kill, three events and the end."""
    found = Committed("garden")
    found.note(FileContent({FIRST: 4}, {(FIRST, 4): row(FIRST, 4)}))
    found.note(FileContent({FIRST: 4, SECOND: 3}, {each: row(*each) for each in waiting}))
    return found


def test_an_honest_history_has_no_faults() -> None:
    verdict = compare([committed()], reversed(ALL))
    assert verdict.faults == []
    assert (verdict.committed, verdict.stored, verdict.repeats, verdict.redelivered) == (7, 7, 0, 0)
    assert not verdict.waiting


def test_an_event_that_left_the_outbox_and_never_arrived_is_lost() -> None:
    verdict = compare([committed()], [each for each in ALL if each != handed(SECOND, 2)])
    assert verdict.lost == [f"garden:{SECOND}:2"]
    assert verdict.faults == [f"1 lost, such as garden:{SECOND}:2"]


def test_an_event_that_is_still_in_the_outbox_only_waits() -> None:
    some = [each for each in ALL if each != handed(SECOND, 2)]
    verdict = compare([committed(waiting=((SECOND, 2),))], some)
    assert verdict.waiting == [f"garden:{SECOND}:2"]
    assert verdict.faults == []


def test_an_event_that_nobody_committed_is_invented() -> None:
    verdict = compare([committed()], [*ALL, handed(SECOND, 4)])
    assert verdict.invented == [f"garden:{SECOND}:4"]
    assert len(verdict.faults) == 1


@pytest.mark.parametrize("message_id", ["m-again", ""])
def test_two_contents_that_arrive_under_one_id_are_told(message_id: str) -> None:
    other = handed(FIRST, 2, message_id, content=fingerprint("lookout.clock.anchor", {}))
    verdict = compare([committed()], [*ALL, other])
    assert verdict.two_contents == [f"garden:{FIRST}:2"]
    assert len(verdict.faults) == 1


def test_what_lay_in_the_outbox_is_compared_with_what_arrived() -> None:
    device = committed()
    device.note(FileContent({FIRST: 4, SECOND: 3}, {(SECOND, 3): row(SECOND, 3, step_s=99)}))
    assert compare([device], ALL).two_contents == [f"garden:{SECOND}:3"]


def test_repeats_and_redeliveries_are_counted_apart_and_are_no_faults() -> None:
    again = [handed(FIRST, 3, "m-other"), handed(FIRST, 3, "m-third"), handed(FIRST, 1)]
    verdict = compare([committed()], [*ALL, *again])
    assert (verdict.repeats, verdict.redelivered) == (2, 1)
    assert verdict.repeated_share == pytest.approx(2 / 7)
    assert (verdict.stored, verdict.faults) == (7, [])


def test_a_run_that_goes_back_is_told() -> None:
    device = committed()
    device.note(FileContent({SECOND: 1}, {}))
    assert compare([device], ALL).disorder == [f"{SECOND} has gone back to 1"]


def test_a_run_number_that_is_left_out_or_given_twice_is_told() -> None:
    device = committed()
    device.note(FileContent({"4-0000000d": 0}, {}))
    assert compare([device], ALL).faults == ["garden: run numbers [1, 2, 4] are not 1 to 3"]
    device = committed()
    device.note(FileContent({"2-0000000d": 0}, {}))
    assert compare([device], ALL).faults == ["garden: run numbers [1, 2, 2] are not 1 to 3"]


def test_a_run_that_names_another_end_of_the_run_before_is_told() -> None:
    wrong = handed(SECOND, 1, body={"previous_run": FIRST, "previous_seq": 3})
    [told] = compare([committed()], [*ALL[:4], wrong, *ALL[5:]]).disorder
    assert f"run {SECOND} comes after ('{FIRST}', 3)" in told


def test_several_devices_are_judged_together() -> None:
    other = Committed("porch")
    other.note(FileContent({FIRST: 1}, {}))
    verdict = compare([committed(), other], ALL)
    assert (verdict.committed, verdict.lost) == (8, [f"porch:{FIRST}:1"])
