"""A topic without subscription gives no receipts, and a loud state."""

from cloud_bridge.clocks import HandClock
from cloud_bridge.errors import BlockedError, TransientError
from cloud_bridge.forward.fake_publisher import FakePublisher
from cloud_bridge.forward.gate import Gate, Watching
from cloud_bridge.health import Health
from tests.cloud_bridge.forward.stage import HandStop
from tests.kit.bridge import EVENTS


class Scene:
    def __init__(self, publisher: FakePublisher) -> None:
        self.gate = Gate()
        self.health = Health(HandClock())
        self.stop = HandStop()
        self.watching = Watching(self.gate, publisher, EVENTS, 60.0, self.health, self.stop.wait)


def test_the_gate_opens_where_there_is_a_subscription() -> None:
    scene = Scene(FakePublisher({EVENTS: 1}))
    assert not scene.gate.is_open
    scene.watching.turn()
    assert scene.gate.is_open
    assert scene.stop.waits == [60.0]
    assert not scene.health.troubles


def test_without_one_it_stays_shut_and_says_so_until_there_is_one() -> None:
    publisher = FakePublisher({EVENTS: 0})
    scene = Scene(publisher)
    scene.watching.turn()
    assert not scene.gate.is_open
    assert "no subscription" in scene.health.troubles["subscriptions"]
    assert not scene.gate.wait(0.0)
    publisher.subscribe(EVENTS)
    scene.watching.turn()
    assert scene.gate.is_open
    assert not scene.health.troubles


def test_it_shuts_again_when_the_last_subscription_goes() -> None:
    publisher = FakePublisher({EVENTS: 1})
    scene = Scene(publisher)
    scene.watching.turn()
    publisher.subscribe(EVENTS, 0)
    scene.watching.turn()
    assert not scene.gate.is_open


def test_a_count_that_fails_for_a_moment_changes_nothing() -> None:
    publisher = FakePublisher({EVENTS: 1})
    scene = Scene(publisher)
    scene.watching.turn()
    publisher.errors.append(TransientError("away"))
    scene.watching.turn()
    assert scene.gate.is_open
    assert "subscriptions" in scene.health.troubles


def test_a_count_that_is_not_allowed_shuts_the_gate() -> None:
    publisher = FakePublisher({EVENTS: 1})
    scene = Scene(publisher)
    publisher.errors.append(BlockedError("you may not list"))
    scene.watching.turn()
    assert not scene.gate.is_open
    assert scene.health.troubles == {"subscriptions": "you may not list"}
