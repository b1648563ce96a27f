"""Keys, certificates and revocation lists as values: nothing here touches a disk."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud_bridge.errors import ConfigError
from cloud_bridge.trust.ledger import Entry
from cloud_bridge.trust.names import Role, is_address

BACKDATED = timedelta(days=1)
"""A box without a battery clock may start with yesterday's time."""

AUTHORITY_LIFE = timedelta(days=20 * 365)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM. The key is a secret."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:  # a key must not reach a log by way of a repr
        return f"Pair({len(self.certificate)} bytes)"


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority's certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def not_after(self) -> datetime:
        return self.certificate.not_valid_after_utc


def make_authority(now: datetime) -> Pair:
    """Self-signed, P-256. Its name has random digits: two authorities may stand in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = _name(f"Lookout authority {serial:040x}"[:26])
    certificate = (
        _builder(name, name, key.public_key(), serial, now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_others=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate.public_bytes(Encoding.PEM), _pem(key))


def load_signer(pair: Pair, where: str) -> Signer:
    """where: the folder, for the message. Raises ConfigError."""
    mend = "bring both back from a copy of the folder"
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = load_pem_private_key(pair.key, password=None)
    except (ValueError, TypeError) as exc:
        raise ConfigError(
            f"{where}: ca.crt and ca.key cannot be read as PEM without a password; want them as "
            f"they were written: {mend}"
        ) from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or (
        key.public_key() != certificate.public_key()
    ):
        raise ConfigError(f"{where}: ca.key is not the key of ca.crt; want a pair: {mend}")
    return Signer(certificate, key)


def sign(
    signer: Signer,
    *,
    name: str,
    role: Role,
    registry: str | None,
    hosts: Sequence[str],
    now: datetime,
    life: timedelta,
) -> tuple[Pair, Entry]:
    """A new key and a certificate for it.

    hosts: names and addresses of a broker; nobody else has any, so that no box can pose as one.

    Raises:
        ConfigError: it would outlive its authority.
    """
    not_after = (now + life).replace(microsecond=0)
    if not_after > signer.not_after:
        days = max((signer.not_after - now).days, 0)
        raise ConfigError(
            f"the authority ends on {signer.not_after:%Y-%m-%d}, in {days} days; want a "
            "certificate that ends before: use --days, or replace the authority "
            "(docs/certificates.md)"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    purpose = (
        ExtendedKeyUsageOID.SERVER_AUTH if role == "broker" else ExtendedKeyUsageOID.CLIENT_AUTH
    )
    builder = (
        _builder(
            _name("Lookout broker" if role == "broker" else name),
            signer.certificate.subject,
            key.public_key(),
            serial,
            now,
            not_after,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_others=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
            critical=False,
        )
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False
        )
    certificate = builder.sign(signer.key, hashes.SHA256())
    entry = Entry(
        serial=serial_text(serial),
        name=name,
        role=role,
        registry=registry,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )
    return Pair(certificate.public_bytes(Encoding.PEM), _pem(key)), entry


def revocation_list(signer: Signer, entries: Iterable[Entry], number: int, now: datetime) -> bytes:
    """PEM. It holds until the authority ends: once a list is out of date, OpenSSL refuses every
    certificate, and a forgotten renewal would silence every box at once."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(min(now, signer.not_after - timedelta(seconds=1)))
        .next_update(signer.not_after)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
            critical=False,
        )
    )
    for entry in entries:
        if entry.revoked is not None:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(entry.serial, 16))
                .revocation_date(entry.revoked)
                .build()
            )
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def serial_text(serial: int) -> str:
    """Hex with whole bytes, as openssl prints it."""
    digits = f"{serial:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def certificate_ends(pem: bytes) -> datetime:
    """When the certificate (PEM) ends. Raises ConfigError."""
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc.astimezone(UTC)
    except ValueError as exc:
        raise ConfigError("not a certificate; want PEM") from exc


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    serial: int,
    now: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(min(now, not_after) - BACKDATED)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_others,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    if is_address(host):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
