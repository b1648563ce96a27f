"""Who gets in, who is thrown out, and what is too large: on a real mosquitto, set up by our own
commands alone."""

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import get_args

import pytest

from cloud_bridge.errors import ConfigError
from cloud_bridge.trust.certificates import Pair
from cloud_bridge.trust.knock import Door, is_let_in
from device.config import MqttConfig
from tests.kit.certificates import Authority as OpensslAuthority
from tests.kit.peer import Peer, RefusedError
from tests.kit.trust import CHECKER, OBSERVER, TrustedBroker, cloud, run_cloud
from tests.kit.waiting import wait_until
from tests.tools import REPOSITORY, require_tool

STATE = "home/devices/garden/state"


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustedBroker]:
    """Not to be revoked in: several tests share it."""
    folder: Path = tmp_path_factory.mktemp("trusted")
    with TrustedBroker(require_tool("mosquitto"), folder, {"home": ("garden", "shed")}) as broker:
        yield broker


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[TrustedBroker]:
    devices = {"home": ("garden", "shed")}
    with TrustedBroker(require_tool("mosquitto"), tmp_path, devices) as broker:
        yield broker


def is_refused(trusted: TrustedBroker, login: tuple[Path, Path] | None) -> bool:
    """And nothing that it says arrives."""
    with trusted.peer(CHECKER) as watcher:
        watcher.subscribe("#")
        try:
            with Peer(trusted.port, trusted.ca, login) as peer:
                peer.publish(STATE, b"from a stranger")
        except RefusedError:
            watcher.settle()
            assert b"from a stranger" not in [payload for _, payload, _ in watcher.messages]
            return True
    return False


# --- who gets in --------------------------------------------------------------------------------


def test_boxes_and_bridges_get_in_under_their_own_names(trusted: TrustedBroker) -> None:
    for name in ("garden", "shed", "bridge-home"):
        assert not is_refused(trusted, trusted.login(name))


def test_nobody_gets_in_without_a_certificate(trusted: TrustedBroker) -> None:
    assert is_refused(trusted, None)


def test_nobody_gets_in_with_a_foreign_certificate(trusted: TrustedBroker, tmp_path: Path) -> None:
    stranger = OpensslAuthority(require_tool("openssl"), tmp_path)
    assert is_refused(trusted, stranger.sign("garden"))


def test_an_authority_of_the_same_name_is_still_another(
    trusted: TrustedBroker, tmp_path: Path
) -> None:
    openssl = require_tool("openssl")
    subject = subprocess.run(
        [openssl, "x509", "-in", trusted.ca_dir / "ca.crt", "-noout", "-subject", "-nameopt",
         "multiline"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    name = subject.rpartition("= ")[2].strip()
    assert name.startswith("Lookout authority")
    assert is_refused(trusted, OpensslAuthority(openssl, tmp_path, name).sign("garden"))


@pytest.mark.parametrize("days", [-3, 3], ids=["expired", "not yet valid"])
def test_a_certificate_counts_only_in_its_time(
    trusted: TrustedBroker, tmp_path: Path, days: int
) -> None:
    made_at = datetime.now(UTC) + timedelta(days=days)
    trusted.write_login("mistimed", trusted.signed("garden", made_at, timedelta(days=1)))
    assert is_refused(trusted, trusted.login("mistimed"))


def test_the_brokers_certificate_is_no_login(trusted: TrustedBroker) -> None:
    assert is_refused(trusted, trusted.login("broker"))


def test_a_boxs_certificate_makes_no_broker(trusted: TrustedBroker) -> None:
    certificate, key = trusted.login("garden")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pose() -> None:
            raw, _ = listener.accept()
            with raw:
                try:
                    context.wrap_socket(raw, server_side=True).close()
                except OSError:
                    return

        posing = Thread(target=pose, daemon=True)
        posing.start()
        port = listener.getsockname()[1]
        shed = Pair(*(path.read_bytes() for path in trusted.login("shed")))
        with pytest.raises(ConfigError, match="is not a broker of this authority"):
            is_let_in(Door("127.0.0.1", port, trusted.ca.read_bytes()), shed, "shed")
        posing.join(timeout=10.0)


def test_a_broker_of_another_name_is_not_taken_for_ours(trusted: TrustedBroker) -> None:
    shed = Pair(*(path.read_bytes() for path in trusted.login("shed")))
    door = Door("127.0.0.2", trusted.port, trusted.ca.read_bytes())
    with pytest.raises(ConfigError, match="want the host's name as in the broker's certificate"):
        is_let_in(door, shed, "shed")


def test_without_tls_nothing_is_said(trusted: TrustedBroker) -> None:
    with socket.create_connection(("127.0.0.1", trusted.port), 10.0) as raw:
        raw.sendall(b"\x10\x14\x00\x04MQTT\x05\x02\x00\x1e\x00\x00\x07bridge-")
        try:
            answer = raw.recv(100)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"\x20")  # no CONNACK


@pytest.mark.parametrize("version", ["-tls1_1", "-tls1_2"])
def test_an_old_tls_is_refused(trusted: TrustedBroker, version: str) -> None:
    certificate, key = trusted.login("garden")
    ended = subprocess.run(
        [require_tool("openssl"), "s_client", "-connect", f"localhost:{trusted.port}", version,
         "-cipher", "DEFAULT:@SECLEVEL=0", "-CAfile", trusted.ca, "-cert", certificate,
         "-key", key],
        input="", capture_output=True, text=True, check=False, timeout=30.0,
    )  # fmt: skip
    assert (ended.returncode == 0) is (version == "-tls1_2")


def test_a_client_cannot_choose_another_name(trusted: TrustedBroker) -> None:
    with trusted.peer("garden") as garden:
        # The shed's client id would throw the garden off, if it were believed.
        trusted.peer("shed", client_id="garden").leave()
        garden.settle()
        assert garden.is_alive()


# --- size and number ----------------------------------------------------------------------------


def test_the_largest_event_passes_and_a_larger_message_does_not(trusted: TrustedBroker) -> None:
    topic = "home/devices/garden/events/detection"
    with trusted.peer(OBSERVER) as watcher, trusted.peer("garden") as garden:
        watcher.subscribe("#")
        assert garden.publish(topic, bytes(64 * 1024)) == 0
        with pytest.raises(RefusedError):
            garden.publish(topic, bytes(131_072))
        watcher.settle()
        assert [len(payload) for _, payload, _ in watcher.messages] == [64 * 1024]


def test_a_box_is_told_how_much_may_be_under_way(trusted: TrustedBroker) -> None:
    with trusted.peer("garden") as garden:
        assert garden.receive_maximum == 2000
        assert garden.maximum_packet_bytes == 131_072


def test_no_more_are_let_in_than_the_settings_say(tmp_path: Path) -> None:
    devices = {"home": ("garden", "shed", "attic")}
    with TrustedBroker(require_tool("mosquitto"), tmp_path, devices, max_connections=2) as broker:
        names = ("garden", "shed", "attic")
        # Each try is three handshakes; the broker frees a place a moment after one has left.
        wait_until(lambda: len(connected(broker, names)) == 2, "two of three", timeout_s=60.0)


def connected(broker: TrustedBroker, names: tuple[str, ...]) -> list[str]:
    peers = {}
    for name in names:
        try:
            peers[name] = broker.peer(name)
        except RefusedError:
            continue
    alive = [name for name, peer in peers.items() if peer.is_alive()]
    for peer in peers.values():
        peer.leave()
    return alive


# --- renewed and revoked ------------------------------------------------------------------------


def test_the_old_certificate_works_until_the_new_one_has_connected(fresh: TrustedBroker) -> None:
    old = fresh.peer("garden")
    fresh.cloud("device", "renew", "garden", output=fresh.folder / "renewed")
    assert old.publish(STATE, b"still the old one") in (0, 16)
    with fresh.peer("renewed") as new:
        assert new.publish(STATE, b"now the new one") in (0, 16)
        # One name has one session: the old connection ended when the new one came.
        wait_until(lambda: not old.is_alive(), "the old connection has ended")
        # Until it is revoked, the old one could come back.
        assert not is_refused(fresh, fresh.login("garden"))
    told = fresh.revoke("garden", "--old")
    assert "garden: certificates revoked: 1" in told
    assert is_refused(fresh, fresh.login("garden"))
    assert not is_refused(fresh, fresh.login("renewed"))


def test_a_revoked_box_is_refused_and_its_session_dropped(fresh: TrustedBroker) -> None:
    with fresh.peer(OBSERVER) as watcher, fresh.peer("shed") as shed:
        watcher.subscribe("#")
        garden = fresh.peer("garden", will=("home/devices/garden/availability", b"offline"))
        assert garden.publish(STATE, b"alive") == 0
        told = fresh.revoke("garden")
        assert "its session ended" in told
        wait_until(lambda: not garden.is_alive(), "the session is dropped")
        assert is_refused(fresh, fresh.login("garden"))
        assert shed.is_alive()
        assert shed.publish("home/devices/shed/state", b"alive") == 0
        watcher.settle()
        said = [topic for topic, payload, _ in watcher.messages if payload == b"offline"]
        assert said == ["home/devices/garden/availability"]
    # Again is no harm, and a box can be let in again.
    assert "certificates revoked: 0" in fresh.revoke("garden")
    fresh.cloud("device", "add", "garden", "--force", output=fresh.folder / "garden")
    assert not is_refused(fresh, fresh.login("garden"))


def test_a_revocation_that_the_broker_has_not_read_is_no_success(fresh: TrustedBroker) -> None:
    with fresh.peer("garden") as garden:
        ended = run_cloud(
            "device", "revoke", "garden", "--ca-dir", fresh.ca_dir,
            "--broker", "localhost", "--port", str(fresh.port),
        )  # fmt: skip
        assert ended.returncode == 75
        assert "still lets a revoked certificate in" in ended.stderr
        assert garden.is_alive()  # throwing it off would be for show: it would come back
    assert "its session ended" in fresh.revoke("garden")


def test_a_bridge_can_be_revoked_too(fresh: TrustedBroker) -> None:
    assert "its session ended" in fresh.revoke("bridge-home")
    assert is_refused(fresh, fresh.login("bridge-home"))
    assert not is_refused(fresh, fresh.login("garden"))


def test_revoked_stays_revoked_when_the_broker_starts_again(fresh: TrustedBroker) -> None:
    fresh.revoke("garden")
    fresh.broker.stop()
    fresh.broker.start()
    assert is_refused(fresh, fresh.login("garden"))
    assert not is_refused(fresh, fresh.login("shed"))


def test_the_brokers_own_certificate_is_renewed_without_a_restart(fresh: TrustedBroker) -> None:
    with fresh.peer("garden") as garden:
        before = presented(fresh)
        fresh.cloud(
            "broker", "certificate", "localhost", "127.0.0.1", "--force", output=fresh.broker_dir
        )
        fresh.revoke("shed")  # tells the broker to read its files again
        assert presented(fresh) != before
        assert garden.is_alive()


def presented(broker: TrustedBroker) -> bytes | None:
    context = ssl.create_default_context(cafile=str(broker.ca))
    context.load_cert_chain(*broker.login(OBSERVER))
    with (
        socket.create_connection(("127.0.0.1", broker.port), 10.0) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        return connection.getpeercert(binary_form=True)


def test_one_authority_takes_over_from_another(fresh: TrustedBroker) -> None:
    """The steps of docs/certificates.md, in its order; nobody is locked out between two of them."""
    next_ca = fresh.folder / "next-ca"

    def step() -> None:
        fresh.broker.stop()  # mosquitto reads ca.crt at its start alone
        fresh.broker.start()

    def get_in(*names: str) -> None:
        for name in names:
            assert not is_refused(fresh, fresh.login(name)), name

    # 1. A new authority; the broker trusts both.
    cloud("broker", "bridge", "bridge-next", "--ca-dir", next_ca, "--output", fresh.folder / "n")
    fresh.write_settings("--also-trust", str(next_ca))
    step()
    get_in("garden", "shed", "bridge-home")
    # 2. Boxes and bridges get logins from the new one, and trust both.
    for name in ("garden", "shed"):
        cloud("device", "add", name, "--ca-dir", next_ca, "--also-trust", fresh.ca_dir,
              "--output", fresh.folder / f"{name}-next")  # fmt: skip
        settings = (fresh.folder / f"{name}-next" / "ca.crt").read_text()
        assert settings.count("BEGIN CERTIFICATE") == 2
    get_in("garden-next", "shed-next", "garden", "n")
    # 3. The broker gets a certificate from the new one.
    cloud("broker", "certificate", "localhost", "127.0.0.1", "--force", "--ca-dir", next_ca,
          "--also-trust", fresh.ca_dir, "--output", fresh.broker_dir)  # fmt: skip
    step()
    with Peer(
        fresh.port, fresh.folder / "garden-next" / "ca.crt", fresh.login("garden-next")
    ) as garden:
        assert garden.is_alive()
    # 4. The old one is no longer trusted.
    cloud("broker", "settings", "--registry", "home", "--ca-dir", next_ca, "--port",
          str(fresh.port), "--install-dir", fresh.broker_dir,
          "--output", fresh.broker_dir)  # fmt: skip
    step()
    with Peer(fresh.port, fresh.ca, fresh.login("garden-next")) as garden:
        assert garden.is_alive()
    with pytest.raises(RefusedError):
        Peer(fresh.port, fresh.ca, fresh.login("garden"))


# --- what is handed out -------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", get_args(MqttConfig.model_fields["delivery"].annotation))
def test_the_settings_file_is_taken_by_the_box(
    trusted: TrustedBroker, tmp_path: Path, delivery: str
) -> None:
    trusted.cloud(
        "device", "add", f"porch-{delivery}", "--delivery", delivery, "--broker", "broker.local",
        output=tmp_path / "porch",
    )  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "device.main", "config", "check", "--config",
         tmp_path / "porch" / "lookout.toml"],
        capture_output=True, text=True, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")


def test_debians_own_settings_take_ours_beside_them(tmp_path: Path) -> None:
    mosquitto = require_tool("mosquitto")
    trusted = TrustedBroker(mosquitto, tmp_path, {"home": ("garden",)})
    drop_ins = tmp_path / "conf.d"
    drop_ins.mkdir()
    (drop_ins / "lookout.conf").write_bytes((trusted.broker_dir / "lookout.conf").read_bytes())
    (tmp_path / "lib").mkdir()
    # As the package ships it, but for the folders.
    (tmp_path / "mosquitto.conf").write_text(
        f"pid_file {tmp_path}/mosquitto.pid\n\npersistence true\n"
        f"persistence_location {tmp_path}/lib/\n\nlog_dest file {tmp_path}/mosquitto.log\n\n"
        f"include_dir {drop_ins}\n"
        "user root\n"
    )
    process = subprocess.Popen(
        [mosquitto, "-c", tmp_path / "mosquitto.conf"], stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: lets_in(trusted, "garden"), "the broker lets the box in")
        assert (tmp_path / "lib").is_dir()
    finally:
        process.terminate()
        assert process.wait(timeout=10.0) == 0


def lets_in(trusted: TrustedBroker, name: str) -> bool:
    try:
        trusted.peer(name).leave()
    except RefusedError:
        return False
    return True
