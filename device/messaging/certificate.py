"""When a certificate ends: a walk through its DER to the one field, with the standard library.

Source: RFC 5280, section 4.1.
"""

import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x02, 0x17, 0x18, 0xA0
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL | re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
READ_AT_MOST_BYTES = 1_000_000


class CertificateError(ValueError):
    """These bytes are no certificate that can be read; it never leaves this room."""


def read_expiry_ns(path: Path) -> int | None:
    """Of the first certificate in a PEM file: nanoseconds since 1970. None: it cannot be read,
    which connecting with it says better."""
    try:
        with path.open("rb") as file:
            return expiry_ns(file.read(READ_AT_MOST_BYTES))
    except (OSError, CertificateError):
        return None


def expiry_ns(pem: bytes) -> int:
    """Nanoseconds since 1970 of the end (`notAfter`) of the first certificate.

    Raises:
        CertificateError: there is none, or it is cut or of another shape.
    """
    found = _PEM.search(pem.decode("ascii", errors="replace"))
    if found is None:
        raise CertificateError("no certificate in PEM")
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0])
    except ValueError as exc:
        raise CertificateError(f"not base64: {exc}") from exc
    return (_not_after(der) - _EPOCH) // timedelta(microseconds=1) * 1000


def _not_after(der: bytes) -> datetime:
    certificate, _ = _open(der, _SEQUENCE)
    inner, _ = _open(certificate, _SEQUENCE)
    if inner[:1] == bytes([_VERSION]):
        _, inner = _open(inner, _VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, algorithm, issuer
        _, inner = _open(inner, tag)
    validity, _ = _open(inner, _SEQUENCE)
    _, after = _element(validity)  # not before
    return _time(after)


def _open(der: bytes, wanted: int) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    if der[:1] != bytes([wanted]):
        raise CertificateError(f"found {der[:1].hex() or 'nothing'}, want {wanted:02x}")
    return _element(der)


def _element(der: bytes) -> tuple[bytes, bytes]:
    if len(der) < 2:
        raise CertificateError("cut")
    length, start = der[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
        if not 1 <= count <= 4:
            raise CertificateError("a length that DER does not have")
    if start + length > len(der):
        raise CertificateError("cut")
    return der[start : start + length], der[start + length :]


def _time(der: bytes) -> datetime:
    content, _ = _element(der)
    text = content.decode("ascii", errors="replace")
    if der[0] == _UTC_TIME:
        if not re.fullmatch(r"[0-9]{12}Z", text):
            raise CertificateError(f"time {text!r}")
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif der[0] != _GENERALIZED_TIME:
        raise CertificateError(f"found {der[0]:02x}, want a time")
    if not re.fullmatch(r"[0-9]{14}Z", text):
        raise CertificateError(f"time {text!r}")
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as exc:
        raise CertificateError(f"time {text!r}") from exc
