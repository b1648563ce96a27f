"""Starts Python programs quickly: one process has imported what they need, and forks for each.

A program that starts in 20 ms and not in two seconds makes a hundred kills a matter of minutes.
Each is a process of its own, with `__main__`, arguments and environment as if started afresh.

    python -m tests.kit.nursery FD MODULE...    imports the modules; FD: a socket for orders
"""

import importlib
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from threading import Lock
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.kit.waiting import wait_until
from tests.tools import REPOSITORY

ORDER_BYTES = 65_536


class Child:
    """A program of a nursery, as `subprocess.Popen` shows one."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._nursery.ask({"poll": self.pid})["code"]
        return self._code

    def send_signal(self, how: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, how)

    def wait(self, timeout: float) -> int:
        wait_until(lambda: self.poll() is not None, f"the end of {self.pid}", timeout, 0.005)
        return self._code if self._code is not None else -1


class Nursery:
    """A context manager; what it has started ends with it. modules: imported once."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._lock = Lock()
        self._modules = modules

    def __enter__(self) -> Self:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.settimeout(60.0)
        command = [sys.executable, "-m", "tests.kit.nursery", f"{theirs.fileno()}", *self._modules]
        self._process = subprocess.Popen(command, cwd=REPOSITORY, pass_fds=[theirs.fileno()])
        theirs.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._orders.close()
        self._process.wait(timeout=10.0)

    def spawn(
        self, command: Sequence[str], stdout: int, stderr: int, env: Mapping[str, str]
    ) -> Child:
        """command: `python -m MODULE ARGUMENT...`; stdout, stderr: open files."""
        order = {"module": command[2], "arguments": list(command[3:]), "env": dict(env)}
        return Child(self, self.ask(order, [stdout, stderr])["pid"])

    def ask(self, order: Mapping[str, object], files: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            socket.send_fds(self._orders, [json.dumps(order).encode()], files)
            answer: dict[str, Any] = json.loads(self._orders.recv(ORDER_BYTES))
            return answer


def _serve(orders: socket.socket) -> None:
    children: dict[int, int | None] = {}
    while True:
        message, files, _, _ = socket.recv_fds(orders, ORDER_BYTES, 2)
        if not message:
            break
        order = json.loads(message)
        if "poll" in order:
            answer: dict[str, object] = {"code": _code_of(order["poll"], children)}
        else:
            pid = os.fork()
            if pid == 0:
                orders.close()
                _become(order, files)
            for each in files:
                os.close(each)
            children[pid] = None
            answer = {"pid": pid}
        orders.send(json.dumps(answer).encode())
    for pid in children:
        if _code_of(pid, children) is None:
            os.kill(pid, signal.SIGKILL)


def _code_of(pid: int, children: dict[int, int | None]) -> int | None:
    if children[pid] is None:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children[pid] = os.waitstatus_to_exitcode(status)
    return children[pid]


def _become(order: Mapping[str, Any], files: Sequence[int]) -> NoReturn:
    code = 1
    try:
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        os.closerange(3, 64)
        os.environ.clear()
        os.environ.update(order["env"])
        sys.argv[1:] = order["arguments"]
        random.seed()  # else every child throws the same dice
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:  # noqa: BLE001 - the top of a process
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    _serve(socket.socket(fileno=int(sys.argv[1])))
