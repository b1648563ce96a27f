"""`state` and `availability`: the newest wins, and trouble with them holds nobody up."""

from collections.abc import Sequence

import pytest

from cloud_bridge.clocks import HandClock
from cloud_bridge.errors import BlockedError, CloudError, RejectedError, TransientError
from cloud_bridge.forward import states as module
from cloud_bridge.forward.fake_publisher import FakePublisher
from cloud_bridge.forward.publishing import Retrying, StatePublishing
from cloud_bridge.forward.states import StateSlots
from cloud_bridge.health import Health
from cloud_bridge.ports import OutMessage
from tests.cloud_bridge.forward.stage import HandStop
from tests.kit.bridge import STATES

GARDEN, DOOR = ("home", "garden", "state"), ("home", "door", "state")


def message(words: str) -> OutMessage:
    return OutMessage(words.encode(), {})


def make(
    slots: StateSlots, publisher: FakePublisher, stop: HandStop, health: Health | None = None
) -> StatePublishing:
    health = health or Health(HandClock())
    retrying = Retrying("publishing states", health, stop, lambda: 0.0)
    return StatePublishing(slots, publisher, STATES, retrying, health)


def test_the_newest_of_each_device_is_published() -> None:
    slots, publisher = StateSlots(), FakePublisher({STATES: 1})
    slots.put(GARDEN, message("old"))
    slots.put(DOOR, message("door"))
    slots.put(GARDEN, message("new"))
    make(slots, publisher, HandStop()).turn()
    assert sorted(publisher.bodies(STATES)) == [b"door", b"new"]
    assert len(slots) == 0


@pytest.mark.parametrize("error", [TransientError("away"), BlockedError("no topic")])
def test_a_newer_one_that_comes_meanwhile_replaces_the_one_that_failed(error: CloudError) -> None:
    slots, publisher = StateSlots(), FakePublisher({STATES: 1})

    class Meanwhile(HandStop):
        def wait(self, timeout: float | None = None) -> bool:
            slots.put(GARDEN, message("new"))
            return super().wait(timeout)

    slots.put(GARDEN, message("old"))
    publisher.errors.append(error)
    publishing = make(slots, publisher, Meanwhile())
    publishing.turn()
    publishing.turn()
    assert publisher.bodies(STATES)[-1] == b"new"


def test_what_failed_does_not_replace_a_newer_one() -> None:
    slots = StateSlots()
    slots.put(GARDEN, message("old"))
    taken = slots.take(10, 1000, 0.0)
    slots.put(GARDEN, message("new"))
    slots.put_back(taken)
    assert slots.take(10, 1000, 0.0) == {GARDEN: message("new")}


def test_one_that_pubsub_refuses_holds_up_no_other() -> None:
    slots, publisher = StateSlots(), FakePublisher({STATES: 1})
    publisher.poison = lambda each: each.body == b"poison"
    slots.put(GARDEN, message("poison"))
    slots.put(DOOR, message("door"))
    health = Health(HandClock())
    make(slots, publisher, HandStop(), health).turn()
    assert publisher.bodies(STATES) == [b"door"]
    assert len(slots) == 0
    assert health.counts == {"states_refused": 1}


def test_one_that_fails_beside_a_refused_one_comes_later() -> None:
    slots, publisher = StateSlots(), FakePublisher({STATES: 1})
    publisher.poison = lambda each: each.body == b"poison"
    slots.put(GARDEN, message("poison"))
    slots.put(DOOR, message("door"))
    publisher.errors.extend([None, None, TransientError("away")])  # both; garden's; door's
    publishing = make(slots, publisher, HandStop())
    publishing.turn()
    assert publisher.bodies(STATES) == []
    publishing.turn()
    assert publisher.bodies(STATES) == [b"door"]


def test_a_mistake_of_ours_loses_no_state() -> None:
    class Mistaken(FakePublisher):
        def publish(self, topic: str, messages: Sequence[OutMessage]) -> None:
            self.publish = super().publish  # type: ignore[method-assign]
            raise KeyError("a mistake")

    slots, publisher = StateSlots(), Mistaken({STATES: 1})
    slots.put(GARDEN, message("new"))
    publishing = make(slots, publisher, HandStop())
    with pytest.raises(KeyError):
        publishing.turn()
    publishing.turn()
    assert publisher.bodies(STATES) == [b"new"]


def test_those_beside_a_refused_one_are_tried_again_when_pubsub_fails_just_then() -> None:
    slots, publisher, stop = StateSlots(), FakePublisher({STATES: 1}), HandStop()
    publisher.poison = lambda each: each.body == b"poison"
    for number in range(5):
        slots.put(("home", f"box{number}", "availability"), message(f"{number}"))
    slots.put(GARDEN, message("poison"))
    publishing = make(slots, publisher, stop)
    # The batch is refused; of the calls for each alone, two fail.
    publisher.errors.extend([None, None, TransientError("away"), BlockedError("no right")])
    publishing.turn()
    publishing.turn()
    assert sorted(publisher.bodies(STATES)) == [b"0", b"1", b"2", b"3", b"4"]
    assert len(slots) == 0


def test_what_is_refused_in_the_end_leaves_no_trouble_behind() -> None:
    publisher, health = FakePublisher({STATES: 1}), Health(HandClock())
    retrying = Retrying("publishing", health, HandStop(), lambda: 0.0)
    publisher.errors.extend([BlockedError("no right"), BlockedError("no right")])
    publisher.poison = lambda each: True
    with pytest.raises(RejectedError):
        retrying.call(lambda: publisher.publish(STATES, [message("poison")]))
    assert health.troubles == {}


def test_they_are_bounded_by_bytes() -> None:
    slots = StateSlots()
    large = OutMessage(b"x" * (module.BYTES_AT_MOST // 2 + 1), {})
    assert slots.put(GARDEN, large)
    assert not slots.put(DOOR, large)
    assert slots.put(GARDEN, message("small"))
    assert slots.put(DOOR, large)
