"""Certificates under `kill -9`: at whatever file a command dies, the same one again mends it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloud_bridge.errors import ConfigError
from cloud_bridge.main import main
from cloud_bridge.trust.ledger import parse_ledger
from tests.tools import REPOSITORY

KILLED = 137
WRITES_AT_MOST = 20


def deaths(*words: str) -> Iterator[int]:
    """The command dies before its first file has its name, before its second, and so on; it ends
    when it lives on, with how often it died."""
    for count in range(1, WRITES_AT_MOST):
        ended = subprocess.run(
            [sys.executable, "-m", "tests.cloud_bridge.commands.dying", str(count), *words],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
        )
        if ended.returncode == 0:
            return
        assert ended.returncode == KILLED, ended.stderr
        yield count
    raise AssertionError(f"it writes more than {WRITES_AT_MOST} files")


def fits(folder: Path) -> bool:
    """Key and certificate are a pair."""
    key = load_pem_private_key((folder / "device.key").read_bytes(), password=None)
    certificate = x509.load_pem_x509_certificate((folder / "device.crt").read_bytes())
    return key.public_key() == certificate.public_key()


def test_a_box_is_added_at_last_by_an_authority_that_was_made_once(tmp_path: Path) -> None:
    for count in deaths("device", "add", "garden", "--ca-dir", str(tmp_path / "ca"),
                        "--output", str(tmp_path / "box"), "--force"):  # fmt: skip
        authorities = [path.read_bytes() for path in (tmp_path / "ca").glob("ca.crt")]
        if count > 4:  # ledger, list, key and certificate of the authority itself
            assert len(authorities) == 1
        last = authorities
    assert fits(tmp_path / "box")
    assert [(tmp_path / "ca" / "ca.crt").read_bytes()] == last
    assert main(["device", "list", "--ca-dir", str(tmp_path / "ca")]) == 0


def test_a_renewal_and_a_revocation_may_die_at_any_file(tmp_path: Path) -> None:
    ca, box = tmp_path / "ca", tmp_path / "box"
    words = ("--ca-dir", str(ca))
    assert main(["device", "add", "garden", *words, "--output", str(box)]) == 0
    died = list(deaths("device", "renew", "garden", *words, "--output", str(box)))
    assert len(died) >= 4
    assert fits(box)
    # What was handed out before is in the ledger, so nothing counts that could not be revoked.
    assert len(parse_ledger((ca / "ledger.json").read_bytes(), "").of("garden", "device")) > 2
    assert len(list(deaths("device", "revoke", "garden", *words))) >= 2
    ledger = parse_ledger((ca / "ledger.json").read_bytes(), "")
    revoked = {int(each.serial, 16) for each in ledger.of("garden", "device") if each.revoked}
    assert len(revoked) == len(ledger.of("garden", "device"))
    listed = x509.load_pem_x509_crl((ca / "crl.pem").read_bytes())
    assert revoked <= {each.serial_number for each in listed}


def test_what_is_left_of_an_authority_is_not_made_anew(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    assert main(["device", "add", "garden", "--ca-dir", str(ca), "--output", str(ca / "x")]) == 0
    key = (ca / "ca.key").read_bytes()
    ledger = json.loads((ca / "ledger.json").read_text())
    (ca / "ca.crt").unlink()

    def add() -> int:
        return main(["device", "add", "b", "--ca-dir", str(ca), "--output", str(tmp_path / "b")])

    assert add() == ConfigError.exit_code
    (ca / "ca.key").unlink()
    assert add() == ConfigError.exit_code
    assert json.loads((ca / "ledger.json").read_text()) == ledger
    (ca / "ca.key").write_bytes(key)
    (ca / "ledger.json").unlink()
    assert add() == ConfigError.exit_code
    assert (ca / "ca.key").read_bytes() == key
