"""Kills over device, broker, bridge and Pub/Sub, each while events are in flight: nothing is lost,
nothing stored twice; and chains that are broken on purpose go red."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.chain import SHARP, Parts, plan, prove
from tests.kit.processes import Spawn


def test_a_hundred_kills_lose_nothing_and_store_nothing_twice(
    tmp_path: Path, seed: int, say: Callable[[str], None], spawn: Spawn
) -> None:
    faults = plan(random.Random(seed), kills=100, freezes=12)
    verdict = prove(
        tmp_path, Parts(), faults, 20_000, spawn=spawn, rate=180.0, timeout_s=180.0, say=say
    )
    assert verdict.repeated_share < 0.05


def suffer_sharply(
    folder: Path, parts: Parts, spawn: Spawn, say: Callable[[str], None] = lambda _: None
) -> None:
    prove(
        folder, parts, SHARP, 800, spawn=spawn, rate=200.0, timeout_s=30.0, receipt_s=3.0, say=say
    )


def test_few_faults_where_they_hurt_most_do_no_harm(
    tmp_path: Path, say: Callable[[str], None], spawn: Spawn
) -> None:
    """What the broken ones below have to go through, too."""
    suffer_sharply(tmp_path, Parts(), spawn, say)


def device(name: str) -> Parts:
    return Parts(device=("--double", name))


def bridge(name: str) -> Parts:
    return Parts(bridge=("-m", "tests.faults.bridge_doubles", name))


BROKEN = {
    "delete-on-puback": (device("delete-on-puback"), "lost, such as"),
    "reusing-ids": (device("reusing-ids"), "two contents under one id"),
    "unbounded-window": (device("unbounded-window"), "on the wire at once"),
    "receipt-before-confirmation": (bridge("receipt-before-confirmation"), "lost, such as"),
    "dying-of-a-callback": (bridge("dying-of-a-callback"), "ended by themselves"),
    "publish-answers-early": (
        Parts(pubsub=("-m", "tests.faults.publishing", "early")),
        # Gone from both subscriptions, or from the consumer's alone: each is a loss.
        "lost, such as|all events with the consumer",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_chain_that_is_broken_on_purpose_goes_red(
    name: str, tmp_path: Path, spawn: Spawn
) -> None:
    parts, found_out = BROKEN[name]
    with pytest.raises(AssertionError, match=found_out):
        suffer_sharply(tmp_path, parts, spawn)
