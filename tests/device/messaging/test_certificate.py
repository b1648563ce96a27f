"""When a certificate ends, read from what openssl makes, and from what nobody should make."""

import ssl
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.messaging.certificate import CertificateError, expiry_ns, read_expiry_ns
from tests.tools import require_tool

ENDS_NS = 2_019_783_845_000_000_000  # 2034-01-02T03:04:05Z


def made(folder: Path, end: str, *, begin: str = "200101000000Z") -> bytes:
    """A certificate that ends at `end`, as openssl writes times."""
    openssl = require_tool("openssl")
    key, request, path = folder / "key.pem", folder / "request.pem", folder / "made.pem"
    (folder / "index").write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={folder}/index\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n"
    )
    for words in (
        ("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key),
        ("req", "-new", "-key", key, "-subj", "/CN=garden", "-out", request),
        (
            "ca",
            "-batch",
            "-config",
            folder / "ca.cnf",
            "-selfsign",
            "-keyfile",
            key,
            "-in",
            request,
            "-startdate",
            begin,
            "-enddate",
            end,
            "-notext",
            "-out",
            path,
        ),
    ):
        subprocess.run([openssl, *words], check=True, capture_output=True)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("end", "moment"),
    [
        ("340102030405Z", datetime(2034, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("491231235959Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("20660102030405Z", datetime(2066, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("99991231235959Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_end_is_read_in_both_forms_of_time(tmp_path: Path, end: str, moment: datetime) -> None:
    pem = made(tmp_path, end)
    assert expiry_ns(pem) == round(moment.timestamp()) * 1_000_000_000
    # Text around it, and a chain behind it, change nothing.
    assert expiry_ns(b"subject=garden\r\n" + pem + b"\n" + pem) == expiry_ns(pem)


def test_the_file_is_read_and_what_is_none_is_nothing(tmp_path: Path) -> None:
    made(tmp_path, "340102030405Z")
    assert read_expiry_ns(tmp_path / "made.pem") == ENDS_NS
    assert read_expiry_ns(tmp_path / "none.pem") is None
    assert read_expiry_ns(tmp_path) is None
    assert read_expiry_ns(tmp_path / "key.pem") is None


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nMII=B\xff\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_certificate_is_said_to_be_none(pem: bytes) -> None:
    with pytest.raises(CertificateError):
        expiry_ns(pem)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    pem = made(tmp_path_factory.mktemp("pki"), "340102030405Z")
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def pem_of(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_changed_cut_or_foreign_bytes_are_a_time_or_a_certificate_error(
    whole: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    junk = data.draw(st.binary(max_size=8))
    for der in (whole[:at], whole[:at] + junk + whole[at + len(junk) :], junk):
        with suppress(CertificateError):
            expiry_ns(pem_of(der))  # any other error fails the test
