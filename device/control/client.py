"""Asks the running box over its Unix socket."""

import json
import socket
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

from device.control.address import address_of
from device.errors import ExitCode, LookoutError, NotRunningError, TransientError
from device.wire.control import ControlEnd, ControlItem

CONNECT_WITHIN_S = 5.0
RETRY_S = 0.02
"""Between two tries to get into a queue that is full."""


class RefusedError(LookoutError):
    """The box said no: its message, and the exit code that it gave."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        known = exit_code in set(ExitCode) and exit_code != ExitCode.OK
        self.exit_code = ExitCode(exit_code) if known else ExitCode.FAILED


def ask(path: Path, command: str, arguments: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """The result of one command; items before it are passed over.

    Raises:
        NotRunningError: no box listens at `path`, or it ended while it answered.
        RefusedError: the box could not do it.
        TransientError: no answer within `timeout_s`.
    """
    until_s = monotonic() + timeout_s
    with _connect(path, timeout_s) as connection:
        lines = _Lines(connection, path)
        _send(connection, path, command, arguments)
        while True:
            message = lines.next(until_s - monotonic())
            if isinstance(message, ControlEnd):
                return _result(message)


def stream(
    path: Path, command: str, arguments: Mapping[str, Any], timeout_s: float | None = None
) -> Generator[dict[str, Any], None, None]:
    """Items as they come, until the box ends the answer or the caller closes the iterator.

    timeout_s: from one item to the next; None waits for ever. Raises as `ask` does.
    """
    with _connect(path) as connection:
        lines = _Lines(connection, path)
        _send(connection, path, command, arguments)
        while True:
            message = lines.next(timeout_s)
            if isinstance(message, ControlEnd):
                _result(message)
                return
            yield message.item


class _Lines:
    """Messages out of a stream of bytes."""

    def __init__(self, connection: socket.socket, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._bytes = bytearray()

    def next(self, timeout_s: float | None) -> ControlItem | ControlEnd:
        until_s = None if timeout_s is None else monotonic() + timeout_s
        scanned = 0
        while (end := self._bytes.find(b"\n", scanned)) < 0:
            scanned = len(self._bytes)
            self._bytes += self._receive(None if until_s is None else until_s - monotonic())
        line = bytes(self._bytes[:end])
        del self._bytes[: end + 1]
        try:
            raw = json.loads(line)
            kind = ControlItem if isinstance(raw, dict) and "item" in raw else ControlEnd
            return kind.model_validate(raw)
        except (ValueError, RecursionError) as exc:
            raise RefusedError(
                f"the answer of {self._path} is none of Lookout's; is this `lookout` of the same "
                "version as the running box?",
                ExitCode.FAILED,
            ) from exc

    def _receive(self, timeout_s: float | None) -> bytes:
        self._connection.settimeout(None if timeout_s is None else max(timeout_s, 0.001))
        try:
            part = self._connection.recv(64 * 1024)
        except TimeoutError as exc:
            raise TransientError(
                f"the box at {self._path} did not answer in time; `systemctl status lookout` and "
                "its journal say more"
            ) from exc
        except OSError as exc:
            raise _gone(self._path) from exc
        if not part:
            raise _gone(self._path)
        return part


def _connect(path: Path, timeout_s: float = CONNECT_WITHIN_S) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    until_s = monotonic() + min(timeout_s, CONNECT_WITHIN_S)
    connection.settimeout(max(until_s - monotonic(), 0.001))
    try:
        with address_of(path) as address:
            while not _is_let_in(connection, address):
                if monotonic() >= until_s:
                    raise TransientError(
                        f"the box at {path} has too many waiting before it; try again in a moment"
                    )
                Event().wait(RETRY_S)
    except TransientError:
        connection.close()
        raise
    except PermissionError as exc:
        connection.close()
        raise NotRunningError(
            f"this user may not speak to the box at {path}; want its group: "
            "sudo usermod -aG lookout USER, then log in again (or use sudo)"
        ) from exc
    except OSError as exc:
        connection.close()
        raise NotRunningError(
            f"no running box answers at {path}; start it with `lookout run`, or `sudo systemctl "
            "start lookout`; if it runs with another settings file, name that with --config"
        ) from exc
    return connection


def _is_let_in(connection: socket.socket, address: str) -> bool:
    """False: its queue is full. A Unix socket does not wait then, whatever its timeout."""
    try:
        connection.connect(address)
    except BlockingIOError:
        return False
    return True


def _send(
    connection: socket.socket, path: Path, command: str, arguments: Mapping[str, Any]
) -> None:
    # Not a ControlRequest: an unknown command is for the box to refuse, which may be newer.
    line = json.dumps({"command": command, "arguments": dict(arguments)}).encode() + b"\n"
    try:
        # The box may have answered already and hung up: what it said can still be read.
        with suppress(ConnectionError):
            connection.sendall(line)
    except OSError as exc:
        raise _gone(path) from exc


def _result(end: ControlEnd) -> dict[str, Any]:
    if not end.ok:
        raise RefusedError(end.error or "the box refused, and does not say why", end.exit_code)
    return end.result


def _gone(path: Path) -> NotRunningError:
    return NotRunningError(
        f"the box at {path} ended while it answered; its journal says why: journalctl -u lookout"
    )
