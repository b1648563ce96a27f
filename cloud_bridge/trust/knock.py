"""Knocks at a broker with a certificate: let in or not. Nothing is subscribed or published.

MQTT is written out here by hand: 20 bytes, and no library between us and the reason.
"""

import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cloud_bridge.errors import ConfigError, TransientError
from cloud_bridge.trust.certificates import Pair

TIMEOUT_S = 10.0
_CONNACK, _DISCONNECT = 0x20, b"\xe0\x00"


@dataclass(frozen=True, slots=True)
class Door:
    """A broker's listener. authorities: PEM, whom its certificate must come from."""

    host: str
    port: int
    authorities: bytes

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def is_let_in(door: Door, pair: Pair, client_id: str) -> bool:
    """Connect with a clean session that ends with it; a living session of the same name is thrown
    off, and its will is published.

    Raises:
        ConfigError: whoever answers is no broker of these authorities.
        TransientError: nobody answers in time.
    """
    context = _context(door, pair)
    try:
        raw = socket.create_connection((door.host, door.port), TIMEOUT_S)
    except OSError as exc:
        raise TransientError(
            f"no broker answers at {door}: {exc.strerror or exc}; want its name and port, and a "
            "broker that runs"
        ) from exc
    with raw:
        try:
            with context.wrap_socket(raw, server_hostname=door.host) as connection:
                connection.sendall(_connect(client_id))
                answer = _exactly(connection, 4)
                if answer is None or answer[0] != _CONNACK:
                    return False
                if answer[3] != 0:
                    return False
                connection.sendall(_DISCONNECT)
                return True
        except ssl.SSLCertVerificationError as exc:
            raise ConfigError(
                f"whoever answers at {door} is not a broker of this authority "
                f"({exc.verify_message}); want the host's name as in the broker's certificate, "
                "and the right --ca-dir"
            ) from exc
        except TimeoutError as exc:
            raise TransientError(
                f"the broker at {door} has not answered within {TIMEOUT_S:g} s; try again"
            ) from exc
        except OSError:
            # TLS 1.3 tells of a refused certificate after the handshake: an alert, or just an end.
            return False


def _context(door: Door, pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=door.authorities.decode("ascii"))
    # Python's ssl takes a certificate of our own from files alone.
    with TemporaryDirectory(prefix="lookout-") as folder:
        certificate, key = Path(folder, "certificate"), Path(folder, "key")
        certificate.write_bytes(pair.certificate)
        key.touch(mode=0o600)
        key.write_bytes(pair.key)
        context.load_cert_chain(certificate, key)
    return context


def _connect(client_id: str) -> bytes:
    """CONNECT of MQTT 5: clean start, 30 s of keepalive, no session expiry, no will.

    Source: https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html, 3.1
    """
    name = client_id.encode()
    rest = b"\x00\x04MQTT\x05\x02" + struct.pack(">H", 30) + b"\x00"
    rest += struct.pack(">H", len(name)) + name
    return bytes([0x10, len(rest)]) + rest  # under 128 bytes: names have at most 64 letters


def _exactly(connection: ssl.SSLSocket, count: int) -> bytes | None:
    """None when it ends before."""
    got = b""
    while len(got) < count:
        more = connection.recv(count - len(got))
        if not more:
            return None
        got += more
    return got
