"""What the client library does over seconds: it extends leases, and comes again after a stop.

Both need some ten seconds, which are the library's own.
"""

from pathlib import Path

from tests.kit.pubsub_clients import Pubsub, Taker
from tests.kit.pubsub_server import PubsubServer
from tests.kit.waiting import pause


def test_the_library_keeps_a_message_for_as_long_as_it_works_on_it(tmp_path: Path) -> None:
    with PubsubServer(tmp_path) as server, Pubsub(server.host) as pubsub:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        taker = Taker(lambda message: None)
        with pubsub.taking(subscription, taker, lease_s=10):
            pubsub.publish(topic, b"a long piece of work")
            taker.wait_for(1)
            # Longer than the lease that the stream asked for.
            pause(13.0)
            [message] = taker.messages
            message.ack_with_response().result(timeout=10.0)
        assert pubsub.pull(subscription) == []


def test_the_library_comes_again_after_the_service_was_stopped(tmp_path: Path) -> None:
    with PubsubServer(tmp_path) as server, Pubsub(server.host) as pubsub:
        topic = pubsub.topic()
        taker = Taker()
        with pubsub.taking(pubsub.subscription(topic), taker):
            pubsub.publish(topic, b"before")
            taker.wait_for(1)
            server.stop()
            server.start()
            pubsub.publish(topic, b"after")
            # The library opens a stream five times in ten seconds, and has done so at once.
            taker.wait_for(2, timeout_s=30.0)
    # An acknowledgement that was on its way when the service stopped is a redelivery.
    assert set(taker.bodies) == {b"before", b"after"}
