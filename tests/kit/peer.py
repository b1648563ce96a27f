"""An MQTT 5 client over TLS that is turned by hand: one thread, and every answer of the broker."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import socket
from time import monotonic
from types import TracebackType
from typing import Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

WITHIN_S = 10.0


class RefusedError(Exception):
    """The broker has not let us in, or has thrown us out."""


class _Context(ssl.SSLContext):
    """Remembers its socket: paho forgets one whose handshake failed, open."""

    _last: ssl.SSLSocket | None = None

    def wrap_socket(
        self,
        sock: socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        self._last = super().wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,
            session=session,
        )
        return self._last

    def abandon(self) -> None:
        if self._last is not None:
            self._last.close()


class Peer:
    """Connected from construction on.

    login: certificate and key, or none. Messages stand in `messages` as (topic, payload, retained).
    """

    def __init__(
        self,
        port: int,
        ca: Path,
        login: tuple[Path, Path] | None,
        will: tuple[str, bytes] | None = None,
        client_id: str = "whatever",
    ) -> None:
        """Raises RefusedError."""
        context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
        if login is not None:
            context.load_cert_chain(*login)
        self.messages: list[tuple[str, bytes, bool]] = []
        self.receive_maximum: int | None = None
        self.maximum_packet_bytes: int | None = None
        self._published: dict[int, int] = {}
        self._subscribed: dict[int, list[int]] = {}
        self._connected: int | None = None
        self._lost: str | None = None
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.tls_set_context(context)
        if will is not None:
            self._client.will_set(*will, qos=1, retain=False)
        self._client.max_inflight_messages_set(0)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        try:
            self._client.connect("localhost", port)
        except OSError as exc:
            context.abandon()
            raise RefusedError(str(exc)) from exc
        self._context = context
        self.turn_until(lambda: self._connected is not None)
        if self._connected != 0:
            context.abandon()
            raise RefusedError(f"reason {self._connected}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> int:
        """The broker's reason code; 0 at once with QoS 0. Raises RefusedError."""
        info = self._client.publish(topic, payload, qos, retain=retain)
        if qos == 0:
            return 0
        self.turn_until(lambda: info.mid in self._published)
        return self._published[info.mid]

    def publish_many(
        self, topics: Sequence[str], payload: Callable[[str], bytes], *, retain: bool = False
    ) -> dict[str, int]:
        """With QoS 1; topic -> reason code. Raises RefusedError."""
        mids = {}
        for topic in topics:
            mids[topic] = self._client.publish(topic, payload(topic), 1, retain=retain).mid
        self.turn_until(lambda: all(mid in self._published for mid in mids.values()))
        return {topic: self._published[mid] for topic, mid in mids.items()}

    def subscribe(self, *filters: str) -> list[int]:
        """Reason codes. What came before the answer stands in `messages`. Raises RefusedError."""
        result, mid = self._client.subscribe([(each, 1) for each in filters])
        if result != mqtt.MQTT_ERR_SUCCESS or mid is None:
            raise RefusedError(f"not sent: {result}")
        self.turn_until(lambda: mid in self._subscribed)
        return self._subscribed[mid]

    def settle(self) -> None:
        """All that the broker has sent so far has arrived: its answers keep their order."""
        self.subscribe("kit/nothing")

    def is_alive(self) -> bool:
        """Still connected, as far as the socket knows."""
        if self._lost is None:
            self._client.loop(timeout=0.05)
        return self._lost is None

    def leave(self) -> None:
        """With a DISCONNECT: no will."""
        self._client.disconnect()
        self._client.loop(timeout=0.05)
        self._context.abandon()

    def drop(self) -> None:
        """As a box that has lost its power: the broker sends the will."""
        self._context.abandon()

    def turn_until(self, fact: Callable[[], bool]) -> None:
        """Raises RefusedError: the connection went before."""
        end_s = monotonic() + WITHIN_S
        while not fact():
            if self._lost is not None:
                self._context.abandon()
                raise RefusedError(self._lost)
            if monotonic() > end_s:
                raise AssertionError(f"no answer within {WITHIN_S:g} s")
            result = self._client.loop(timeout=0.5)
            if result != mqtt.MQTT_ERR_SUCCESS and self._lost is None:
                self._lost = f"connection lost: {result}"

    def _on_connect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._connected = reason.value
        self.receive_maximum = getattr(properties, "ReceiveMaximum", None)
        self.maximum_packet_bytes = getattr(properties, "MaximumPacketSize", None)

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._lost = f"disconnected: {reason}"

    def _on_publish(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._published[mid] = reason.value

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self._subscribed[mid] = [each.value for each in reasons]

    def _on_message(
        self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage
    ) -> None:
        self.messages.append((message.topic, bytes(message.payload), bool(message.retain)))
