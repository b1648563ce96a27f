"""A mistake of ours in each thread of the bridge, with work in hand: the thread starts again, it is
counted and logged, and nothing is lost."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.grpc_stage import GrpcStage

WORKERS = ("link", "publisher", "states", "dead-letters", "subscriptions", "downlink")


def prove(stage: GrpcStage) -> None:
    stage.wait_ready()
    stage.publish_state("one")
    stage.command("one")
    good = stage.publish(30)
    bad = stage.publish_bad(3)
    stage.wait_stored(good)
    stage.wait_receipts(good)
    stage.wait_told("one")
    stage.wait_for(lambda: set(bad) <= set(stage.refused), "refusals of what nobody can read")
    # With the end of its lease: the thread that had pulled it died.
    stage.wait_for(lambda: "one" in stage.commands, "the command at the broker")
    for name in WORKERS:
        assert f"worker died, starts again name={name}" in stage.bridge.log, name
    stage.wait_for(
        lambda: stage.status()["now"]["worker_deaths"] == len(WORKERS), "each death counted"
    )
    assert stage.acknowledged() == len(good) + len(bad) + 1
    stage.wait_well()


def test_each_thread_of_the_bridge_survives_a_mistake(tmp_path: Path) -> None:
    with ExitStack() as exits:
        prove(GrpcStage(tmp_path, "stumbling", exits, timeout_s=20.0))


def test_a_thread_that_drops_what_it_had_in_hand_goes_red(tmp_path: Path) -> None:
    with ExitStack() as exits, pytest.raises(AssertionError, match="at the subscriber"):
        prove(GrpcStage(tmp_path, "forgetful", exits, timeout_s=3.0))
