"""A subscriber with a persistent MQTT 5 session: what reached the broker reaches it, once it is
there again."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event as Flag
from threading import Lock, Thread
from types import TracebackType
from typing import Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.kit.waiting import wait_until

SESSION_S = 3600


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived."""

    topic: str
    payload: bytes
    is_retained: bool


class Subscriber:
    """Collects messages on a thread of its own; comes back after each loss of the broker."""

    def __init__(self, port: int, topics: Sequence[str], client_id: str = "kit-subscriber") -> None:
        self._port = port
        self._topics = topics
        self._client_id = client_id
        self._lock = Lock()
        self._messages: list[Message] = []
        self._stop = Flag()
        self._subscribed = Flag()
        self._thread = Thread(target=self._run, name=client_id, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(self._subscribed.is_set, "the subscriber has subscribed")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10.0)

    @property
    def messages(self) -> list[Message]:
        """All so far, in the order of their arrival."""
        with self._lock:
            return list(self._messages)

    def _run(self) -> None:
        while not self._stop.is_set():
            client = self._client()
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_S
            try:
                client.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
            except OSError:
                self._stop.wait(0.1)
                continue
            while not self._stop.is_set() and client.loop(timeout=0.1) == mqtt.MQTT_ERR_SUCCESS:
                pass
            client.disconnect()

    def _client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: object,
        flags: mqtt.ConnectFlags,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.session_present:
            self._subscribed.set()
        else:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _mid: int,
        _reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self._subscribed.set()

    def _on_message(
        self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage
    ) -> None:
        with self._lock:
            self._messages.append(
                Message(message.topic, bytes(message.payload), bool(message.retain))
            )
