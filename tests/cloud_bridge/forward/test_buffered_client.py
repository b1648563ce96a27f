"""The socket under the bridge's MQTT client."""

import socket

from cloud_bridge.forward.buffered_client import BufferedClient
from tests.kit.scripted_broker import ScriptedBroker


def test_small_packets_go_out_at_once() -> None:
    """With Nagle's algorithm a receipt waits 40 ms behind an acknowledgement."""
    with ScriptedBroker() as broker:
        client = BufferedClient("bridge")
        client.connect("127.0.0.1", broker.port)
        sock = client.socket()
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        sock.close()
