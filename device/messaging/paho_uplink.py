"""Events out over MQTT 5: paho's client, driven by our own wait on its socket.

paho keeps no queue here: a client is made anew for each connection, and is handed an event only
while it is connected. So the one queue is the outbox, and what was under way on a lost
connection is sent again from there. The broker keeps a session for the way down: commands of a
short outage wait in it.
"""

import logging
import select
import ssl
from collections.abc import Callable
from typing import Literal

from paho.mqtt import client as mqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device.config import MqttConfig
from device.messaging import broker_problems as problems
from device.messaging.broker_login import LoginError, tls_context
from device.messaging.inbox import Inbox, session
from device.messaging.mistimed import Mistimed
from device.messaging.paho_client import new_client
from device.messaging.resolving import Lookup, Resolve, resolve
from device.messaging.retries import Retries
from device.messaging.under_way import UnderWay
from device.messaging.wake_pipe import WakePipe
from device.ports import Clock, Incoming, StoredEvent
from device.wire.events import CONTENT_TYPE
from device.wire.names import RunId, Topics
from device.wire.state import Availability, encode_part

log = logging.getLogger(__name__)

ANSWER_NS = 10_000_000_000
"""For the broker's answer to CONNECT."""

LOOKUP_NS = 10_000_000_000
CLOSE_S = 1.0
ACKNOWLEDGE_NS = 30_000_000_000
"""A broker that owes so long is given up: it may answer pings for ever."""

PACKET_OVERHEAD_BYTES = 64  # beside topic and payload: headers, packet id, content type


class PahoUplink:
    """Matches `ports.Uplink`.

    jitter: random, 0 to 1. ask: looks names up.
    """

    def __init__(
        self,
        config: MqttConfig,
        topics: Topics,
        run: RunId,
        clock: Clock,
        jitter: Callable[[], float],
        ask: Resolve = resolve,
    ) -> None:
        self._config = config
        self._topics = topics
        self._run = run
        self._clock = clock
        self._ask = ask
        self._client: mqtt.Client | None = None
        self._lookup: Lookup | None = None
        self._began_ns = 0
        """When the lookup, or the wait for CONNACK, or the connection began."""
        self._retries = Retries(jitter, clock.monotonic_ns())
        self._is_connected = False
        self._connects = 0
        self._problem: str | None = None
        self._refusal: str | None = None
        self._stall: str | None = None
        """Why the connection before was given up, until the broker acknowledges something."""
        self._packet_maximum: int | None = None
        self._under_way = UnderWay()
        self._acknowledged: list[int] = []
        self._refused: list[int] = []
        self._inbox = Inbox(config, topics)
        self._mistimed = Mistimed(config, clock)
        self._state: bytes | None = None
        self._state_id: int | None = None
        """Packet id of the last `state`."""
        self._is_state_due = False
        self._is_online_due = False
        self._waking = WakePipe()
        self._is_closed = False

    # --- the port ---------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @property
    def connects(self) -> int:
        return self._connects

    @property
    def problem(self) -> str | None:
        return self._problem or self._refusal or self._stall or self._inbox.problem

    @property
    def receive_maximum(self) -> int:
        # What of ours is due goes first, or events would never leave it a place.
        return max(self._under_way.event_places - self._is_online_due - self._is_state_due, 0)

    def turn(self, timeout_s: float) -> list[int]:
        try:
            if self._client is None:
                self._get_ready(timeout_s)
            else:
                self._work(timeout_s)
        except Exception as exc:
            # paho would go through the packet that brought it out again and again, and no other.
            self._fail(problems.of_mistake(self._config, exc))
            raise
        acknowledged, self._acknowledged = self._acknowledged, []
        return acknowledged

    def incoming(self) -> list[Incoming]:
        return self._inbox.take()

    @property
    def incoming_dropped(self) -> int:
        return self._inbox.dropped

    def refused(self) -> list[int]:
        refused, self._refused = self._refused, []
        return refused

    def publish(self, event: StoredEvent) -> None:
        client = self._client
        if client is None:
            return
        topic = self._topics.events(event.subfolder)
        size_bytes = len(topic) + len(event.payload) + PACKET_OVERHEAD_BYTES
        if self._packet_maximum is not None and size_bytes > self._packet_maximum:
            # The broker would end the connection for it, again and again.
            self._refuse(
                event.row, problems.of_size(self._config, size_bytes, self._packet_maximum)
            )
            return
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = CONTENT_TYPE
        try:
            info = client.publish(topic, event.payload, qos=1, properties=properties)
        except ValueError as exc:  # no topic of MQTT's
            self._refuse(event.row, problems.of_topic(self._config, topic, str(exc)))
            return
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._under_way.add(info.mid, self._clock.monotonic_ns(), event.row)

    def _refuse(self, row: int, problem: str) -> None:
        self._refusal = problem
        self._refused.append(row)
        self.wake()

    def set_state(self, payload: bytes) -> None:
        self._state = payload
        self._is_state_due = True
        self._send_own()

    def set_run(self, run: RunId) -> None:
        self._run = run
        self._is_online_due = True
        self._send_own()

    def wake(self) -> None:
        self._waking.wake()

    def close(self) -> None:
        if self._is_closed:
            return
        if self._client is not None and self._is_connected:
            try:
                self._say_goodbye(self._client)
            except Exception:
                log.exception("broker left without goodbye host=%s", self._config.host)
        self._drop_client()
        self._is_connected = False
        self._is_closed = True
        self._waking.close()

    def _say_goodbye(self, client: mqtt.Client) -> None:
        deadline_ns = self._clock.monotonic_ns() + round(CLOSE_S * 1e9)
        mid: int | None = None
        while self._is_connected and (mid is None or mid in self._under_way):
            if mid is None and self._under_way.is_free:
                mid = self._publish_own(self._topics.availability, self._availability("offline"))
            left_s = (deadline_ns - self._clock.monotonic_ns()) / 1e9
            if left_s <= 0:
                break
            self._wait(client, min(left_s, 0.1))
        # From here on the end of the connection is no news.
        client.on_disconnect = None
        client.disconnect()
        log.info("broker left host=%s", self._config.host)

    # --- getting connected --------------------------------------------------------------------

    def _get_ready(self, timeout_s: float) -> None:
        now_ns = self._clock.monotonic_ns()
        if self._lookup is None:
            wait_ns = self._retries.wait_ns(now_ns)
            if wait_ns > 0:
                self._waking.pause(min(timeout_s, wait_ns / 1e9))
                return
            self._lookup = Lookup(self._config.host, self._config.port_number, self._ask, self.wake)
            self._began_ns = now_ns
        if self._lookup.answer is None:
            self._waking.pause(timeout_s)
        answer = self._lookup.answer
        if answer is None:
            # It may take a minute; another question would only wait beside this one.
            if self._clock.monotonic_ns() - self._began_ns > LOOKUP_NS:
                self._tell(problems.of_slow_name(self._config))
            return
        self._lookup = None
        if answer.problem is not None:
            self._fail(problems.of_name(self._config, answer.problem))
            return
        self._connect(answer.addresses[self._retries.failures % len(answer.addresses)])

    def _connect(self, address: str) -> None:
        tls = None
        try:
            if self._config.tls is not None:
                tls = tls_context(self._config.tls, self._config.host)
            will = self._availability("offline")
            client = new_client(self._config, self._topics, will, tls)
            client.on_connect = self._on_connect
            client.on_disconnect = self._on_disconnect
            client.on_publish = self._on_publish
            self._inbox.attend(client)
            client.connect(
                address,
                self._config.port_number,
                keepalive=self._config.keepalive_s,
                clean_start=False,
                properties=session(),
            )
        except LoginError as exc:
            self._fail(str(exc))
        except (OSError, ValueError) as exc:
            if tls is not None:
                tls.abandon()
            mistimed = self._mistimed.of_exception(exc, address)
            self._fail(mistimed or problems.of_exception(self._config, exc))
        else:
            self._client = client
            self._began_ns = self._clock.monotonic_ns()

    def _availability(self, status: Literal["online", "offline"]) -> bytes:
        return encode_part(Availability(status=status, run=str(self._run)))

    def _publish_own(self, topic: str, payload: bytes) -> int | None:
        """Retained; the packet's id."""
        if self._client is None:
            return None
        mid = self._client.publish(topic, payload, qos=1, retain=True).mid
        self._under_way.add(mid, self._clock.monotonic_ns())
        return mid

    # --- being connected ----------------------------------------------------------------------

    def _work(self, timeout_s: float) -> None:
        client = self._client
        if client is None:
            return
        self._wait(client, timeout_s)
        now_ns = self._clock.monotonic_ns()
        if client.want_write():
            self._under_way.note_progress(now_ns)
        if self._client is None:
            return
        if not self._is_connected and now_ns - self._began_ns > ANSWER_NS:
            self._fail(problems.of_silence(self._config))
        elif self._under_way.silent_ns(now_ns) > ACKNOWLEDGE_NS:
            self._fail(problems.of_stall(self._config))
            self._stall = self._problem

    def _wait(self, client: mqtt.Client, timeout_s: float) -> None:
        """One wait on the socket and the wake pipe, and the reading and writing that is due.
        paho's callbacks run in here, on this thread."""
        sock = client.socket()
        if sock is None:
            self._lose()
            return
        poll = select.poll()
        poll.register(self._waking.fileno, select.POLLIN)
        poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        # TLS may have bytes ready that the socket no longer shows.
        is_pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        has_news = bool(self._acknowledged or self._refused or self._inbox.has_any)
        ready = dict(poll.poll(0 if is_pending or has_news else max(timeout_s, 0.0) * 1000))
        if self._waking.fileno in ready:
            self._waking.drain()
        happened = ready.get(sock.fileno(), 0)
        if happened & ~select.POLLOUT or is_pending:
            client.loop_read()
        if happened & select.POLLOUT:
            client.loop_write()
        client.loop_misc()
        if self._client is client and client.socket() is None:
            self._lose()

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._fail(problems.of_connack(self._config, reason.value, str(reason)))
            return
        receive_maximum = getattr(properties, "ReceiveMaximum", 65535)
        self._under_way = UnderWay(receive_maximum)
        self._packet_maximum = getattr(properties, "MaximumPacketSize", None)
        self._is_connected = True
        self._began_ns = self._clock.monotonic_ns()
        self._connects += 1
        self._problem = self._refusal = None
        place = (self._config.host, self._config.port_number, receive_maximum)
        log.info("broker connected host=%s port=%d receive_maximum=%d", *place)
        self._inbox.subscribe(client)
        self._is_online_due = True
        self._is_state_due = self._state is not None
        self._send_own()

    def _send_own(self) -> None:
        """`availability` and `state`, each when there is a place for it; one `state` at a time."""
        if not self._is_connected:
            return
        if self._is_online_due and self._under_way.is_free:
            self._is_online_due = False
            self._publish_own(self._topics.availability, self._availability("online"))
        is_state_wanted = self._is_state_due and self._state_id not in self._under_way
        if is_state_wanted and self._state is not None and self._under_way.is_free:
            self._is_state_due = False
            self._state_id = self._publish_own(self._topics.state, self._state)

    def _on_publish(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._stall = None
        row = self._under_way.settle(mid, self._clock.monotonic_ns())
        self._send_own()
        if row is None:
            return
        if reason.is_failure:
            problem = problems.of_puback(self._config, reason.value, str(reason))
            if problem != self._refusal:
                log.warning("events refused: %s", problem)
            self._refusal = problem
            self._refused.append(row)
        else:
            self._acknowledged.append(row)

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._lose(problems.of_disconnect(self._config, reason.value, str(reason)))

    # --- losing it ----------------------------------------------------------------------------

    def _lose(self, problem: str | None = None) -> None:
        if self._client is None:
            return  # told already, with a better reason
        now_ns = self._clock.monotonic_ns()
        was_steady = self._is_connected and self._retries.note_end(self._began_ns, now_ns)
        if problem is None and not self._is_connected:
            problem = self._mistimed.of_end()
        self._fail(problem or problems.of_end(self._config, self._is_connected, was_steady))

    def _fail(self, problem: str) -> None:
        self._drop_client()
        self._is_connected = False
        self._under_way = UnderWay()
        self._state_id = None
        self._refused.clear()
        self._tell(problem, self._retries.fail(self._clock.monotonic_ns()))

    def _drop_client(self) -> None:
        client, self._client = self._client, None
        sock = None if client is None else client.socket()
        if sock is not None:
            sock.close()

    def _tell(self, problem: str, wait_s: float = 0.0) -> None:
        if problem != self._problem:
            log.warning(
                "broker lost host=%s retry_in_s=%.1f: %s", self._config.host, wait_s, problem
            )
        self._problem = problem
