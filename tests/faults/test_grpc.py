"""Every status of gRPC on every call that the bridge makes, answers lost, calls that hang,
connections that are cut: nothing is lost, what is wrong is said, and it heals."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from enum import Enum

import grpc
import pytest

from tests.faults.grpc_stage import GrpcStage
from tests.kit.grpc_faults import WORDS
from tests.kit.pubsub_clients import Pubsub, Taker

EVENTS_CALL, STATES_CALL = ("Publish", b"lookout-events"), ("Publish", b"lookout-state")
COUNT_CALL, PULL_CALL, ACKNOWLEDGE_CALL = (
    ("ListTopicSubscriptions", b""),
    ("Pull", b""),
    ("Acknowledge", b""),
)
CALLS = {
    "publishing events": EVENTS_CALL,
    "publishing states": STATES_CALL,
    "counting subscriptions": COUNT_CALL,
    "pulling commands": PULL_CALL,
    "acknowledging commands": ACKNOWLEDGE_CALL,
}
"""All that the bridge asks of Pub/Sub: method, and what tells two uses of it apart."""


class Meaning(Enum):
    """What the bridge makes of a status."""

    AGAIN = "tried again for ever, soon"
    LOUD = "tried again for ever, seldom; a person is told what to do"
    REFUSED = "the one message is set aside, and its box told"
    LET_GO = "nothing to be done: it comes again by itself"


_AGAIN, _LOUD, _REFUSED, _LET_GO = Meaning

CODES: dict[grpc.StatusCode, Meaning] = {
    grpc.StatusCode.CANCELLED: _AGAIN,
    grpc.StatusCode.UNKNOWN: _AGAIN,
    grpc.StatusCode.INVALID_ARGUMENT: _REFUSED,
    grpc.StatusCode.DEADLINE_EXCEEDED: _AGAIN,
    grpc.StatusCode.NOT_FOUND: _LOUD,
    grpc.StatusCode.ALREADY_EXISTS: _LOUD,
    grpc.StatusCode.PERMISSION_DENIED: _LOUD,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _AGAIN,
    grpc.StatusCode.FAILED_PRECONDITION: _LOUD,
    grpc.StatusCode.ABORTED: _AGAIN,
    grpc.StatusCode.OUT_OF_RANGE: _REFUSED,
    grpc.StatusCode.UNIMPLEMENTED: _LOUD,
    grpc.StatusCode.INTERNAL: _AGAIN,
    grpc.StatusCode.UNAVAILABLE: _AGAIN,
    grpc.StatusCode.DATA_LOSS: _AGAIN,
    grpc.StatusCode.UNAUTHENTICATED: _LOUD,
}
UNLIKE = {
    ("counting subscriptions", _REFUSED): _LOUD,
    ("pulling commands", _REFUSED): _LOUD,
    ("acknowledging commands", _REFUSED): _LET_GO,
}
"""Where there is no message to refuse."""

PARTS = {
    "counting subscriptions": "subscriptions",
    "pulling commands": "downlink",
    "acknowledging commands": "downlink",
}
"""Under which name the status file tells of it; else the call's own."""


def meaning(call: str, code: grpc.StatusCode) -> Meaning:
    return UNLIKE.get((call, CODES[code]), CODES[code])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcStage]:
    """One bridge for all cells: each leaves it well."""
    with ExitStack() as exits:
        stage = GrpcStage(tmp_path_factory.mktemp("grpc"), "sound", exits)
        stage.wait_ready()
        yield stage


@pytest.fixture
def well(stage: GrpcStage) -> Iterator[GrpcStage]:
    """Well before, whatever the test before it left; and well again after it."""
    stage.faulty.heal()
    stage.wait_well()
    yield stage
    stage.faulty.heal()
    stage.wait_well()


def fails(stage: GrpcStage, call: str, code: grpc.StatusCode, marker: bytes = b"") -> None:
    """From now on, until somebody heals it; waits until it has been tried a third time, and the
    status file says so."""
    method, which = CALLS[call]
    fault = stage.faulty.inject(method, code, marker=marker or which)
    stage.wait_for(lambda: fault.struck >= 3, f"{call}: a third try after {code.name}")


def is_told(stage: GrpcStage, call: str, code: grpc.StatusCode) -> None:
    part = PARTS.get(call, call)
    stage.wait_for(lambda: stage.trouble(part), f"{call}: {code.name} in the status file")
    said = stage.trouble(part)
    assert WORDS in said, said
    assert "projects/some-project/" in said, said
    if meaning(call, code) is Meaning.LOUD:
        assert (
            "mend" in said
            or "give the bridge's account" in said
            or "look at" in said
            or ("make it" in said)
        ), said


# --- one call at a time, for ever -----------------------------------------------------------------


def events_wait(stage: GrpcStage, code: grpc.StatusCode) -> None:
    """Nothing is confirmed, nothing set aside; all comes when it heals."""
    call, dead = "publishing events", stage.status()["counts"].get("dead", 0)
    method, which = CALLS[call]
    fault = stage.faulty.inject(method, code, marker=which)
    seqs = stage.publish(5)
    stage.wait_for(lambda: fault.struck >= 3, f"{call}: a third try after {code.name}")
    is_told(stage, call, code)
    stage.drain()
    assert not set(seqs) & set(stage.stored)
    assert not set(seqs) & stage.receipted, "receipts before confirmation"
    stage.faulty.heal()
    stage.wait_stored(seqs)
    stage.wait_receipts(seqs)
    assert stage.status()["counts"].get("dead", 0) == dead, "dead letters of good events"


def event_is_refused(stage: GrpcStage, code: grpc.StatusCode) -> None:
    """One of many is found, kept and told; those around it pass."""
    before = stage.status()["counts"].get("dead", 0)
    mark = f"poison-{code.name}"
    stage.faulty.inject("Publish", code, marker=mark.encode())
    good = set(stage.publish(20))
    [bad] = stage.publish(1, subject=mark)
    good |= set(stage.publish(20))
    stage.wait_stored(good)
    stage.wait_receipts(good)
    stage.wait_for(lambda: bad in stage.refused, "a refusal for the one that Pub/Sub refused")
    assert WORDS in stage.refused[bad]
    assert bad not in stage.receipted
    stage.wait_for(
        lambda: stage.status()["counts"].get("dead", 0) == before + 1, "one dead letter, no more"
    )
    assert not set(stage.refused) & good, "good events were refused with it"
    listed = json.loads(stage.bridge.command("deadletters", "list", "--json").stdout)
    assert [each["seq"] for each in listed["letters"] if each["reason"].find(WORDS) >= 0][-1] == bad


def states_wait(stage: GrpcStage, code: grpc.StatusCode) -> None:
    """The newest arrives when it heals; events go on meanwhile."""
    call = "publishing states"
    method, which = CALLS[call]
    fault = stage.faulty.inject(method, code, marker=which)
    stage.publish_state(f"{code.name} old")
    stage.wait_for(lambda: fault.struck >= 3, f"{call}: a third try after {code.name}")
    is_told(stage, call, code)
    stage.publish_state(f"{code.name} new")
    stage.wait_stored(stage.publish(3))
    stage.faulty.heal()
    stage.wait_told(f"{code.name} new")
    assert stage.told[-1] == f"{code.name} new", "an older state came last"


def state_is_refused(stage: GrpcStage, code: grpc.StatusCode) -> None:
    before = stage.status()["counts"].get("states_refused", 0)
    mark = f"poison-{code.name}"
    stage.faulty.inject("Publish", code, marker=mark.encode())
    stage.publish_state(mark)
    stage.wait_for(
        lambda: stage.status()["counts"].get("states_refused", 0) == before + 1, "it is counted"
    )
    stage.publish_state(f"{code.name} new")
    stage.wait_told(f"{code.name} new")
    assert mark not in stage.told


def counting_fails(stage: GrpcStage, code: grpc.StatusCode) -> None:
    """Events go on while nobody knows; they wait when the count is refused."""
    call = "counting subscriptions"
    fails(stage, call, code)
    is_told(stage, call, code)
    seqs = stage.publish(5)
    if meaning(call, code) is Meaning.AGAIN:
        stage.wait_stored(seqs)
    else:
        calls = stage.faulty.calls["ListTopicSubscriptions"]
        stage.wait_for(
            lambda: stage.faulty.calls["ListTopicSubscriptions"] >= calls + 2, "two more counts"
        )
        stage.drain()
        assert not set(seqs) & set(stage.stored), "forwarded, though nobody may count"
        assert not set(seqs) & stage.receipted
    stage.faulty.heal()
    stage.wait_stored(seqs)
    stage.wait_receipts(seqs)


def pulling_fails(stage: GrpcStage, code: grpc.StatusCode) -> None:
    """The command comes when it heals; events go on meanwhile."""
    call = "pulling commands"
    fails(stage, call, code)
    is_told(stage, call, code)
    stage.command(f"pull-{code.name}")
    stage.wait_stored(stage.publish(3))
    assert f"pull-{code.name}" not in stage.commands
    stage.faulty.heal()
    stage.wait_for(lambda: f"pull-{code.name}" in stage.commands, "the command at the broker")


def acknowledging_fails(stage: GrpcStage, code: grpc.StatusCode) -> None:
    """The command goes out all the same, and those behind it."""
    call = "acknowledging commands"
    method, which = CALLS[call]
    fault = stage.faulty.inject(method, code, marker=which)
    names = [f"acknowledge-{code.name}-{number}" for number in (1, 2)]
    for name in names:
        stage.command(name)
        stage.wait_for(lambda name=name: name in stage.commands, "the command at the broker")
    if meaning(call, code) is Meaning.LET_GO:
        stage.wait_for(lambda: fault.struck >= 2, f"{call}: a second try after {code.name}")
    else:
        stage.wait_for(lambda: fault.struck >= 3, f"{call}: a third try after {code.name}")
        is_told(stage, call, code)
    stage.faulty.heal()


Cell = Callable[[GrpcStage, grpc.StatusCode], None]

CELLS: dict[str, Cell] = {
    "publishing events": events_wait,
    "publishing states": states_wait,
    "counting subscriptions": counting_fails,
    "pulling commands": pulling_fails,
    "acknowledging commands": acknowledging_fails,
}
REFUSED_CELLS: dict[str, Cell] = {
    "publishing events": event_is_refused,
    "publishing states": state_is_refused,
}


def cell(call: str, code: grpc.StatusCode) -> Cell:
    return (REFUSED_CELLS if meaning(call, code) is Meaning.REFUSED else CELLS)[call]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
@pytest.mark.parametrize("call", CALLS)
def test_each_status_on_each_call_does_what_it_means(
    well: GrpcStage, call: str, code: grpc.StatusCode
) -> None:
    cell(call, code)(well, code)


def test_the_bridge_makes_no_other_calls(well: GrpcStage) -> None:
    """Else the matrix above has a hole."""
    well.command("any")
    well.publish_state("any")
    well.wait_stored(well.publish(1))
    well.wait_told("any")
    well.wait_for(lambda: "any" in well.commands, "the command at the broker")
    well.wait_for(lambda: well.faulty.calls["Acknowledge"], "its acknowledgement")
    assert set(well.faulty.calls) == {method for method, _ in CALLS.values()}


# --- once, and answers that are lost --------------------------------------------------------------


def once(stage: GrpcStage, code: grpc.StatusCode, is_after: bool) -> None:
    """One failure of each call: all comes, events at most twice, and none is set aside for it."""
    for call in ("publishing events", "publishing states", "acknowledging commands"):
        method, which = CALLS[call]
        stage.faulty.inject(method, code, times=1, is_after=is_after, marker=which)
    dead = stage.status()["counts"].get("dead", 0)
    name = f"{code.name}-{is_after}"
    stage.publish_state(name)
    stage.command(name)
    seqs = stage.publish(8)
    stage.wait_for(lambda: name in stage.commands, "the command at the broker")
    if CODES[code] is Meaning.REFUSED and not is_after:
        # Had it been the only one of its batch, it would be a dead letter.
        stage.wait_for(
            lambda: set(seqs) <= stage.receipted | set(stage.refused), "an answer for each event"
        )
        stage.wait_stored(set(seqs) - set(stage.refused))
        return
    stage.wait_stored(seqs)
    stage.wait_for(
        lambda: set(seqs) <= stage.receipted | set(stage.refused), "an answer for each event"
    )
    if CODES[code] is not Meaning.REFUSED:
        stage.wait_told(name)
        assert set(seqs) <= stage.receipted
        assert stage.status()["counts"].get("dead", 0) == dead, "dead letters of good events"
    stage.drain()
    assert max(stage.stored[seq] for seq in seqs) <= 2, "more than twice"


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_one_failure_before_or_after_the_call_was_carried_out_loses_nothing(
    well: GrpcStage, code: grpc.StatusCode, is_after: bool
) -> None:
    once(well, code, is_after)


def test_commands_whose_pull_lost_its_answer_come_with_the_end_of_their_lease(
    well: GrpcStage,
) -> None:
    # One of each meaning: what the bridge does is the same, and so is the lease.
    codes = [grpc.StatusCode[name] for name in ("UNAVAILABLE", "NOT_FOUND", "INVALID_ARGUMENT")]
    names = [f"lost-pull-{code.name}" for code in codes]
    for code, name in zip(codes, names, strict=True):
        fault = well.faulty.inject("Pull", code, is_after=True)
        well.command(name)
        well.wait_for(lambda fault=fault: fault.struck >= 2, "two pulls")
        well.faulty.heal()
    well.wait_for(lambda: set(names) <= set(well.commands), "all commands at the broker")


# --- calls that hang, connections that are cut ----------------------------------------------------


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_calls_that_hang_are_given_up_and_made_again(well: GrpcStage, is_after: bool) -> None:
    faults = {
        call: well.faulty.inject(method, None, marker=which, is_after=is_after)
        for call, (method, which) in CALLS.items()
    }
    seqs = well.publish(5)
    well.publish_state(f"hung-{is_after}")
    well.wait_for(
        lambda: all(faults[call].struck >= 2 for call in CALLS if call != "acknowledging commands"),
        "a second try of each call",
    )
    for part in ("publishing events", "publishing states", "subscriptions"):
        well.wait_for(lambda part=part: well.trouble(part), f"{part} in the status file")
        assert "DEADLINE_EXCEEDED" in well.trouble(part)
    assert not set(seqs) & well.receipted
    well.faulty.heal()
    well.wait_stored(seqs)
    well.wait_receipts(seqs)
    well.wait_told(f"hung-{is_after}")


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_cut_connections_lose_nothing(well: GrpcStage, is_after: bool) -> None:
    method, which = CALLS["publishing events"]
    for _ in range(3):
        fault = well.faulty.inject(method, None, times=1, marker=which, is_after=is_after)
        seqs = well.publish(20)
        well.wait_for(lambda fault=fault: fault.struck, "a call under way")
        well.faulty.cut_connections()
        well.wait_stored(seqs)
        well.wait_receipts(seqs)
        assert max(well.stored[seq] for seq in seqs) <= 2


CUTS = ("ABORTED", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNKNOWN")
"""Statuses after which Google's subscriber opens its stream again by itself."""


def test_a_subscriber_whose_stream_is_cut_gets_everything(well: GrpcStage) -> None:
    """The bridge has no stream; its consumers do."""
    with Pubsub(well.faulty.host) as pubsub:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        taker = Taker()
        sent: set[bytes] = set()
        with pubsub.taking(subscription, taker):
            for code in map(grpc.StatusCode.__getitem__, CUTS):
                bodies = [f"{code.name}-{number}".encode() for number in range(20)]
                well.pubsub.publish(topic, *bodies)
                sent.update(bodies)
                well.wait_for(lambda: sent <= set(taker.bodies), "all messages")
                assert well.faulty.cut_streams(code) == 1


# --- nobody blocks those behind -------------------------------------------------------------------


def test_a_batch_that_fails_for_ever_holds_up_none_behind_it(well: GrpcStage) -> None:
    """They are stored and get their receipts; the broker's acknowledgements wait, in order."""
    well.wait_for(lambda: well.status()["now"]["in_flight"] == 0, "an idle bridge")
    before = well.acknowledged()
    fault = well.faulty.inject("Publish", grpc.StatusCode.INTERNAL, marker=b"stubborn")
    [stubborn] = well.publish(1, subject="stubborn")
    well.wait_for(lambda: fault.struck >= 3, "a third try")
    behind = well.publish(500)
    well.wait_stored(behind)
    well.wait_receipts(behind)
    assert stubborn not in well.stored
    assert well.acknowledged() == before
    well.faulty.heal()
    well.wait_stored({stubborn})
    well.wait_for(lambda: well.acknowledged() == before + 501, "all acknowledged")


# --- teeth ----------------------------------------------------------------------------------------


def refused(stage: GrpcStage) -> None:
    event_is_refused(stage, grpc.StatusCode.INVALID_ARGUMENT)


DOUBLES: dict[str, tuple[Callable[[GrpcStage], None], str]] = {
    "final-errors": (
        lambda stage: once(stage, grpc.StatusCode.UNKNOWN, is_after=False),
        "missing",
    ),
    "confirming-errors": (
        lambda stage: once(stage, grpc.StatusCode.RESOURCE_EXHAUSTED, is_after=False),
        "missing",
    ),
    "silent-errors": (
        lambda stage: events_wait(stage, grpc.StatusCode.UNAVAILABLE),
        "UNAVAILABLE in the status file",
    ),
    "undivided": (refused, "missing"),
    "forgetting-states": (
        lambda stage: states_wait(stage, grpc.StatusCode.UNAVAILABLE),
        "a third try",
    ),
    "careless-watching": (
        lambda stage: counting_fails(stage, grpc.StatusCode.PERMISSION_DENIED),
        "nobody may count",
    ),
    "acknowledging-first": (
        lambda stage: acknowledging_fails(stage, grpc.StatusCode.INTERNAL),
        "the command at the broker",
    ),
}


def verdict(name: str, stage: GrpcStage) -> str | None:
    """What the proof finds wrong with a double; None: nothing."""
    proof, _ = DOUBLES[name]
    stage.wait_ready()
    try:
        proof(stage)
    except AssertionError as exc:
        return str(exc)
    return None


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """All at the same time, since most of it is waiting."""
    with ExitStack() as exits, ThreadPoolExecutor(len(DOUBLES)) as pool:
        stages = [
            GrpcStage(tmp_path_factory.mktemp(name), name, exits, timeout_s=4.0, every_s=0.2)
            for name in DOUBLES
        ]
        return dict(zip(DOUBLES, pool.map(verdict, DOUBLES, stages), strict=True))


@pytest.mark.parametrize("name", DOUBLES)
def test_a_bridge_that_is_broken_on_purpose_goes_red(
    name: str, verdicts: dict[str, str | None]
) -> None:
    found = verdicts[name]
    assert found is not None, "no teeth"
    assert DOUBLES[name][1] in found
