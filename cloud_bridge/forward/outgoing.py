"""What a link was asked to send: waiting, or under way to the broker, who says what came of it."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from paho.mqtt import client as mqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from cloud_bridge.config import MqttConfig
from cloud_bridge.forward import broker_words as words

WAITING_AT_MOST = 10_000
"""For the link's thread."""

RECEIVE_MAXIMUM = 65535
"""Of a broker that names none."""

NOBODY_LISTENS = 0x10
"""A success of MQTT 5: "No matching subscribers"."""

Done = Callable[[str | None], None]


class Message(NamedTuple):
    """What `ports.Link.send` was given."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    done: Done | None
    must_be_heard: bool


class Outgoing:
    """`put` may come from any thread, the rest from the link's."""

    def __init__(self, config: MqttConfig) -> None:
        self._config = config
        self._waiting: deque[Message] = deque()
        self._under_way: dict[int, Message] = {}
        self.receive_maximum = RECEIVE_MAXIMUM
        """Of the present connection: a broker may end it for more under way than that."""

    def put(self, message: Message) -> bool:
        """False: too much waits; its sender was told so."""
        if len(self._waiting) >= WAITING_AT_MOST:
            _tell(message, "too much waits to be sent; it is tried again")
            return False
        self._waiting.append(message)
        return True

    def send(self, client: mqtt.Client) -> None:
        """What the broker takes now, in order; the rest waits for its acknowledgements."""
        while self._waiting:
            message = self._waiting[0]
            if message.qos and len(self._under_way) >= self.receive_maximum:
                return
            self._waiting.popleft()
            info = client.publish(
                message.topic, message.payload, qos=message.qos, retain=message.retain
            )
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                _tell(message, f"{words.place(self._config)}: not sent ({info.rc})")
            elif message.qos == 0:
                _tell(message, None)
            else:
                self._under_way[info.mid] = message

    def settle(self, mid: int, reason: ReasonCode) -> None:
        """The broker has answered."""
        message = self._under_way.pop(mid, None)
        if message is None:
            return
        if reason.is_failure:
            _tell(message, words.of_puback(self._config, str(reason)))
        elif message.must_be_heard and reason.value == NOBODY_LISTENS:
            _tell(message, words.of_deaf_device(self._config))
        else:
            _tell(message, None)

    def give_up(self, problem: str) -> None:
        """What waits finds no connection."""
        while self._waiting:
            _tell(self._waiting.popleft(), problem)

    def lose(self, problem: str) -> None:
        """The connection is gone, and with it what was under way."""
        self.receive_maximum = RECEIVE_MAXIMUM
        under_way, self._under_way = self._under_way, {}
        for message in under_way.values():
            _tell(message, problem)
        self.give_up(problem)


def _tell(message: Message, problem: str | None) -> None:
    if message.done is not None:
        message.done(problem)
