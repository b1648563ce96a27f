"""The demo's MQTT broker: mosquitto where it is installed, else one that pip brought."""

import importlib.util
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Literal, TypeAlias

from device.errors import TransientError

HOST = "127.0.0.1"
START_WITHIN_S = 10.0

Choice: TypeAlias = Literal["auto", "mosquitto", "pip"]

_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
persistence false
"""

_RUMQTTD = """\
id = 0
[router]
id = 0
max_connections = 32
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "demo"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 131072
max_inflight_count = 100
dynamic_filters = true
"""


class DemoBroker:
    """A broker on a free port of 127.0.0.1, its own process; forgets everything at its end."""

    def __init__(self, folder: Path, choice: Choice = "auto") -> None:
        """folder: for its settings and its log.

        Raises:
            TransientError: there is no broker on the machine, or it does not start.
        """
        self.port = free_port()
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if choice == "mosquitto" and program is None:
            raise TransientError("mosquitto is not installed; want it: `apt install mosquitto`")
        if program is not None and choice != "pip":
            self.name = "mosquitto"
            settings = folder / "mosquitto.conf"
            settings.write_text(_MOSQUITTO.format(host=HOST, port=self.port))
            command = [program, "-c", str(settings)]
        else:
            self.name = "iotcore (a broker from pip)"
            command = _pip_broker(folder, self.port)
        self._log_path = folder / "broker.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except TransientError:
            self.close()
            raise

    def check(self) -> None:
        """Raises TransientError: it has ended by itself."""
        code = self._process.poll()
        if code is not None:
            raise TransientError(
                f"the demo's broker ({self.name}) ended by itself with code {code}; its last "
                f"words: {self._last_words()}"
            )

    def close(self) -> None:
        """End the broker; may be called twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _wait_until_ready(self) -> None:
        pause = Event()
        for _ in range(round(START_WITHIN_S / 0.05)):
            if self._process.poll() is not None:
                break
            with suppress(OSError), socket.create_connection((HOST, self.port), timeout=0.2):
                return
            pause.wait(0.05)
        raise TransientError(
            f"the demo's broker ({self.name}) does not start: {self._last_words()}; "
            "want a machine that lets it listen on 127.0.0.1"
        )

    def _last_words(self) -> str:
        told = self._log_path.read_text(errors="replace").strip().splitlines()[-3:]
        return " / ".join(told) or "no word"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _pip_broker(folder: Path, port: int) -> list[str]:
    if importlib.util.find_spec("iotcore") is None:
        raise TransientError(
            "no MQTT broker for the demo: want mosquitto (`apt install mosquitto`) or "
            "`pip install 'lookout-appliance[demo]'`"
        )
    settings = folder / "broker.toml"
    settings.write_text(_RUMQTTD.format(host=HOST, port=port))
    # The child ends with our end of its standard input, so a killed demo leaves nothing behind.
    return [
        sys.executable,
        "-c",
        "import json, sys; from iotcore._serve import main; "
        "sys.argv[1:] = [json.dumps({'config_path': sys.argv[1]})]; main()",
        str(settings),
    ]
