"""The link to a broker that takes few packets at once: more would end the connection."""

import pytest

from cloud_bridge.clocks import SystemClock
from cloud_bridge.config import MqttConfig
from cloud_bridge.forward.paho_link import PahoLink
from tests.kit.scripted_broker import ScriptedBroker
from tests.kit.waiting import wait_until


@pytest.mark.parametrize("receive_maximum", [1, 3])
def test_a_hundred_messages_down_keep_to_the_brokers_receive_maximum(receive_maximum: int) -> None:
    answers: list[str | None] = []
    with ScriptedBroker(receive_maximum, acknowledges=False) as broker:
        link = PahoLink(
            MqttConfig(host="127.0.0.1", port=broker.port), (), SystemClock(), lambda: 0.0
        )

        def is_connected() -> bool:
            link.turn(0.02, 10)
            return link.is_connected

        def are_all_answered() -> bool:
            link.turn(0.02, 10)
            broker.acknowledge()
            return len(answers) == 100

        wait_until(is_connected, "connected", timeout_s=10.0, every_s=0.0)
        for number in range(100):
            link.send(f"home/devices/box/commands/c{number}", b"{}", qos=1, done=answers.append)
        wait_until(are_all_answered, "100 answers", timeout_s=20.0, every_s=0.0)
        link.close()
    assert answers == [None] * 100
    assert (broker.connections, broker.violations) == (1, 0)
    assert broker.topics() == [f"c{number}" for number in range(100)]
