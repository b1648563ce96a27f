"""The kit's own line: what it does to bytes is what it says."""

import socket
from collections.abc import Iterator
from threading import Thread
from time import monotonic

import pytest

from tests.kit.mqtt_tap import MqttTap
from tests.kit.tcp_proxy import TcpProxy, Way
from tests.kit.waiting import pause, wait_until


class Echo:
    """Answers each connection with what it sends; knows what came."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Echo":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._thread.join(timeout=5.0)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.came.append(b"")
            Thread(target=self._answer, args=(client, len(self.came) - 1), daemon=True).start()

    def _answer(self, client: socket.socket, number: int) -> None:
        with client:
            try:
                while piece := client.recv(65_536):
                    self.came[number] += piece
                    client.sendall(piece)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as started:
        yield started


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy(echo.port) as started:
        yield started


def connect(proxy: TcpProxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=5.0)
    client.settimeout(5.0)
    return client


def receive(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (piece := client.recv(count - len(found))):
        found += piece
    return found


def is_turned_away(proxy: TcpProxy) -> bool:
    try:
        with connect(proxy) as client:
            client.recv(1)
    except ConnectionResetError:  # so soon, at times, that it is `connect` which hears of it
        return True
    return False


def is_silent(client: socket.socket, seconds: float = 0.2) -> bool:
    client.settimeout(seconds)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(5.0)


def test_a_good_line_passes_everything_on_both_ways(proxy: TcpProxy, echo: Echo) -> None:
    text = bytes(range(256)) * 8192
    with connect(proxy) as client:
        Thread(target=client.sendall, args=(text,), daemon=True).start()
        assert receive(client, len(text)) == text
    assert proxy.connections == 1
    assert echo.came == [text]


def test_the_end_of_one_side_is_the_end_of_the_other(proxy: TcpProxy, echo: Echo) -> None:
    with connect(proxy) as client:
        client.sendall(b"last words")
    wait_until(lambda: echo.came == [b"last words"], "the last words")
    with connect(proxy) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_a_slow_line_takes_its_time_each_way(proxy: TcpProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        proxy.delay(0.2)
        began_s = monotonic()
        client.sendall(b"b")
        assert receive(client, 1) == b"b"
        assert monotonic() - began_s >= 0.4


@pytest.mark.parametrize(("way", "reaches"), [("up", False), ("down", True)])
def test_a_line_that_is_dead_one_way_passes_the_other_and_all_of_it_when_it_heals(
    proxy: TcpProxy, echo: Echo, way: Way, reaches: bool
) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        proxy.blackhole(way)
        client.sendall(b"b")
        assert is_silent(client)
        assert (echo.came == [b"ab"]) is reaches
        client.sendall(b"c")
        proxy.heal()
        assert receive(client, 2) == b"bc"


def test_nobody_hears_of_an_end_over_a_dead_line(proxy: TcpProxy, echo: Echo) -> None:
    client = connect(proxy)
    client.sendall(b"a")
    assert receive(client, 1) == b"a"
    proxy.blackhole()
    client.sendall(b"b")
    client.close()
    pause(0.1)
    assert echo.came == [b"a"]
    proxy.heal()
    wait_until(lambda: echo.came == [b"ab"], "what was held, and then the end")


def test_a_connection_that_was_given_up_over_a_dead_line_never_reaches_the_target(
    proxy: TcpProxy, echo: Echo
) -> None:
    proxy.blackhole()
    connect(proxy).close()
    with connect(proxy) as patient:
        patient.sendall(b"still here")
        assert is_silent(patient)
        wait_until(lambda: proxy.connections == 2, "both are there")
        proxy.heal()
        assert receive(patient, 10) == b"still here"
    assert echo.came == [b"still here"]


def test_a_reset_is_heard_as_one_and_new_connections_are_welcome(proxy: TcpProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(proxy) as client:
        client.sendall(b"b")
        assert receive(client, 1) == b"b"


def test_a_line_that_refuses_ends_what_there_is_and_what_comes(proxy: TcpProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert is_turned_away(proxy)
    proxy.heal()
    with connect(proxy) as client:
        client.sendall(b"b")
        assert receive(client, 1) == b"b"


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_line_is_cut_right_behind_a_byte_and_only_once(
    proxy: TcpProxy, echo: Echo, way: Way
) -> None:
    proxy.cut_after(way, 5)
    with connect(proxy) as client:
        client.sendall(b"abcdefgh")
        found = receive(client, 5) if way == "down" else b""
        with pytest.raises(ConnectionResetError):
            receive(client, 100)
    if way == "down":
        assert found == b"abcde"
    else:
        wait_until(lambda: echo.came == [b"abcde"], "five bytes and no more")
    with connect(proxy) as client:
        client.sendall(b"abcdefgh")
        assert receive(client, 8) == b"abcdefgh"


def test_a_target_that_is_away_ends_the_connection(proxy: TcpProxy, echo: Echo) -> None:
    echo.stop()
    assert is_turned_away(proxy)


def publish(packet_id: int, event: str, topic: bytes = b"home/devices/garden/events/run") -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + packet_id.to_bytes(2, "big")
    body += b"\x03\x03\x00\x00" + f'{{"id":"{event}"}}'.encode()
    return b"\x32" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body


def test_the_tap_counts_what_is_on_the_wire_without_its_acknowledgement() -> None:
    tap = MqttTap()
    sent = publish(1, "a") + publish(2, "b") + publish(3, "s", b"home/devices/garden/state")
    for byte in sent:
        tap(1, "up", bytes([byte]))
    assert tap.most_unanswered == 2
    tap(1, "down", b"\x40\x02\x00\x01")
    tap(1, "up", publish(4, "c"))
    assert tap.most_unanswered == 2
    # Another connection owes nothing of an earlier one.
    tap(2, "up", publish(1, "a"))
    assert tap.most_unanswered == 2
    tap(1, "up", publish(5, "d"))
    assert tap.most_unanswered == 3
    assert tap.sent == {"a": 2, "b": 1, "c": 1, "d": 1}


def receipt(text: str, topic: bytes = b"home/devices/garden/receipts") -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + b"\x00" + text.encode()
    return b"\x30" + bytes([len(body)]) + body


def test_the_tap_counts_what_has_no_receipt_yet() -> None:
    tap = MqttTap()
    for seq in range(1, 6):
        tap(1, "up", publish(seq, f"garden:1-0000000a:{seq}"))
    tap(1, "down", b"\x40\x02\x00\x01" + receipt('{"run":"1-0000000a","ok":[[2,3]]}'))
    assert tap.in_flight == 3
    tap(1, "down", receipt('{"run":"1-0000000a","ok":[],"refused":[{"seq":5,"reason":"no"}]}'))
    assert tap.in_flight == 2
    tap(2, "up", publish(1, "garden:1-0000000a:2") + publish(2, "garden:1-0000000a:4"))
    assert tap.in_flight == 2
