"""MQTT 5 through paho, driven by a wait of ours in a worker of ours.

A client is made anew for each connection; the session, at the broker, is what lasts. Callbacks do
nothing but note what came, and what they raise ends the connection and not the thread: then the
broker sends everything again that was not acknowledged.
"""

import logging
import select
import ssl
from collections.abc import Callable, Sequence

from paho.mqtt import client as mqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from cloud_bridge.clocks import backoff_s
from cloud_bridge.config import MqttConfig
from cloud_bridge.forward import broker_words as words
from cloud_bridge.forward.broker_login import LinkError, password, tls_context
from cloud_bridge.forward.buffered_client import BufferedClient
from cloud_bridge.forward.mistimed import Mistimed
from cloud_bridge.forward.outgoing import RECEIVE_MAXIMUM, Message, Outgoing
from cloud_bridge.forward.wake_pipe import WakePipe
from cloud_bridge.ports import Arrival, Clock

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
ANSWER_NS = 10_000_000_000
"""For CONNACK and SUBACK."""

STEADY_NS = 30_000_000_000
CLOSE_S = 0.5
PACKET_BYTES = 512 * 1024


class PahoLink:
    """Matches `ports.Link`. filters: what it subscribes to, QoS 1; none for a link that only sends.

    jitter: random, 0 to 1.
    """

    def __init__(
        self,
        config: MqttConfig,
        filters: Sequence[str],
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._config = config
        self._filters = filters
        self._clock = clock
        self._jitter = jitter
        self._client: BufferedClient | None = None
        self._connection = 0
        self._is_open = False
        """CONNACK came."""
        self._had_session = False
        self._is_connected = False
        """And SUBACK."""
        self._problem: str | None = None
        self._began_ns = 0
        self._pinged_ns = 0
        self._retry_ns = 0
        self._failures = 0
        self._arrivals: list[Arrival] = []
        self._callback_error: BaseException | None = None
        self._outgoing = Outgoing(config)
        self._waking = WakePipe()
        self._mistimed = Mistimed(config, clock)
        self._is_closed = False

    # --- the port -----------------------------------------------------------------------------

    @property
    def connection(self) -> int:
        return self._connection

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @property
    def problem(self) -> str | None:
        return self._problem

    def turn(self, timeout_s: float, room: int) -> list[Arrival]:
        try:
            if self._client is None:
                self._get_ready(timeout_s)
            else:
                self._work(self._client, timeout_s, room)
        except LinkError as exc:
            self._fail(str(exc))
        except (OSError, ValueError) as exc:
            self._fail(words.of_failure(self._config, exc))
        except Exception as exc:
            log.exception("mqtt client failed")
            self._fail(words.of_failure(self._config, exc))
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def acknowledge(self, mids: Sequence[int]) -> None:
        # Before SUBACK too: a session's messages come right after CONNACK.
        if self._client is not None and self._is_open:
            self._client.acknowledge(mids)

    def send(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        must_be_heard: bool = False,
        done: Callable[[str | None], None] | None = None,
    ) -> None:
        if self._outgoing.put(Message(topic, payload, qos, retain, done, must_be_heard)):
            self.wake()

    def wake(self) -> None:
        self._waking.wake()

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        client = self._client
        if client is not None and self._is_connected:
            try:
                self._send_outgoing(client)
                client.say_goodbye()
                client.drain(CLOSE_S)
            except (OSError, ValueError) as exc:
                log.info("broker left without goodbye: %s", exc)
        self._drop_client("the bridge stops")
        self._waking.close()

    # --- getting connected --------------------------------------------------------------------

    def _get_ready(self, timeout_s: float) -> None:
        wait_ns = self._retry_ns - self._clock.monotonic_ns()
        if wait_ns > 0:
            self._waking.pause(min(timeout_s, wait_ns / 1e9))
            self._give_up_outgoing()
            return
        client = self._new_client()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._config.session_s if self._filters else 0
        properties.ReceiveMaximum = self._config.window
        properties.MaximumPacketSize = PACKET_BYTES
        try:
            client.connect(
                self._config.host,
                self._config.port_number,
                keepalive=self._config.keepalive_s,
                clean_start=not self._filters,
                properties=properties,
            )
        except OSError as exc:  # SSLError is one
            mistimed = self._mistimed.of_exception(exc)
            raise LinkError(mistimed or words.of_exception(self._config, exc)) from exc
        self._client = client
        client.flush()
        self._began_ns = self._pinged_ns = self._clock.monotonic_ns()

    def _new_client(self) -> BufferedClient:
        client = BufferedClient(self._config.client_id)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages = 0  # else paho queues what is over
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        if self._config.username is not None:
            path = self._config.password_file
            secret = None if path is None else password(path)
            client.username_pw_set(self._config.username, secret)
        if self._config.tls is not None:
            client.tls_set_context(tls_context(self._config.tls))
        return client

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._callback_error = LinkError(
                words.of_connack(self._config, reason.value, str(reason))
            )
            return
        self._connection += 1
        self._is_open = True
        self._had_session = flags.session_present
        self._outgoing.receive_maximum = getattr(properties, "ReceiveMaximum", RECEIVE_MAXIMUM)
        if self._filters:
            # Each time anew: so the broker sends the retained states again.
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            client.subscribe([(each, options) for each in self._filters])
        else:
            self._get_going()

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [
            f"{each} ({reason})"
            for each, reason in zip(self._filters, reasons, strict=False)
            if reason.is_failure
        ]
        if refused:
            self._callback_error = LinkError(words.of_subscription(self._config, refused))
        else:
            self._get_going()

    def _get_going(self) -> None:
        self._is_connected = True
        self._problem = None
        log.info(
            "broker connected host=%s port=%d session_present=%s",
            self._config.host,
            self._config.port_number,
            self._had_session,
        )

    # --- being connected ----------------------------------------------------------------------

    def _work(self, client: BufferedClient, timeout_s: float, room: int) -> None:
        self._send_outgoing(client)
        client.flush()
        sock = client.socket()
        if sock is None:
            raise LinkError(words.of_end(self._config, self._is_connected))
        is_ready = client.has_input or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0)
        # Its answers to CONNECT and SUBSCRIBE are read in any case: a bridge that is full keeps
        # its way down, and its receipts.
        may_read = room > 0 or not self._is_connected
        poll = select.poll()
        poll.register(self._waking.fileno, select.POLLIN)
        poll.register(
            sock.fileno(),
            (select.POLLIN if may_read else 0) | (select.POLLOUT if client.has_output else 0),
        )
        ready = dict(poll.poll(0 if is_ready and may_read else max(timeout_s, 0.0) * 1000))
        if self._waking.fileno in ready:
            self._waking.drain()
        happened = ready.get(sock.fileno(), 0)
        if happened & (select.POLLERR | select.POLLNVAL | (0 if may_read else select.POLLHUP)):
            raise LinkError(words.of_end(self._config, self._is_connected))
        if may_read and (is_ready or happened & ~select.POLLOUT):
            self._read(client, max(room, 1))
        if may_read:
            client.loop_misc()
        self._stay_alive(client, may_read)
        client.flush()
        self._check(client)

    def _read(self, client: BufferedClient, room: int) -> None:
        """As many packets as there are, until `room` messages came."""
        while len(self._arrivals) < room:
            if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                break
            if self._callback_error is not None:
                break
            if not client.has_input:
                break  # the kernel may have more: the next turn asks it

    def _stay_alive(self, client: BufferedClient, may_read: bool) -> None:
        """paho takes an unread answer to its ping for a dead link: while nothing is read, the
        pings are ours, and their answers wait in the socket."""
        if may_read:
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._pinged_ns >= self._config.keepalive_s * 1e9 / 2:
            self._pinged_ns = now_ns
            client.ping()

    def _check(self, client: BufferedClient) -> None:
        error, self._callback_error = self._callback_error, None
        if error is not None:
            raise LinkError(str(error)) from error
        if client.socket() is None:
            raise LinkError(words.of_end(self._config, self._is_connected))
        silent_ns = self._clock.monotonic_ns() - self._began_ns
        if not self._is_connected and silent_ns > ANSWER_NS:
            raise LinkError(words.of_silence(self._config))

    def _on_message(
        self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage
    ) -> None:
        # paho's `topic` decodes, and raises for broken UTF-8: the bytes are asked for.
        self._arrivals.append(Arrival(message.mid, message._topic, bytes(message.payload)))

    def _send_outgoing(self, client: BufferedClient) -> None:
        if self._is_connected:
            self._outgoing.send(client)
        else:
            self._give_up_outgoing()

    def _give_up_outgoing(self) -> None:
        self._outgoing.give_up(self._problem or f"{words.place(self._config)}: not connected yet")

    def _on_publish(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._outgoing.settle(mid, reason)

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server and not self._is_closed:
            self._callback_error = LinkError(
                words.of_disconnect(self._config, reason.value, str(reason))
            )

    # --- losing it ----------------------------------------------------------------------------

    def _fail(self, problem: str) -> None:
        if self._client is not None and not self._is_open:
            problem = self._mistimed.of_end() or problem
        if self._is_connected and self._clock.monotonic_ns() - self._began_ns > STEADY_NS:
            self._failures = 0
        self._drop_client(problem)
        # What came on that connection cannot be acknowledged any more, and comes again.
        self._arrivals.clear()
        self._failures += 1
        wait_s = backoff_s(self._failures, self._jitter())
        self._retry_ns = self._clock.monotonic_ns() + round(wait_s * 1e9)
        if problem != self._problem:
            log.warning("broker lost retry_in_s=%.1f: %s", wait_s, problem)
        self._problem = problem

    def _drop_client(self, problem: str) -> None:
        client, self._client = self._client, None
        self._is_connected = self._is_open = False
        self._callback_error = None
        sock = None if client is None else client.socket()
        if sock is not None:
            sock.close()
        self._outgoing.lose(problem)
