"""A small bridge for tests: it keeps what a box sends, and gives receipts, or what is none."""

import json
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import Any, Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device.wire.downward import Command, DesiredSettings, encode_down
from device.wire.names import EventId, Topics
from device.wire.receipts import Receipt, Refusal, encode_receipt, ranges_of
from tests.kit.waiting import wait_until


class KitBridge:
    """Once an event is in `stored`, it is stored. gives: whether the receipt for an event's
    arrival number (from 1) is sent; it is lost otherwise, until a later one heals it. refuses:
    whether an event, as a message, is refused."""

    def __init__(
        self,
        port: int,
        topics: Topics,
        gives: Callable[[int], bool] = lambda _: True,
        refuses: Callable[[dict[str, Any]], bool] = lambda _: False,
    ) -> None:
        self._port = port
        self._topics = topics
        self.gives = gives
        self.refuses = refuses
        self._lock = Lock()
        self._arrivals = 0
        self._stored: dict[str, dict[str, Any]] = {}
        self._refused: dict[str, str] = {}
        self._repeats = 0
        self._is_subscribed = False
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="kit-bridge", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topics.events("#"), 1)
        self._client.on_subscribe = lambda *_: setattr(self, "_is_subscribed", True)
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        wait_until(lambda: self._is_subscribed, "the bridge has subscribed")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def stored(self) -> dict[str, dict[str, Any]]:
        """By event id, in the order of their first arrival; those that were refused too."""
        with self._lock:
            return dict(self._stored)

    @property
    def repeats(self) -> int:
        with self._lock:
            return self._repeats

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """The data of all events of a type such as `lookout.command.done`."""
        return [each["data"] for each in self.stored.values() if each["type"] == kind]

    def forge(self, payload: bytes) -> None:
        """Anything on the topic of receipts."""
        self._client.publish(self._topics.receipts, payload, qos=0).wait_for_publish(10.0)

    def send(self, command: Command, subfolder: str = "kit") -> None:
        topic = self._topics.commands(subfolder)
        self._client.publish(topic, encode_down(command), qos=1).wait_for_publish(10.0)

    def desire(self, desired: DesiredSettings) -> None:
        self._client.publish(
            self._topics.config, encode_down(desired), qos=1, retain=True
        ).wait_for_publish(10.0)

    def _on_message(
        self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage
    ) -> None:
        event = json.loads(message.payload)
        event_id = EventId.parse(event["id"])
        with self._lock:
            self._arrivals += 1
            self._repeats += event["id"] in self._stored
            self._stored[event["id"]] = event
            if self.refuses(event):
                self._refused[event["id"]] = "the kit refuses it"
            seqs, refused = [], []
            for each in map(EventId.parse, self._stored):
                if each.run != event_id.run:
                    continue
                if str(each) in self._refused:
                    refused.append(Refusal(seq=each.seq, reason=self._refused[str(each)]))
                else:
                    seqs.append(each.seq)
            is_given = self.gives(self._arrivals)
        if is_given:
            receipt = Receipt(
                run=str(event_id.run), ok=ranges_of(sorted(seqs)), refused=refused[-100:]
            )
            client.publish(self._topics.receipts, encode_receipt(receipt), qos=0)
