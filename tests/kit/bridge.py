"""`lookout-cloud bridge` in a process of its own, with its events, settings and topics."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.kit.processes import Process, Spawn, fresh
from tests.kit.pubsub_clients import Pubsub
from tests.kit.pubsub_server import REPOSITORY
from tests.kit.waiting import wait_until

PROJECT = "some-project"
EVENTS = f"projects/{PROJECT}/topics/lookout-events"
STATES = f"projects/{PROJECT}/topics/lookout-state"
DOWNLINK = f"projects/{PROJECT}/topics/lookout-downlink"
RUN = "1-9f2c1a7b"


def event_payload(
    seq: int,
    device: str = "garden",
    registry: str = "home",
    run: str = RUN,
    kind: str = "detection.began",
    pad: int = 0,
    **changes: object,
) -> bytes:
    """An event as a box writes it, though its body is short. pad: so many bytes more."""
    message: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{device}:{run}:{seq}",
        "source": f"/{registry}/devices/{device}",
        "type": f"lookout.{kind}",
        "subject": "whole/cat",
        "time": "2026-11-24T12:00:02.000000Z",
        "datacontenttype": "application/json",
        "data": {"run": run, "seq": seq, "mono_ns": seq, "durable": True, "pad": "x" * pad},
        **changes,
    }
    return json.dumps(message, separators=(",", ":")).encode()


def settings_text(
    folder: Path,
    broker_port: int,
    more: Mapping[str, str] | None = None,
    registry: str = "home",
) -> str:
    """TOML. more: lines by table, "" for the top."""
    tables = {
        "": f'registries = ["{registry}"]\nstate_dir = "{folder}"\n',
        "mqtt": f'host = "127.0.0.1"\nport = {broker_port}\n',
        "pubsub": f'project = "{PROJECT}"\ncheck_s = 1\n',
        "dead_letters": "",
    }
    for table, lines in (more or {}).items():
        tables[table] = tables.get(table, "") + lines
    return "\n".join(f"[{name}]\n{text}" if name else text for name, text in tables.items())


class BridgeProcess:
    """A context manager that leaves no process behind.

    folder: of its settings and its log. command: what runs instead, for doubles; it is given
    `--config`. state_dir: on a disk of its own; else `folder`.
    """

    def __init__(
        self,
        folder: Path,
        broker_port: int,
        pubsub_host: str,
        more: Mapping[str, str] | None = None,
        command: Sequence[str] = ("-m", "cloud_bridge.main", "bridge"),
        state_dir: Path | None = None,
        spawn: Spawn = fresh,
        registry: str = "home",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings = folder / "bridge.toml"
        self.settings.write_text(settings_text(state_dir or folder, broker_port, more, registry))
        self.log_path = folder / "bridge.log"
        self._command = [sys.executable, *command, "--config", str(self.settings)]
        self.environment = {**os.environ, "PUBSUB_EMULATOR_HOST": pubsub_host}
        self._spawn = spawn
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self.kill()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AssertionError("the bridge is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Wait with `wait_for_log("broker connected")` for its first session: what comes earlier,
        a broker drops."""
        with self.log_path.open("ab") as log:
            self._process = self._spawn(self._command, 1, log.fileno(), self.environment)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As systemd does; its exit code."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Until it ends by itself; its exit code."""
        process, self._process = self._process, None
        if process is None:
            raise AssertionError("the bridge is not running")
        try:
            return process.wait(timeout=20.0)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            raise AssertionError("the bridge is not running")
        process.send_signal(how)
        return process.wait(timeout=10.0)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, words: str, timeout_s: float = 20.0) -> None:
        wait_until(lambda: words in self.log, f"{words!r} in the log", timeout_s)

    def background(self, *words: str) -> "subprocess.Popen[str]":
        """As `command`, and it runs on."""
        return subprocess.Popen(
            [sys.executable, "-m", "cloud_bridge.main", *words, "--config", str(self.settings)],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of `lookout-cloud` with the same settings."""
        return subprocess.run(
            [sys.executable, "-m", "cloud_bridge.main", *words, "--config", str(self.settings)],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30.0,
            check=False,
        )


def make_topics(pubsub: Pubsub, topics: Iterable[str] = (EVENTS, STATES)) -> None:
    for topic in topics:
        pubsub.publisher.create_topic(name=topic)


def collect(pubsub: Pubsub, subscription: str, ids: set[str], timeout_s: float = 30.0) -> list[str]:
    """The `ce-id` of what a subscription holds, repeats too, until all of `ids` came."""
    found: list[str] = []
    missing = set(ids)

    def all_came() -> bool:
        received = pubsub.pull(subscription, 1000)
        if received:
            pubsub.acknowledge(subscription, received)
        for each in received:
            found.append(each.message.attributes["ce-id"])
            missing.discard(found[-1])
        return not missing

    try:
        wait_until(all_came, "all events at the subscriber", timeout_s, every_s=0.05)
    except AssertionError as exc:
        raise AssertionError(
            f"{exc}; {len(missing)} missing, such as {sorted(missing)[:3]}"
        ) from exc
    return found
