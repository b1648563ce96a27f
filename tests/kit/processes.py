"""How the kit starts Python programs: an interpreter for each, unless a test brings a nursery."""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.tools import REPOSITORY


class Process(Protocol):
    """What `subprocess.Popen` has, as far as the kit needs it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def send_signal(self, how: int, /) -> None: ...

    def wait(self, timeout: float) -> int: ...


class Spawn(Protocol):
    """command: `python -m MODULE ARGUMENT...`; stdout, stderr: open files."""

    def __call__(
        self, command: Sequence[str], stdout: int, stderr: int, env: Mapping[str, str]
    ) -> Process: ...


def fresh(command: Sequence[str], stdout: int, stderr: int, env: Mapping[str, str]) -> Process:
    """Matches `Spawn`."""
    process: Process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=stdout, stderr=stderr, env=env
    )
    return process
