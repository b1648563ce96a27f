"""`lookout-cloud device` as a person types it."""

import json
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from cloud_bridge.errors import ExitCode
from cloud_bridge.instance_lock import InstanceLock
from cloud_bridge.main import main


@pytest.fixture
def typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs words with this test's authority; code, what was said, what was complained."""

    def run(*words: str | Path, ca_dir: Path | None = None) -> tuple[int, str, str]:
        code = main([*map(str, words), "--ca-dir", str(ca_dir or tmp_path / "ca")])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


Typed = Callable[..., tuple[int, str, str]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_box_gets_key_certificate_authority_and_settings(typed: Typed, tmp_path: Path) -> None:
    folder = tmp_path / "garden"
    code, said, _ = typed(
        "device", "add", "garden", "--registry", "farm", "--broker", "broker.local",
        "--output", folder,
    )  # fmt: skip
    assert code == 0
    assert "new certificate authority" in said
    assert sorted(path.name for path in folder.iterdir()) == [
        "ca.crt", "device.crt", "device.key", "lookout.toml",
    ]  # fmt: skip
    settings = tomllib.loads((folder / "lookout.toml").read_text())
    assert settings["device"] == {"name": "garden", "registry": "farm"}
    assert settings["mqtt"]["host"] == "broker.local"
    assert settings["mqtt"]["tls"]["key_file"] == "/etc/lookout/device.key"
    certificate = x509.load_pem_x509_certificate((folder / "device.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=garden"


def test_keys_are_for_their_owner_alone_and_never_printed(typed: Typed, tmp_path: Path) -> None:
    everything = ""
    for words in (
        ["device", "add", "garden", "--output", tmp_path / "garden"],
        ["device", "renew", "garden", "--output", tmp_path / "garden", "--json"],
        ["device", "list"],
        ["broker", "certificate", "localhost", "--output", tmp_path / "broker"],
        ["broker", "bridge", "bridge-a", "--output", tmp_path / "bridge"],
        ["broker", "settings", "--output", tmp_path / "broker"],
        ["device", "revoke", "garden"],
    ):
        code, said, complained = typed(*words)
        assert code == 0, complained
        everything += said + complained
    keys = [*tmp_path.rglob("*.key")]
    assert len(keys) == 4
    for path in keys:
        assert mode(path) == 0o600
        secret = path.read_text().splitlines()[1]
        assert secret not in everything
        assert not [
            other
            for other in tmp_path.rglob("*")
            if other.is_file() and other != path and secret in other.read_text()
        ]
    assert mode(tmp_path / "ca") == 0o700
    assert mode(tmp_path / "ca" / "ledger.json") == 0o600


def test_a_name_is_given_once(typed: Typed, tmp_path: Path) -> None:
    assert typed("device", "add", "garden", "--output", tmp_path / "a")[0] == 0
    code, _, complained = typed("device", "add", "garden", "--output", tmp_path / "b")
    assert code == 78
    assert "`lookout-cloud device renew garden`" in complained
    assert not (tmp_path / "b").exists()
    assert typed("device", "add", "garden", "--output", tmp_path / "b", "--force")[0] == 0


def test_a_name_of_another_registry_is_refused_even_by_force(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    code, _, complained = typed(
        "device", "add", "garden", "--registry", "farm", "--output", tmp_path / "b", "--force"
    )
    assert code == 78
    assert "is a box of 'home'" in complained
    typed("device", "revoke", "garden")
    assert (
        typed("device", "add", "garden", "--registry", "farm", "--output", tmp_path / "b")[0] == 0
    )


def test_a_folder_that_holds_a_login_is_not_written_over(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    before = (tmp_path / "a" / "device.key").read_bytes()
    code, _, complained = typed("device", "add", "shed", "--output", tmp_path / "a")
    assert code == 73
    assert "device.key is there already" in complained
    assert (tmp_path / "a" / "device.key").read_bytes() == before
    _, listed, _ = typed("device", "list")
    assert "shed" not in listed  # nothing was issued


def test_renewal_replaces_the_login_and_keeps_the_settings(typed: Typed, tmp_path: Path) -> None:
    folder = tmp_path / "garden"
    typed("device", "add", "garden", "--output", folder, "--days", "30")
    (folder / "lookout.toml").write_text("# mine\n")
    before = (folder / "device.crt").read_bytes()
    assert typed("device", "renew", "garden", "--output", folder)[0] == 0
    assert (folder / "device.crt").read_bytes() != before
    assert (folder / "lookout.toml").read_text() == "# mine\n"
    _, said, _ = typed("device", "list", "--json")
    assert [json.loads(line)["standing"] for line in said.splitlines()] == ["superseded", "valid"]


def test_what_ends_soon_is_listed_as_such(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a", "--days", "30")
    _, said, _ = typed("device", "list")
    assert "device garden of home: ends soon, until" in said


def test_only_the_old_ones_are_revoked_after_a_renewal(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    typed("device", "renew", "garden", "--output", tmp_path / "a")
    _, said, _ = typed("device", "revoke", "garden", "--old", "--json")
    assert len(json.loads(said)["revoked"]) == 1
    _, said, _ = typed("device", "list", "--json")
    assert [json.loads(line)["standing"] for line in said.splitlines()] == ["revoked", "valid"]
    revoked = x509.load_pem_x509_crl((tmp_path / "ca" / "crl.pem").read_bytes())
    assert len(list(revoked)) == 2  # and the canary


def test_what_is_revoked_is_not_renewed(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    typed("device", "revoke", "garden")
    code, _, complained = typed("device", "renew", "garden", "--output", tmp_path / "a")
    assert code == 78
    assert "was revoked on" in complained


def test_the_list_in_the_brokers_folder_keeps_its_mode(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    typed("broker", "settings", "--output", tmp_path / "broker")
    before = (tmp_path / "broker" / "crl.pem").read_bytes()
    assert typed("device", "revoke", "garden", "--broker-dir", tmp_path / "broker")[0] == 0
    assert (tmp_path / "broker" / "crl.pem").read_bytes() != before


@pytest.mark.parametrize("name", ["", "1st", "a b", "a/b", "a+", "#", "ä", "a" * 65, "bridge-x"])
def test_a_name_that_is_none_is_a_mistake_in_the_command_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["device", "add", name, "--ca-dir", str(tmp_path / "ca")])
    assert ended.value.code == 2
    assert "cannot be a box's name" in capsys.readouterr().err
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--broker", "broker.local:8883"),
        ("--broker", 'x"\nevil = "1'),
        ("--broker", "-x"),
        ("--port", "0"),
        ("--days", "0"),
        ("--days", "8000"),
        ("--registry", "a/b"),
        ("--delivery", "maybe"),
    ],
)
def test_a_value_that_is_none_is_a_mistake_in_the_command_line(
    option: str, value: str, tmp_path: Path
) -> None:
    words = ["device", "add", "garden", "--ca-dir", str(tmp_path / "ca"), f"{option}={value}"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["device", "renew", "garden"],
        ["device", "revoke", "garden"],
        ["device", "list"],
        ["broker", "settings"],
    ],
)
def test_without_an_authority_the_folder_is_asked_for_and_not_made(
    typed: Typed, tmp_path: Path, words: list[str]
) -> None:
    code, _, complained = typed(*words)
    assert code == 78
    assert "no certificate authority in" in complained
    assert len(complained.splitlines()) == 1
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize("action", ["renew", "revoke"])
def test_a_name_that_nobody_has_is_told(typed: Typed, tmp_path: Path, action: str) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    code, _, complained = typed("device", action, "nobody")
    assert code == 78
    assert "'nobody' has no certificate" in complained


def spoil_key(ca: Path) -> None:
    (ca / "ca.key").write_text("no key")


def lose_key(ca: Path) -> None:
    (ca / "ca.key").unlink()


def swap_key(ca: Path) -> None:
    assert main(["broker", "bridge", "bridge-x", "--ca-dir", str(ca.parent / "other"),
                 "--output", str(ca.parent / "x")]) == 0  # fmt: skip
    (ca / "ca.key").write_bytes((ca.parent / "other" / "ca.key").read_bytes())


def open_key(ca: Path) -> None:
    (ca / "ca.key").chmod(0o644)


def lose_ledger(ca: Path) -> None:
    (ca / "ledger.json").unlink()


def spoil_ledger(ca: Path) -> None:
    (ca / "ledger.json").write_text('{"version": 1, "crl_number": -1, "certificates": []}')


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (spoil_key, "cannot be read as PEM"),
        (lose_key, "No such file"),
        (swap_key, "ca.key is not the key of ca.crt"),
        (open_key, "can be read by others (mode 0644)"),
        (lose_ledger, "No such file"),
        (spoil_ledger, "is damaged (crl_number:"),
    ],
)
def test_a_damaged_authority_is_told_and_not_replaced(
    typed: Typed, tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    harm(tmp_path / "ca")
    code, _, complained = typed("device", "add", "shed", "--output", tmp_path / "b")
    assert code == 78
    assert said in complained
    assert len(complained.strip().splitlines()) == 1
    assert not (tmp_path / "b").exists()


def test_a_folder_that_cannot_be_made_is_told(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, complained = typed("device", "add", "garden", ca_dir=tmp_path / "file" / "ca")
    assert code == 73
    assert "want a folder that this user can make" in complained
    code, _, complained = typed("device", "add", "garden", "--output", tmp_path / "file" / "x")
    assert code == 73


def test_a_pid_file_that_is_none_is_told(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    code, _, complained = typed("device", "revoke", "garden", "--pid-file", tmp_path / "none")
    assert code == 78
    assert "want mosquitto's pid_file" in complained


@pytest.mark.parametrize("text", ["", "x", "1", "0", "-5", "99999999"])
def test_a_pid_file_that_holds_no_broker_is_told(typed: Typed, tmp_path: Path, text: str) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    (tmp_path / "pid").write_text(text)
    code, _, complained = typed("device", "revoke", "garden", "--pid-file", tmp_path / "pid")
    assert code == 78
    assert "want mosquitto's pid_file" in complained


@pytest.mark.parametrize("option", ["--pid-file", "--broker-dir"])
def test_a_mistyped_path_revokes_nothing(typed: Typed, tmp_path: Path, option: str) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    code, _, complained = typed("device", "revoke", "garden", option, tmp_path / "none")
    assert code == 78
    assert str(tmp_path / "none") in complained
    assert "garden of home: valid" in typed("device", "list")[1]


def test_a_broker_that_does_not_answer_is_tried_again_later(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    code, _, complained = typed(
        "device", "revoke", "garden", "--broker", "127.0.0.1", "--port", "1"
    )
    assert code == 75
    assert "no broker answers at 127.0.0.1:1" in complained


def test_another_process_has_the_authority(typed: Typed, tmp_path: Path) -> None:
    typed("device", "add", "garden", "--output", tmp_path / "a")
    with InstanceLock(tmp_path / "ca", "wait"):
        assert typed("device", "list")[0] == 75


def test_a_box_may_be_called_as_the_brokers_host_is(typed: Typed, tmp_path: Path) -> None:
    ca_words = ("broker", "certificate", "garden", "garden.local", "--output", tmp_path / "broker")
    assert typed(*ca_words)[0] == 0
    assert typed("device", "add", "garden", "--output", tmp_path / "garden")[0] == 0
    assert typed(*ca_words, "--force")[0] == 0
    assert typed("device", "renew", "garden", "--output", tmp_path / "garden")[0] == 0
    code, _, complained = typed("device", "revoke", "garden", "--old")
    assert code == ExitCode.BAD_CONFIG
    assert "--role" in complained
    code, said, _ = typed("device", "revoke", "garden", "--old", "--role", "device", "--json")
    assert code == 0
    assert len(json.loads(said)["revoked"]) == 1
    code, said, _ = typed("device", "list", "--json")
    rows = [json.loads(line) for line in said.splitlines()]
    assert [(each["role"], each["standing"]) for each in rows] == [
        ("broker", "superseded"),
        ("device", "revoked"),
        ("broker", "valid"),
        ("device", "valid"),
    ]
    assert typed("device", "revoke", "garden", "--role", "bridge")[0] == ExitCode.BAD_CONFIG
