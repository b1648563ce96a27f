"""paho's client as this room wants it: MQTT 5, no threads, no queue, no reconnects of its own."""

import socket
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device.config import MqttConfig
from device.messaging.broker_login import NamedContext, credentials
from device.wire.names import Topics

CONNECT_TIMEOUT_S = 5.0
"""For the TCP connection, and again for the TLS handshake."""


def new_client(
    config: MqttConfig, topics: Topics, will: bytes, tls: NamedContext | None
) -> mqtt.Client:
    """One for each connection; not connected. will: the payload of `availability`.

    Raises:
        LoginError: the password's file cannot be used.
    """
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=topics.device,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.on_socket_open = _send_at_once
    client.max_inflight_messages = 0  # else paho queues what is over; our callers keep count
    client.will_set(topics.availability, will, 1, retain=True)
    client.username_pw_set(*credentials(config))
    if tls is not None:
        client.tls_set_context(tls)
    return client


def _send_at_once(_client: mqtt.Client, _userdata: object, sock: Any) -> None:  # noqa: ANN401 - paho's own protocol of sockets lacks the call
    """Else an event behind another waits 40 ms for the broker's delayed ACK."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
