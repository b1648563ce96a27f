"""Certificates and time: whether a connection failed for it, and whether our own ends soon. In
words for people: which one, until when, how to mend it."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from cloud_bridge.config import MqttConfig
from cloud_bridge.forward.broker_words import place
from cloud_bridge.ports import Clock

NOT_YET_VALID, EXPIRED = 9, 10
"""Of OpenSSL: X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED."""

PEEK_S = 3.0
SOON = timedelta(days=30)
READ_NS = 3600 * 1_000_000_000
SENSE = datetime(2025, 1, 1, tzinfo=UTC)
"""Before it this was not written: an earlier clock is not set."""


class Validity(NamedTuple):
    """From when to when a certificate counts."""

    begins: datetime
    ends: datetime


Peek = Callable[[str, int], Validity | None]


def validity(pem: bytes) -> Validity | None:
    """Of the first certificate; None: there is none that can be read."""
    try:
        found = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None
    return Validity(found.not_valid_before_utc, found.not_valid_after_utc)


def peek(host: str, port: int) -> Validity | None:
    """When the certificate counts that is shown there; it is not believed, only read."""
    try:
        return validity(ssl.get_server_certificate((host, port), timeout=PEEK_S).encode())
    except (OSError, ValueError):
        return None


class Mistimed:
    """look: finds out what the broker shows, which a failed handshake does not tell."""

    def __init__(self, config: MqttConfig, clock: Clock, look: Peek = peek) -> None:
        self._config = config
        self._clock = clock
        self._look = look
        self._own: Validity | None = None
        self._read_ns: int | None = None

    def soon(self) -> str | None:
        """Whether the bridge's own certificate ends soon, or has ended; the file is read once an
        hour."""
        now_ns = self._clock.monotonic_ns()
        if self._read_ns is None or now_ns - self._read_ns >= READ_NS:
            self._own, self._read_ns = self._read(), now_ns
        now = self._now()
        if self._own is None or now < SENSE or self._own.ends - now >= SOON:
            return None
        when = "counted" if self._own.ends < now else "counts"
        return f"{self._name} {when} until {_day(self._own.ends)}; {self._mend}"

    def of_exception(self, exc: OSError) -> str | None:
        """exc: what connecting raised. None: time is not the reason."""
        if self._config.tls is None or not isinstance(exc, ssl.SSLError):
            return None
        if not isinstance(exc, ssl.SSLCertVerificationError):
            return self.of_end()
        if exc.verify_code not in (NOT_YET_VALID, EXPIRED):
            return None
        return f"{place(self._config)}: {self._unset() or self._of_broker(exc)}"

    def of_end(self) -> str | None:
        """The broker closed the connection before it let us in; with TLS 1.3 it says no more."""
        found, now = self._read(), self._now()
        if found is None or found.begins <= now <= found.ends:
            return None
        if now > found.ends:
            words = f"{self._name} counted until {_day(found.ends)}; {self._mend}"
        else:
            words = f"{self._name} {self._too_early(found)}, or make the certificate again"
        return f"{place(self._config)}: {self._unset() or words}"

    def _of_broker(self, exc: ssl.SSLCertVerificationError) -> str:
        found, now = self._look(self._config.host, self._config.port_number), self._now()
        if found is not None and now > found.ends:
            return (
                f"the broker's certificate counted until {_day(found.ends)}; make a new one with "
                f"`lookout-cloud broker certificate {self._config.host} --force`, and let the "
                "broker read it"
            )
        if found is not None and now < found.begins:
            return f"the broker's certificate {self._too_early(found)}, or make it again"
        which = "the broker's certificate" if found is None else "the certificate of its authority"
        return (
            f"{which} is out of its time ({exc.verify_message}); look at the broker's, at "
            f"[mqtt.tls] ca_file, and at this machine's clock ({_day(now)})"
        )

    def _too_early(self, found: Validity) -> str:
        return (
            f"counts only from {_day(found.begins)} on, and this machine's clock says "
            f"{_day(self._now())}; set the clock"
        )

    def _unset(self) -> str | None:
        now = self._now()
        if now >= SENSE:
            return None
        return (
            f"this machine's clock says {_day(now)}, so it cannot tell a good certificate from a "
            "bad one; set the clock (timedatectl set-ntp true): events wait in the broker"
        )

    @property
    def _name(self) -> str:
        return f"the bridge's own certificate ([mqtt.tls] cert_file {self._path})"

    @property
    def _mend(self) -> str:
        return (
            "make a new one with `lookout-cloud broker bridge NAME --force` and put it and its key "
            "in their places: they are read at the next connection"
        )

    @property
    def _path(self) -> Path | None:
        return None if self._config.tls is None else self._config.tls.cert_file

    def _read(self) -> Validity | None:
        try:
            return None if self._path is None else validity(self._path.read_bytes())
        except OSError:
            return None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall_ns() // 1_000_000_000, UTC)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
