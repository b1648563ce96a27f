"""What comes down over paho's client: its callbacks only enqueue, and the queue has a bound."""

import logging

from paho.mqtt import client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device.config import MqttConfig
from device.messaging import broker_problems as problems
from device.ports import INCOMING_AT_MOST, Incoming
from device.wire.names import Topics

log = logging.getLogger(__name__)

SESSION_S = 3600
"""The broker keeps commands so long for a box that is away: most have expired by then."""

PACKET_BYTES = 128 * 1024
"""No packet that comes down is larger: the broker is told so, and drops what is."""


def session() -> Properties:
    """What a connection asks for, for the way down."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_S
    properties.MaximumPacketSize = PACKET_BYTES
    return properties


class Inbox:
    """Outlives connections; owned by the uplink's thread, on which paho calls back.

    problem: the broker lets us listen to less than we asked for; None while it does not.
    """

    def __init__(self, config: MqttConfig, topics: Topics) -> None:
        self._config = config
        self._topics = topics
        self._waiting: list[Incoming] = []
        self._subscription_id: int | None = None
        self.dropped = 0
        self.problem: str | None = None

    @property
    def has_any(self) -> bool:
        return bool(self._waiting)

    def take(self) -> list[Incoming]:
        """Everything that waits, in order."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def attend(self, client: mqtt.Client) -> None:
        """Listen to a client that is not connected yet."""
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def subscribe(self, client: mqtt.Client) -> None:
        """To be called first on each connection: a receipt must not pass us by."""
        self.problem = None
        receipts, config, commands = self._topics.downward
        self._subscription_id = client.subscribe([(receipts, 0), (config, 1), (commands, 1)])[1]

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if mid != self._subscription_id:
            return
        for topic, reason in zip(self._topics.downward, reasons, strict=False):
            if reason.is_failure:
                self.problem = problems.of_subscription(self._config, topic, str(reason))
                log.warning("%s", self.problem)

    def _on_message(
        self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage
    ) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # a broker must not pass such a name on
            topic = None
        if topic is None or len(self._waiting) >= INCOMING_AT_MOST:
            self.dropped += 1
        else:
            self._waiting.append(Incoming(topic, bytes(message.payload)))
