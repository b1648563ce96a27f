"""Listens on the Unix socket and answers one command a connection, each on a thread of its own."""

import logging
import select
import socket
import stat
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Event, Lock, Thread, current_thread
from time import monotonic

from pydantic import ValidationError

from device.control.address import address_of
from device.errors import ConfigError, ExitCode, LookoutError, OutputError, TransientError
from device.ports import Answer, Closed
from device.wire.control import ControlEnd, ControlItem, ControlRequest
from device.wire.text import json_bytes

log = logging.getLogger(__name__)

CONNECTIONS_AT_MOST = 16
REQUEST_BYTES_AT_MOST = 64 * 1024
REQUEST_WITHIN_S = 5.0
SEND_WITHIN_S = 5.0
"""A client that takes nothing for so long is given up."""
END_WITHIN_S = 0.7
SOCKET_MODE = 0o660


class ControlServer:
    """Listens from construction until `close`."""

    def __init__(
        self,
        path: Path,
        answer: Answer,
        request_within_s: float = REQUEST_WITHIN_S,
        send_within_s: float = SEND_WITHIN_S,
    ) -> None:
        """
        Raises:
            TransientError: another process answers on `path`.
            ConfigError: something else than a socket is at `path`.
            OutputError: the socket cannot be made there.
        """
        self._path = path
        self._answer = answer
        self._request_within_s = request_within_s
        self._send_within_s = send_within_s
        self._stop = Event()
        self._lock = Lock()
        self._threads: dict[Thread, socket.socket] = {}
        # Closing the far end wakes whoever waits on this one.
        self._stop_end, self._stop_far_end = socket.socketpair()
        try:
            self._listener = _listen(path)
        except BaseException:
            self._stop_end.close()
            self._stop_far_end.close()
            raise
        self._listener.setblocking(False)
        self._inode = path.stat().st_ino
        self._accepting = Thread(target=self._accept, name="control", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """End every answer, within a second, and remove the socket; may be called twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._stop_far_end.close()
        until_s = monotonic() + END_WITHIN_S
        self._accepting.join(END_WITHIN_S)
        self._listener.close()
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:  # not another instance's
                self._path.unlink()
        with self._lock:
            threads = dict(self._threads)
        for thread in threads:
            thread.join(max(until_s - monotonic(), 0.0))
        for thread, connection in threads.items():
            if thread.is_alive():  # an answer that does not look at `Closed`, or a slow client
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                thread.join(0.05)
        self._forget(None)

    def _accept(self) -> None:
        while True:
            _readable([self._listener, self._stop_end], timeout_s=60.0)
            if self._stop.is_set():
                return
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError as exc:
                # Out of descriptors, or the client has gone again: the next one may be served.
                log.warning("control socket: no connection error=%s", exc)
                self._stop.wait(0.1)
                continue
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        connection.settimeout(self._send_within_s)
        with self._lock:
            is_full = len(self._threads) >= CONNECTIONS_AT_MOST
            if not is_full:
                thread = Thread(
                    target=self._serve, args=(connection,), name="control-answer", daemon=True
                )
                self._threads[thread] = connection
        if is_full:
            busy = TransientError(
                f"the box answers {CONNECTIONS_AT_MOST} commands already: end one that watches, "
                "or try again in a moment"
            )
            with connection, suppress(OSError):
                _send(connection, _end_of(busy))
            return
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._converse(connection)
        except OSError as exc:
            log.debug("control socket: client gone error=%s", exc)
        finally:
            self._forget(current_thread())

    def _forget(self, thread: Thread | None) -> None:
        """The last one out closes what all have waited on."""
        with self._lock:
            if thread is not None:
                del self._threads[thread]
            if self._stop.is_set() and not self._threads and not self._accepting.is_alive():
                self._stop_end.close()

    def _converse(self, connection: socket.socket) -> None:
        try:
            request = self._request(connection)
        except _RequestError as exc:
            _send(connection, _end_of(exc))
            return
        if request is None:
            return
        closed = _Closed(connection, self._stop, self._stop_end)
        with closing(self._answers(request, closed)) as answers:
            for each in answers:
                _send(connection, each)

    def _request(self, connection: socket.socket) -> ControlRequest | None:
        """None: the client left, or the server stops."""
        until_s = monotonic() + self._request_within_s
        line = b""
        while b"\n" not in line:
            readable = _readable([connection, self._stop_end], until_s - monotonic())
            if self._stop.is_set():
                return None
            if not readable:
                raise _RequestError(f"no whole request within {self._request_within_s:g} s")
            part = connection.recv(REQUEST_BYTES_AT_MOST)
            if not part:
                return None
            line += part
            if len(line) > REQUEST_BYTES_AT_MOST:
                raise _RequestError(f"a request of more than {REQUEST_BYTES_AT_MOST} bytes")
        try:
            return ControlRequest.model_validate_json(line.partition(b"\n")[0])
        except ValidationError as exc:
            mistake = exc.errors()[0]
            place = ".".join(map(str, mistake["loc"])) or "line"
            raise _RequestError(f"{place}: {mistake['msg']}") from exc

    def _answers(
        self, request: ControlRequest, closed: Closed
    ) -> Generator[ControlItem | ControlEnd, None, None]:
        """What the answer gives, with exactly one end after it, whatever happens."""
        try:
            with ExitStack() as stack:
                answers = self._answer(request, closed)
                if isinstance(answers, Generator):  # so that its `finally` runs on this thread
                    stack.callback(answers.close)
                for each in answers:
                    yield each
                    if isinstance(each, ControlEnd):
                        return
        except LookoutError as exc:
            yield _end_of(exc)
        except Exception as exc:
            log.exception("command failed command=%s", request.command)
            yield ControlEnd(
                ok=False,
                error=f"{request.command} failed in the box ({type(exc).__name__}: {exc}); "
                "its log has the traceback",
                exit_code=ExitCode.FAILED,
            )
        else:
            yield ControlEnd(ok=True)


class _RequestError(LookoutError):
    """Not a request; the client hears why."""

    exit_code = ExitCode.USAGE

    def __init__(self, found: str) -> None:
        super().__init__(
            f'control socket: {found}; want one line such as {{"command": "status"}} (is this '
            "`lookout` of the same version as the running box?)"
        )


class _Closed:
    """Looks at the socket when it is asked: no thread of its own."""

    def __init__(self, connection: socket.socket, stop: Event, stop_end: socket.socket) -> None:
        self._connection = connection
        self._stop = stop
        self._stop_end = stop_end
        self._is_gone = False

    def is_set(self) -> bool:
        return self.wait(0.0)

    def wait(self, timeout_s: float, /) -> bool:
        until_s = monotonic() + timeout_s
        while not (self._is_gone or self._stop.is_set()):
            readable = _readable([self._connection, self._stop_end], until_s - monotonic())
            if not readable:
                return False
            if self._connection.fileno() in readable:
                try:
                    # More than the request is ignored; nothing at all is the client's end.
                    self._is_gone = not self._connection.recv(4096)
                except OSError:
                    self._is_gone = True
        return True


def _readable(sockets: Sequence[socket.socket], timeout_s: float) -> set[int]:
    """Descriptors that can be read, or are closed. (`select` ends at descriptor 1023.)"""
    poll = select.poll()
    for each in sockets:
        poll.register(each, select.POLLIN)
    return {number for number, _ in poll.poll(max(timeout_s, 0.0) * 1000)}


def _send(connection: socket.socket, message: ControlItem | ControlEnd) -> None:
    connection.sendall(json_bytes(message.model_dump(mode="json", exclude_none=True)) + b"\n")


def _end_of(exc: LookoutError) -> ControlEnd:
    return ControlEnd(ok=False, error=str(exc), exit_code=int(exc.exit_code))


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with address_of(path) as address:
            _make_room(path, address)
            listener.bind(address)
        # Before it listens nobody can connect, so nobody slips in under a laxer mode.
        path.chmod(SOCKET_MODE)
        listener.listen(CONNECTIONS_AT_MOST)
    except OSError as exc:
        listener.close()
        raise OutputError(
            f"control socket {path}: {exc.strerror or exc}; want a folder that this user may "
            "write: [device] control_socket or state_dir"
        ) from exc
    except LookoutError:
        listener.close()
        raise
    return listener


def _make_room(path: Path, address: str) -> None:
    """Remove the socket of a process that was killed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"control socket {path}: something else is there; remove it, or set [device] "
            "control_socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass  # somebody is there, and busy
    raise TransientError(
        f"control socket {path}: another box answers there; stop it, or give this one a "
        "[device] state_dir of its own"
    )
