"""`lookout-cloud hub` in a process of its own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cloud_bridge.config import HUB_PROJECT
from tests.kit.bridge import BridgeProcess
from tests.kit.broker import free_port, is_listening
from tests.kit.waiting import wait_until

EVENTS = f"projects/{HUB_PROJECT}/subscriptions/lookout-events-dashboard"
STATES = f"projects/{HUB_PROJECT}/subscriptions/lookout-state-dashboard"
NOWHERE = "127.0.0.1:1"


class HubProcess(BridgeProcess):
    """Its environment names a Pub/Sub that nobody serves: a hub and its commands must not care.

    folder: new. data_dir: `folder/data` if none is named. more: lines by table, "" for the top.
    """

    def __init__(
        self,
        folder: Path,
        broker_port: int,
        more: Mapping[str, str] | None = None,
        command: Sequence[str] = ("-m", "cloud_bridge.main", "hub"),
        data_dir: Path | None = None,
    ) -> None:
        super().__init__(folder, broker_port, NOWHERE, command=command)
        self.data_dir = data_dir or folder / "data"
        self.port = free_port()
        tables = {
            "": "",
            "hub": f'data_dir = "{self.data_dir}"\nport = {self.port}\n',
            "mqtt": f"port = {broker_port}\n",
            **{name: "" for name in more or {} if name not in ("", "hub", "mqtt")},
        }
        for name, lines in (more or {}).items():
            tables[name] += lines
        self.settings.write_text(
            "\n".join(f"[{name}]\n{text}" if name else text for name, text in tables.items())
        )

    @property
    def host(self) -> str:
        """As `PUBSUB_EMULATOR_HOST` wants it."""
        return f"127.0.0.1:{self.port}"

    @property
    def status(self) -> dict[str, Any]:
        """Of its bridge; with nothing in it while there is none."""
        path = self.data_dir / "bridge" / "status.json"
        nothing: dict[str, Any] = {"counts": {}, "now": {}, "troubles": {}}
        return nothing | (json.loads(path.read_text()) if path.exists() else {})

    def wait_until_served(self) -> None:
        """Its Pub/Sub answers, after a further `start` too."""
        wait_until(lambda: is_listening(self.port), "its Pub/Sub listens", 20.0)
