"""When a certificate counts: a walk through its DER to that field, with the standard library.

Source: RFC 5280, section 4.1.
"""

import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

_SEQUENCE, _INTEGER, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x02, 0x17, 0x18, 0xA0
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL | re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
READ_AT_MOST_BYTES = 1_000_000


class CertificateError(ValueError):
    """These bytes are no certificate that can be read; it never leaves this room."""


class Validity(NamedTuple):
    """From when to when a certificate counts: nanoseconds since 1970."""

    begins_ns: int
    ends_ns: int


def read_validity(path: Path) -> Validity | None:
    """Of the first certificate in a PEM file. None: it cannot be read, which connecting with it
    says better."""
    try:
        with path.open("rb") as file:
            return validity(file.read(READ_AT_MOST_BYTES))
    except (OSError, CertificateError):
        return None


def read_expiry_ns(path: Path) -> int | None:
    """When the first certificate in a PEM file ends; None as `read_validity`."""
    found = read_validity(path)
    return None if found is None else found.ends_ns


def expiry_ns(pem: bytes) -> int:
    """When the first certificate ends (`notAfter`). Raises CertificateError as `validity`."""
    return validity(pem).ends_ns


def validity(pem: bytes) -> Validity:
    """Of the first certificate.

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
    begins, ends = ((each - _EPOCH) // timedelta(microseconds=1) * 1000 for each in _times(der))
    return Validity(begins, ends)


def _times(der: bytes) -> tuple[datetime, datetime]:
    certificate, _ = _open(der, _SEQUENCE)
    inner, _ = _open(certificate, _SEQUENCE)
    if inner[:1] == bytes([_VERSION]):
        _, inner = _open(inner, _VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, algorithm, issuer
        _, inner = _open(inner, tag)
    period, _ = _open(inner, _SEQUENCE)
    _, after = _element(period)
    return _time(period), _time(after)


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
