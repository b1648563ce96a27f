"""Certificates and lists as values, with a clock of the test's own."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from cloud_bridge.errors import ConfigError
from cloud_bridge.trust.certificates import (
    AUTHORITY_LIFE,
    Pair,
    Signer,
    load_signer,
    make_authority,
    revocation_list,
    sign,
)
from cloud_bridge.trust.ledger import Entry
from cloud_bridge.trust.names import Role

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def signer() -> Signer:
    return load_signer(make_authority(NOW), "here")


def made(
    signer: Signer, role: Role = "device", now: datetime = NOW, life: timedelta = 30 * DAY
) -> tuple[x509.Certificate, Entry]:
    hosts = ("broker.local",) if role == "broker" else ()
    pair, entry = sign(
        signer, name="garden", role=role, registry=None, hosts=hosts, now=now, life=life
    )
    return x509.load_pem_x509_certificate(pair.certificate), entry


def test_a_box_with_yesterdays_clock_is_not_locked_out(signer: Signer) -> None:
    certificate, entry = made(signer)
    assert certificate.not_valid_before_utc == NOW - DAY
    assert certificate.not_valid_after_utc == NOW + 30 * DAY == entry.not_after


def test_each_role_has_one_purpose(signer: Signer) -> None:
    def purposes(role: Role) -> set[str]:
        extensions = made(signer, role)[0].extensions
        value = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return {each._name for each in value}

    assert purposes("device") == purposes("bridge") == {"clientAuth"}
    assert purposes("broker") == {"serverAuth"}


def test_nobody_signs_but_the_authority(signer: Signer) -> None:
    certificate, _ = made(signer)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert basic.critical
    assert not basic.value.ca
    assert not usage.value.key_cert_sign
    certificate.verify_directly_issued_by(signer.certificate)


def test_a_certificate_does_not_outlive_its_authority(signer: Signer) -> None:
    made(signer, life=AUTHORITY_LIFE - DAY)
    with pytest.raises(ConfigError, match="the authority ends on 2046-11-19, in 10 days"):
        made(signer, now=NOW + AUTHORITY_LIFE - 10 * DAY)


def test_a_list_counts_as_long_as_its_authority(signer: Signer) -> None:
    _, gone = made(signer)
    _, stays = made(signer)
    revoked = Entry(
        serial=gone.serial, name="garden", role="device", registry=None,
        not_before=gone.not_before, not_after=gone.not_after, revoked=NOW,
    )  # fmt: skip
    found = x509.load_pem_x509_crl(revocation_list(signer, [revoked, stays], 7, NOW + DAY))
    assert found.next_update_utc == signer.not_after
    assert found.get_revoked_certificate_by_serial_number(int(gone.serial, 16)) is not None
    assert found.get_revoked_certificate_by_serial_number(int(stays.serial, 16)) is None
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7


def test_two_authorities_have_two_names() -> None:
    names = {load_signer(make_authority(NOW), "here").certificate.subject for _ in range(5)}
    assert len(names) == 5


def test_a_key_is_not_in_its_repr() -> None:
    pair = make_authority(NOW)
    assert "PRIVATE" not in repr(pair)
    assert "PRIVATE" not in repr(Pair(pair.certificate, pair.key))
