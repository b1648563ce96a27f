"""Whether a connection failed for the sake of time: a certificate out of its time, or a clock that
is not set. In words for people: which one, until when, how to mend it."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from device.config import MqttConfig, TlsConfig
from device.messaging.broker_problems import place
from device.messaging.certificate import CertificateError, Validity, read_validity, validity
from device.ports import Clock

NOT_YET_VALID, EXPIRED = 9, 10
"""Of OpenSSL: X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED."""

PEEK_S = 3.0

Peek = Callable[[str, int], Validity | None]


def peek(address: str, port: int) -> Validity | None:
    """When the certificate counts that is shown there; it is not believed, only read."""
    try:
        pem = ssl.get_server_certificate((address, port), timeout=PEEK_S)
        return validity(pem.encode())
    except (OSError, ValueError, CertificateError):
        return None


class Mistimed:
    """look: finds out what the broker shows, which a failed handshake does not tell."""

    def __init__(self, config: MqttConfig, clock: Clock, look: Peek = peek) -> None:
        self._config = config
        self._clock = clock
        self._look = look

    def of_exception(self, exc: Exception, address: str) -> str | None:
        """exc: what connecting to `address` raised. None: time is not the reason."""
        tls = self._config.tls
        if tls is None or not isinstance(exc, ssl.SSLError):
            return None
        if not isinstance(exc, ssl.SSLCertVerificationError):
            return self.of_end()
        if exc.verify_code not in (NOT_YET_VALID, EXPIRED):
            return None
        return f"{place(self._config)}: {self._unset() or self._of_broker(tls, exc, address)}"

    def of_end(self) -> str | None:
        """The broker closed the connection before it let us in; with TLS 1.3 it says no more."""
        tls = self._config.tls
        path = None if tls is None else tls.cert_file
        found = None if path is None else read_validity(path)
        if found is None:
            return None
        now_ns = self._clock.wall_ns()
        if found.begins_ns <= now_ns <= found.ends_ns:
            return None
        own = f"the box's own certificate ([mqtt.tls] cert_file {path})"
        if now_ns > found.ends_ns:
            words = (
                f"{own} counted until {_day(found.ends_ns)}; make a new one with `lookout-cloud "
                "device renew` and put it and its key in their places: they are read at the next "
                "try"
            )
        else:
            words = f"{own} {self._too_early(found)}, or make the certificate again"
        return f"{place(self._config)}: {self._unset() or words}"

    def _of_broker(self, tls: TlsConfig, exc: ssl.SSLCertVerificationError, address: str) -> str:
        found = self._look(address, self._config.port_number)
        now_ns = self._clock.wall_ns()
        if found is not None and now_ns > found.ends_ns:
            return (
                f"the broker's certificate counted until {_day(found.ends_ns)}; make a new one "
                f"with `lookout-cloud broker certificate {self._config.host} --force`, and let the "
                "broker read it"
            )
        if found is not None and now_ns < found.begins_ns:
            return f"the broker's certificate {self._too_early(found)}, or make it again"
        which = "the broker's certificate" if found is None else "the certificate of its authority"
        return (
            f"{which} is out of its time ({exc.verify_message}); look at the broker's, at "
            f"[mqtt.tls] ca_file {tls.ca_file}, and at this box's clock ({_day(now_ns)})"
        )

    def _too_early(self, found: Validity) -> str:
        return (
            f"counts only from {_day(found.begins_ns)} on, and this box's clock says "
            f"{_day(self._clock.wall_ns())}; set the clock"
        )

    def _unset(self) -> str | None:
        if self._clock.minute_of_day() is not None:
            return None
        return (
            f"this box's clock says {_day(self._clock.wall_ns())}, so it cannot tell a good "
            "certificate from a bad one; set the clock (timedatectl set-ntp true, or a clock with "
            "a battery): events are kept until then"
        )


def _day(wall_ns: int) -> str:
    return f"{datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M} UTC"
