"""What a person reads when a broker ends the connection before it answers."""

from pathlib import Path

from device.config import MqttConfig, TlsConfig
from device.messaging.broker_problems import of_end


def said(tls: TlsConfig | None) -> str:
    return of_end(MqttConfig(tls=tls), was_connected=False, was_steady=False)


def test_without_tls_and_without_a_certificate_the_missing_one_is_named() -> None:
    assert "it may want TLS" in said(None)
    assert "it may want a client certificate" in said(TlsConfig())


def test_a_certificate_that_may_be_refused_is_named() -> None:
    tls = TlsConfig(cert_file=Path("/etc/lookout/device.crt"), key_file=Path("device.key"))
    assert "may refuse the certificate /etc/lookout/device.crt, as one that was revoked" in said(
        tls
    )
    assert "may want a client certificate" not in said(tls)
