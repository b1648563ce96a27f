"""A mosquitto set up by our own commands alone: authority, certificates, settings, rules."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Self

from cloud_bridge.main import main
from cloud_bridge.trust.authority import Authority
from cloud_bridge.trust.certificates import Pair, load_signer, sign
from cloud_bridge.trust.files import write_files
from cloud_bridge.trust.names import Role
from tests.kit.broker import Broker, free_port
from tests.kit.peer import Peer
from tests.tools import REPOSITORY

OBSERVER, CHECKER = "observer", "checker"
"""One name has one session: who watches all along must not be called as who looks briefly."""


def run_cloud(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """`lookout-cloud` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cloud_bridge.main", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=60.0,
        check=False,
    )


def cloud(*words: str | Path) -> str:
    """The same in this process; what it says. Raises AssertionError with its complaint."""
    said, complained = StringIO(), StringIO()
    with redirect_stdout(said), redirect_stderr(complained):
        code = main([str(word) for word in words])
    if code != 0:
        raise AssertionError(f"lookout-cloud {words}: {code}: {complained.getvalue()}")
    return said.getvalue()


class TrustedBroker:
    """devices: registry -> names. A context manager; the broker runs inside it.

    Two more clients may do everything: observer and checker, which only tests have.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        devices: Mapping[str, Sequence[str]],
        bridges: Sequence[str] = ("bridge-home",),
        max_connections: int = 256,
    ) -> None:
        self.folder = folder
        self.ca_dir = folder / "ca"
        self.broker_dir = folder / "broker"
        self.pid_file = folder / "mosquitto.pid"
        self.port = free_port()
        self._max_connections = max_connections
        for registry, names in devices.items():
            for name in names:
                self.cloud("device", "add", name, "--registry", registry, output=folder / name)
        for bridge in bridges:
            self.cloud("broker", "bridge", bridge, output=folder / bridge)
        self.cloud("broker", "certificate", "localhost", "127.0.0.1", output=self.broker_dir)
        self.registries = tuple(devices)
        self.write_settings()
        with Authority(self.ca_dir, lambda: datetime.now(UTC), may_make=False) as authority:
            for name in (OBSERVER, CHECKER):
                pair, _ = authority.issue(name, "bridge", timedelta(days=1))
                self.write_login(name, pair)
        self.broker = Broker(program, folder / "mosquitto", self._lines(), self.port)

    def __enter__(self) -> Self:
        self.broker.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.broker.__exit__(kind, value, traceback)

    @property
    def ca(self) -> Path:
        return self.broker_dir / "ca.crt"

    def cloud(self, *words: str | Path, output: Path | None = None) -> str:
        """One of our commands, on this authority."""
        more = () if output is None else ("--output", output)
        return cloud(*words, "--ca-dir", self.ca_dir, *more)

    def write_settings(self, *words: str | Path) -> None:
        """As `broker settings` makes them, with rules for the observers."""
        registries = [word for name in self.registries for word in ("--registry", name)]
        self.cloud(
            "broker", "settings", *registries, "--install-dir", self.broker_dir,
            "--port", str(self.port), "--max-connections", str(self._max_connections), *words,
            output=self.broker_dir,
        )  # fmt: skip
        rules = self.broker_dir / "acl"
        text = rules.read_text()
        for name in (OBSERVER, CHECKER):
            text += f"\nuser {name}\ntopic readwrite #\ntopic read $SYS/#\n"
        rules.write_text(text)

    def write_login(self, name: str, pair: Pair) -> None:
        files = {"device.crt": (pair.certificate, 0o644), "device.key": (pair.key, 0o600)}
        write_files(self.folder / name, files)

    def signed(
        self,
        name: str,
        now: datetime,
        life: timedelta = timedelta(days=2),
        role: Role = "device",
    ) -> Pair:
        """By the same authority at another time; in no ledger. A broker's is for `localhost`."""
        pair = Pair((self.ca_dir / "ca.crt").read_bytes(), (self.ca_dir / "ca.key").read_bytes())
        signer = load_signer(pair, "the kit")
        made, _ = sign(
            signer,
            name=name,
            role=role,
            registry=None,
            hosts=("localhost", "127.0.0.1") if role == "broker" else (),
            now=now,
            life=life,
        )
        return made

    def login(self, name: str) -> tuple[Path, Path]:
        """Certificate and key, wherever they lie in the folder of that name."""
        folder = self.folder / name
        [certificate] = [each for each in folder.glob("*.crt") if each.name != "ca.crt"]
        [key] = folder.glob("*.key")
        return certificate, key

    def peer(
        self, name: str, will: tuple[str, bytes] | None = None, client_id: str = "whatever"
    ) -> Peer:
        """Raises RefusedError."""
        return Peer(self.port, self.ca, self.login(name), will, client_id)

    def revoke(self, name: str, *words: str) -> str:
        """As a person on the broker's machine does it."""
        return self.cloud(
            "device", "revoke", name, "--broker-dir", self.broker_dir, "--pid-file", self.pid_file,
            "--broker", "localhost", "--port", str(self.port), *words,
        )  # fmt: skip

    def _lines(self) -> list[str]:
        text = (self.broker_dir / "lookout.conf").read_text()
        return [
            f"pid_file {self.pid_file}",
            *(line for line in text.splitlines() if line and not line.startswith("#")),
        ]
