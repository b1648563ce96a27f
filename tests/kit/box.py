"""A running box: `lookout run` as its own process, asked through the commands a person uses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.kit.waiting import wait_until
from tests.tools import REPOSITORY

DEMO_PICTURES = REPOSITORY / "device" / "demo_pictures"


def lookout(*words: str | Path, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
    """One command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "device.main", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=REPOSITORY,
    )


class Box:
    """folder: its own. port: of the broker. more: further settings, TOML."""

    def __init__(
        self,
        folder: Path,
        port: int,
        more: str = "",
        picture_s: float = 0.5,
        frames_per_s: float = 10.0,
    ) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.pins_dir = folder / "pins"
        self.config = folder / "lookout.toml"
        self.log_path = folder / "box.log"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"""
[device]
name = "box"
registry = "test"
state_dir = "state"
[gpio]
driver = "file"
folder = "pins"
[mqtt]
port = {port}
[camera]
source = "pictures"
path = "{DEMO_PICTURES}"
picture_s = {picture_s}
frames_per_s = {frames_per_s}
[outputs.lamp]
pin = 17
[buttons.look]
pin = 22
hold_s = 1.0
[rules.lamp_while_cat]
output = "lamp"
seen = "cat"
[detection]
smoothing_s = 0.0
shortest_s = 0.0
absence_s = 0.0
{more}
""",
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "the box was not started"
        return self._process

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "device.main", "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
            )

        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the box ended: {self.log[-3000:]}")
            return (self.state_dir / "control.sock").exists() and self.ask("status") is not None

        wait_until(answers, "the box answers", timeout_s=30.0)

    def stop(self) -> int:
        """As systemd does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20.0)

    def kill(self) -> None:
        """As nobody should."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def command(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        """`lookout WORDS --config ITS-FILE`."""
        return lookout(*words, "--config", self.config)

    def ask(self, *words: str) -> dict[str, Any] | None:
        """The one JSON object that a command prints; None when it failed."""
        done = lookout(*words, "--json", "--socket", self.state_dir / "control.sock")
        if done.returncode != 0:
            return None
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def pin(self, output: str) -> str | None:
        """`1`, `0`, or None while there is no such file."""
        path = self.pins_dir / f"out-{output}"
        return path.read_text().strip() if path.exists() else None

    def press(self, button: str, level: str) -> None:
        """What a finger does to the button's file."""
        (self.pins_dir / f"button-{button}").write_text(f"{level}\n")
