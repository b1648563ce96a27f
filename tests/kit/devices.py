"""Devices that have no outbox: they publish with QoS 1 and wait for the broker alone."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


class Device:
    """A context manager; publishes under any topic."""

    def __init__(self, port: int, client_id: str = "kit-device") -> None:
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.max_inflight_messages_set(100)
        self._port = port

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payloads: Iterable[bytes], retain: bool = False) -> None:
        """On return the broker has acknowledged all of them."""
        infos = [self._client.publish(topic, each, qos=1, retain=retain) for each in payloads]
        for info in infos:
            info.wait_for_publish(60.0)
            if not info.is_published():
                raise AssertionError("the broker does not acknowledge")
