"""`lookout-cloud broker` as a person types it; the rules themselves: tests/system."""

import json
from pathlib import Path

import pytest
from cryptography import x509

from cloud_bridge.main import main


def run(*words: str | Path, ca: Path) -> int:
    return main([*map(str, words), "--ca-dir", str(ca)])


@pytest.fixture
def ca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Of two boxes in two registries, and a bridge."""
    folder = tmp_path / "ca"
    for name, registry in (("garden", "home"), ("goat", "farm")):
        words = ("device", "add", name, "--registry", registry, "--output", tmp_path / name)
        assert run(*words, ca=folder) == 0
    assert run("broker", "bridge", "bridge-a", "--output", tmp_path / "b", ca=folder) == 0
    capsys.readouterr()
    return folder


def test_one_registry_needs_no_rule_for_a_new_box(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "broker"
    assert run("device", "revoke", "goat", ca=ca) == 0
    assert run("broker", "settings", "--output", out, ca=ca) == 0
    rules = (out / "acl").read_text()
    assert "pattern write home/devices/%u/events/#" in rules
    assert "farm" not in rules
    assert "user bridge-a" in rules
    assert "user garden" not in rules


def test_of_several_registries_each_box_has_rules_of_its_own(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "broker"
    assert run("broker", "settings", "--output", out, ca=ca) == 0
    rules = (out / "acl").read_text()
    assert "pattern" not in rules
    assert "user garden\ntopic write home/devices/garden/events/#" in rules
    assert "user goat\ntopic write farm/devices/goat/events/#" in rules
    run("device", "revoke", "goat", ca=ca)
    assert run("broker", "settings", "--registry", "home", "--registry", "farm",
               "--output", out, ca=ca) == 0  # fmt: skip
    assert "goat" not in (out / "acl").read_text()


def test_one_registry_of_several_lets_no_box_of_another_in(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "broker"
    assert run("broker", "settings", "--registry", "home", "--output", out, ca=ca) == 0
    rules = (out / "acl").read_text()
    # A rule by pattern would give goat, of farm, topics of its own in home.
    assert "pattern" not in rules
    assert "user garden\ntopic write home/devices/garden/events/#" in rules
    assert "goat" not in rules


def test_rules_and_keys_are_for_the_broker_alone(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "broker"
    run("broker", "certificate", "broker.local", "192.168.1.2", "--output", out, ca=ca)
    run("broker", "settings", "--output", out, ca=ca)
    modes = {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()}
    assert modes == {
        "acl": 0o600, "broker.key": 0o600, "broker.crt": 0o644, "ca.crt": 0o644,
        "crl.pem": 0o644, "lookout.conf": 0o644, "lookout.nft": 0o644,
    }  # fmt: skip


def test_the_brokers_certificate_has_its_names_and_addresses(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "broker"
    run("broker", "certificate", "broker.local", "192.168.1.2", "::1", "--output", out, ca=ca)
    certificate = x509.load_pem_x509_certificate((out / "broker.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.local"]
    addresses = names.get_values_for_type(x509.IPAddress)
    assert [str(each) for each in addresses] == ["192.168.1.2", "::1"]


def test_the_settings_name_where_they_will_lie(ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "broker"
    run("broker", "settings", "--output", out, "--install-dir", "/srv/x", "--port", "9883", ca=ca)
    text = (out / "lookout.conf").read_text()
    assert "listener 9883\n" in text
    assert "crlfile /srv/x/crl.pem\n" in text
    assert str(tmp_path) not in text


def test_an_authority_with_no_box_wants_a_registry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = tmp_path / "ca"
    run("broker", "certificate", "localhost", "--output", tmp_path / "broker", ca=ca)
    capsys.readouterr()
    assert run("broker", "settings", "--output", tmp_path / "broker", ca=ca) == 78
    assert "want --registry NAME" in capsys.readouterr().err


def test_what_is_missing_is_said(
    ca: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("device", "revoke", "bridge-a", ca=ca)
    capsys.readouterr()
    run("broker", "settings", "--output", tmp_path / "broker", ca=ca)
    said = capsys.readouterr().out
    assert "no bridge may read yet" in said
    assert "no certificate yet" in said
    run("broker", "settings", "--output", tmp_path / "broker", "--json", ca=ca)
    told = json.loads(capsys.readouterr().out)
    assert (told["registries"], told["bridges"]) == (["farm", "home"], [])


@pytest.mark.parametrize("name", ["garden", "bridge-", "bridge", "bridge-a/b", "Bridge-a"])
def test_a_bridge_is_called_so(name: str, ca: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run("broker", "bridge", name, ca=ca)
    assert ended.value.code == 2


def test_a_key_that_is_there_is_not_written_over(
    ca: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "broker"
    assert run("broker", "certificate", "localhost", "--output", out, ca=ca) == 0
    assert run("broker", "certificate", "localhost", "--output", out, ca=ca) == 73
    assert "--force" in capsys.readouterr().err
    assert run("broker", "certificate", "localhost", "--output", out, "--force", ca=ca) == 0
