"""Commands and the box over a real Unix socket."""

import logging
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Queue
from time import monotonic

import pytest

from device.control.client import RefusedError, ask, stream
from device.control.server import CONNECTIONS_AT_MOST, REQUEST_BYTES_AT_MOST, ControlServer
from device.errors import (
    ConfigError,
    ExitCode,
    ModelError,
    NotRunningError,
    OutputError,
    TransientError,
)
from device.ports import Closed
from device.wire.control import ControlEnd, ControlItem, ControlRequest

DEADLINE_S = 5.0


class Box:
    """Answers every command in a way of its own, and remembers how answers ended."""

    def __init__(self) -> None:
        self.ended: Queue[str] = Queue()
        self.started: Queue[str] = Queue()
        self.go_on = threading.Event()

    def answer(self, request: ControlRequest, closed: Closed) -> Iterator[ControlItem | ControlEnd]:
        match request.command:
            case "status":
                yield ControlEnd(ok=True, result={"echo": request.arguments})
            case "watch":
                yield from self._watch(closed)
            case "look":
                raise ModelError("the model is bad; make a new one")
            case "pause":
                raise ZeroDivisionError("a mistake in the box")
            case "resume":
                yield ControlItem(item={"number": 1})
            case "snap":
                yield ControlEnd(ok=True, result={"jpeg": "x" * 3_000_000})
            case "why":
                self.started.put("why")
                self.go_on.wait(DEADLINE_S)
                yield ControlEnd(ok=True)
            case "near":
                while True:
                    yield ControlItem(item={"filler": "x" * 100_000})

    def _watch(self, closed: Closed) -> Iterator[ControlItem | ControlEnd]:
        number = 0
        try:
            yield ControlItem(item={"number": number})
            while not closed.wait(0.02):
                number += 1
                yield ControlItem(item={"number": number})
            assert closed.is_set()
            self.ended.put("closed")
        finally:
            self.ended.put("finally")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def server(path: Path, box: Box) -> Iterator[ControlServer]:
    server = ControlServer(path, box.answer)
    yield server
    box.go_on.set()
    server.close()


@contextmanager
def raw(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(path))
        yield connection


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def end_of(answer: bytes) -> ControlEnd:
    return ControlEnd.model_validate_json(answer.splitlines()[-1])


def until(is_so: Callable[[], bool]) -> bool:
    """Poll, with a deadline."""
    deadline_s = monotonic() + DEADLINE_S
    pause = threading.Event()
    while not is_so():
        if monotonic() > deadline_s:
            return False
        pause.wait(0.01)
    return True


@pytest.mark.usefixtures("server")
def test_a_command_is_answered_with_its_result(path: Path) -> None:
    assert ask(path, "status", {"a": [1, "ü"]}, DEADLINE_S) == {"echo": {"a": [1, "ü"]}}


@pytest.mark.usefixtures("server")
def test_a_large_result_arrives_whole(path: Path) -> None:
    assert len(ask(path, "snap", {}, DEADLINE_S)["jpeg"]) == 3_000_000


@pytest.mark.usefixtures("server")
def test_an_answer_without_an_end_gets_one(path: Path) -> None:
    assert list(stream(path, "resume", {})) == [{"number": 1}]
    assert ask(path, "resume", {}, DEADLINE_S) == {}


@pytest.mark.usefixtures("server")
def test_an_error_of_the_box_keeps_its_words_and_its_exit_code(path: Path) -> None:
    with pytest.raises(RefusedError, match="the model is bad; make a new one") as caught:
        ask(path, "look", {}, DEADLINE_S)
    assert caught.value.exit_code is ExitCode.BAD_MODEL


@pytest.mark.usefixtures("server")
def test_a_mistake_in_the_box_is_logged_and_told_and_the_server_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(RefusedError, match="ZeroDivisionError") as caught,
    ):
        ask(path, "pause", {}, DEADLINE_S)
    assert caught.value.exit_code is ExitCode.FAILED
    assert "Traceback" in caplog.text
    assert ask(path, "status", {}, DEADLINE_S) == {"echo": {}}


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        b'{"command": "explode"}\n',
        b'{"command": "status", "arguments": 3}\n',
        b"[" * 50_000 + b"\n",
    ],
)
def test_what_is_no_request_is_refused_with_what_is_wanted(path: Path, line: bytes) -> None:
    with raw(path) as connection:
        connection.sendall(line)
        end = end_of(read_all(connection))
    assert not end.ok
    assert end.exit_code == ExitCode.USAGE
    assert end.error is not None
    assert '{"command": "status"}' in end.error


@pytest.mark.usefixtures("server")
def test_an_unknown_command_is_refused_by_name_of_those_that_are(path: Path) -> None:
    with pytest.raises(RefusedError, match="'status', 'watch'") as caught:
        ask(path, "explode", {}, DEADLINE_S)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.usefixtures("server")
def test_a_request_without_end_is_cut_off(path: Path) -> None:
    with pytest.raises(RefusedError, match=f"more than {REQUEST_BYTES_AT_MOST} bytes"):
        ask(path, "status", {"text": "x" * 2 * REQUEST_BYTES_AT_MOST}, DEADLINE_S)


def test_a_client_that_says_nothing_is_given_up(path: Path, box: Box) -> None:
    with closing(ControlServer(path, box.answer, request_within_s=0.05)), raw(path) as connection:
        end = end_of(read_all(connection))
    assert end.error is not None
    assert "no whole request within 0.05 s" in end.error


@pytest.mark.usefixtures("server")
def test_a_stream_goes_on_until_its_reader_leaves_and_the_answer_hears_of_it(
    path: Path, box: Box
) -> None:
    with closing(stream(path, "watch", {})) as items:
        assert [next(items)["number"] for _ in range(3)] == [0, 1, 2]
    first = box.ended.get(timeout=DEADLINE_S)
    assert "finally" in {first, first if first == "finally" else box.ended.get(timeout=DEADLINE_S)}


def test_a_quiet_answer_hears_that_its_client_left(path: Path) -> None:
    heard: Queue[bool] = Queue()

    def answer(_: ControlRequest, closed: Closed) -> Iterator[ControlItem | ControlEnd]:
        yield ControlItem(item={})
        heard.put(closed.is_set())
        heard.put(closed.wait(DEADLINE_S))
        yield ControlEnd(ok=True)

    with closing(ControlServer(path, answer)):
        with raw(path) as connection:
            connection.sendall(b'{"command": "watch"}\nand more that nobody asked for\n')
            assert connection.recv(100) == b'{"item":{}}\n'
            assert heard.get(timeout=DEADLINE_S) is False
        assert heard.get(timeout=DEADLINE_S) is True


def test_a_client_that_takes_nothing_is_given_up(path: Path, box: Box) -> None:
    with closing(ControlServer(path, box.answer, send_within_s=0.05)), raw(path) as connection:
        connection.sendall(b'{"command": "near"}\n')
        assert connection.recv(8) == b'{"item":'
        assert until(lambda: not answering())


def answering() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "control-answer"]


@pytest.mark.usefixtures("server")
def test_commands_are_answered_side_by_side_and_one_too_many_is_told_so(
    path: Path, box: Box
) -> None:
    results: Queue[object] = Queue()
    clients = [
        threading.Thread(target=lambda: results.put(ask(path, "why", {}, DEADLINE_S)))
        for _ in range(CONNECTIONS_AT_MOST)
    ]
    for client in clients:
        client.start()
    for _ in clients:
        box.started.get(timeout=DEADLINE_S)
    with pytest.raises(RefusedError, match="16 commands already") as caught:
        ask(path, "status", {}, DEADLINE_S)
    assert caught.value.exit_code is ExitCode.TRY_AGAIN
    box.go_on.set()
    assert [results.get(timeout=DEADLINE_S) for _ in clients] == [{}] * CONNECTIONS_AT_MOST
    for client in clients:
        client.join()
    assert until(lambda: not answering())
    assert ask(path, "status", {}, DEADLINE_S) == {"echo": {}}


def test_close_ends_an_open_stream_at_once_and_removes_the_socket(path: Path, box: Box) -> None:
    server = ControlServer(path, box.answer)
    items = stream(path, "watch", {})
    assert next(items) == {"number": 0}
    began_s = monotonic()
    server.close()
    server.close()
    assert monotonic() - began_s < 1.0
    assert not path.exists()
    assert box.ended.get(timeout=DEADLINE_S) == "closed"
    assert [item for item in items if set(item) != {"number"}] == []


def test_close_does_not_wait_for_an_answer_that_hangs(path: Path, box: Box) -> None:
    server = ControlServer(path, box.answer)
    with raw(path) as connection:
        connection.sendall(b'{"command": "why"}\n')
        box.started.get(timeout=DEADLINE_S)
        began_s = monotonic()
        server.close()
        assert monotonic() - began_s < 1.0
        assert read_all(connection) == b""
    box.go_on.set()
    assert until(lambda: not answering())


def test_close_does_not_wait_for_a_client_that_says_nothing(path: Path, box: Box) -> None:
    server = ControlServer(path, box.answer)
    with raw(path) as connection:
        assert until(lambda: len(answering()) == 1)
        began_s = monotonic()
        server.close()
        assert monotonic() - began_s < 0.5
        assert read_all(connection) == b""


@pytest.mark.usefixtures("server")
def test_owner_and_group_may_speak_and_nobody_else(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_the_socket_of_a_killed_process_is_replaced(path: Path, box: Box) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(path))
    with closing(ControlServer(path, box.answer)):
        assert ask(path, "status", {}, DEADLINE_S) == {"echo": {}}


@pytest.mark.usefixtures("server")
def test_a_second_box_on_the_same_socket_is_refused_and_the_first_goes_on(
    path: Path, box: Box
) -> None:
    with pytest.raises(TransientError, match="another box answers there"):
        ControlServer(path, box.answer)
    assert ask(path, "status", {}, DEADLINE_S) == {"echo": {}}


def test_a_file_in_the_socket_s_place_is_left_alone(path: Path, box: Box) -> None:
    path.write_text("precious")
    with pytest.raises(ConfigError, match="something else is there"):
        ControlServer(path, box.answer)
    assert path.read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_said_to_be(tmp_path: Path, box: Box) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="want a folder that this user may write"):
        ControlServer(tmp_path / "file" / "control.sock", box.answer)


def test_a_path_that_is_too_long_for_the_kernel_works_all_the_same(
    tmp_path: Path, box: Box
) -> None:
    path = tmp_path / ("long" * 30) / ("longer" * 20) / "control.sock"
    with closing(ControlServer(path, box.answer)):
        assert path.is_socket()
        assert ask(path, "status", {}, DEADLINE_S) == {"echo": {}}
    assert not path.exists()


def test_without_a_running_box_the_command_says_how_to_start_one(path: Path) -> None:
    with pytest.raises(NotRunningError, match="lookout run"):
        ask(path, "status", {}, DEADLINE_S)
    with pytest.raises(NotRunningError, match="lookout run"):
        next(stream(path, "watch", {}))


def test_a_box_that_dies_while_it_answers_is_said_to_have_ended(path: Path) -> None:
    with fake_box(path, b'{"item": {}}\n{"ok": tr'), pytest.raises(NotRunningError, match="ended"):
        ask(path, "status", {}, DEADLINE_S)


def test_an_answer_that_is_none_is_refused(path: Path) -> None:
    with (
        fake_box(path, b"HTTP/1.1 400 Bad Request\n"),
        pytest.raises(RefusedError, match="version"),
    ):
        ask(path, "status", {}, DEADLINE_S)


@pytest.mark.usefixtures("server")
def test_a_box_that_does_not_answer_in_time_is_given_up(path: Path, box: Box) -> None:
    with pytest.raises(TransientError, match="did not answer in time"):
        ask(path, "why", {}, timeout_s=0.05)
    box.go_on.set()


@contextmanager
def fake_box(path: Path, answer: bytes) -> Iterator[None]:
    """Answers with these bytes, whatever is asked, and hangs up."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield
        thread.join(DEADLINE_S)


def test_an_answer_may_be_any_iterator(path: Path) -> None:
    def answer(request: ControlRequest, _: Closed) -> Iterator[ControlItem | ControlEnd]:
        return iter([ControlEnd(ok=True, result={"command": request.command})])

    with closing(ControlServer(path, answer)):
        assert ask(path, "status", {}, DEADLINE_S) == {"command": "status"}


@pytest.fixture
def full(path: Path) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A listener whose queue is full, and those who wait in it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    waiting = []
    for _ in range(5):
        waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        waiting[-1].setblocking(False)
        if waiting[-1].connect_ex(str(path)):
            break
    yield listener, waiting
    for each in (listener, *waiting):
        each.close()


def test_a_full_queue_is_waited_for(
    path: Path, full: tuple[socket.socket, list[socket.socket]]
) -> None:
    listener, waiting = full

    def serve() -> None:
        for each in waiting:
            each.close()
        while True:
            connection, _ = listener.accept()
            with connection:
                if connection.recv(1000):
                    connection.sendall(b'{"ok": true, "result": {"a": 1}}\n')
                    return

    timer = threading.Timer(0.2, serve)
    timer.start()
    assert ask(path, "status", {}, timeout_s=DEADLINE_S) == {"a": 1}
    timer.join()


@pytest.mark.usefixtures("full")
def test_a_queue_that_stays_full_is_no_box_that_does_not_run(path: Path) -> None:
    with pytest.raises(TransientError, match="try again"):
        ask(path, "status", {}, timeout_s=0.2)
