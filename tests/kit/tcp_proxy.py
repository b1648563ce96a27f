"""A TCP line that can be made bad: slow, dead one way or both, reset, cut after so many bytes.

What a dead line holds back is delivered when it heals, as TCP's retransmissions do it. A
connection that is asked for while the line is dead reaches the other side after that, if its owner
still waits.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from threading import Thread
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

Way: TypeAlias = Literal["up", "down"]
"""up: from whoever connected to the target."""

Tap: TypeAlias = Callable[[int, Way, bytes], None]
"""Hears every byte as it comes to the line, whether it passes or not: connection, way, bytes."""

PIECE_BYTES = 65_536
HELD_BYTES = 1 << 20
"""A way that holds so much takes no more, as the buffers of a kernel."""

RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends RST."""


@dataclass(slots=True)
class _Half:
    """One way of one connection. pieces: (when it is due, bytes); no bytes: its end."""

    way: Way
    pieces: asyncio.Queue[tuple[float, bytes]] = field(default_factory=asyncio.Queue)
    held_bytes: int = 0
    passed_bytes: int = 0
    has_ended: bool = False
    drained: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Connection:
    number: int
    writers: list[asyncio.StreamWriter]
    is_reset: bool = False

    def reset(self) -> None:
        self.is_reset = True
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and not writer.transport.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class TcpProxy:
    """Listens on `port` of 127.0.0.1 and passes on to `target_port`; a context manager.

    tap: called on the line's own thread.
    """

    def __init__(self, target_port: int, tap: Tap | None = None) -> None:
        self._target_port = target_port
        self._tap = tap
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        # Everything below belongs to the loop's thread.
        self._delay_s = 0.0
        self._is_refusing = False
        self._cut_after: dict[Way, int] = {}
        self._alive: dict[Way, asyncio.Event] = {}
        self._open: dict[int, _Connection] = {}
        self._count = 0
        self._server: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10.0)
        self._loop.close()

    # --- what can be done to the line -----------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many were ever asked for."""
        return self._count

    def delay(self, seconds: float) -> None:
        """What comes from now on takes so long, each way."""
        self._do(self._set_delay(seconds))

    def blackhole(self, *ways: Way) -> None:
        """Nothing passes any more on these ways, or on both; nobody is told."""
        self._do(self._set_alive(ways or ("up", "down"), False))

    def refuse(self) -> None:
        """Reset every connection, and each new one."""
        self._do(self._set_refusing())

    def heal(self) -> None:
        """What was held passes now, and all that follows; new connections are welcome."""
        self._do(self._set_alive(("up", "down"), True))

    def reset(self) -> None:
        """End every connection as a router does that knows them no more; new ones are welcome."""
        self._do(self._reset())

    def cut_after(self, way: Way, count: int) -> None:
        """Reset the next connection that passes so many bytes on this way, right behind them."""
        self._do(self._set_cut(way, count))

    # --- on the loop's thread -------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10.0)

    async def _start(self) -> None:
        self._alive = {"up": asyncio.Event(), "down": asyncio.Event()}
        await self._set_alive(("up", "down"), True)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _set_delay(self, seconds: float) -> None:
        self._delay_s = seconds

    async def _set_refusing(self) -> None:
        self._is_refusing = True
        await self._reset()

    async def _set_alive(self, ways: tuple[Way, ...], is_alive: bool) -> None:
        self._is_refusing = False
        for way in ways:
            if is_alive:
                self._alive[way].set()
            else:
                self._alive[way].clear()

    async def _set_cut(self, way: Way, count: int) -> None:
        self._cut_after[way] = count

    async def _reset(self) -> None:
        for connection in list(self._open.values()):
            connection.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        connection = _Connection(self._count, [writer])
        self._open[connection.number] = connection
        try:
            if not self._is_refusing:
                await self._carry(connection, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one side has gone, or the line is being closed
        finally:
            connection.reset()
            del self._open[connection.number]

    def _start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _carry(
        self, connection: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        up, down = _Half("up"), _Half("down")
        tasks = [self._start_task(self._read(connection, up, reader))]
        try:
            for alive in self._alive.values():
                await alive.wait()
            if connection.is_reset or up.has_ended:
                return  # its owner has given up: the target never hears of it
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            connection.writers.append(far_writer)
            writes = [
                self._start_task(self._write(up, far_writer)),
                self._start_task(self._write(down, writer)),
            ]
            tasks += [*writes, self._start_task(self._read(connection, down, far_reader))]
            # No half-closed connections: neither MQTT nor gRPC lives on one.
            await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(
        self, connection: _Connection, half: _Half, reader: asyncio.StreamReader
    ) -> None:
        while not half.has_ended:
            while half.held_bytes > HELD_BYTES:
                half.drained.clear()
                await half.drained.wait()
            try:
                piece = await reader.read(PIECE_BYTES)
            except OSError:
                piece = b""
            if piece and self._tap is not None:
                self._tap(connection.number, half.way, piece)
            half.has_ended = not piece
            half.held_bytes += len(piece)
            half.pieces.put_nowait((self._loop.time() + self._delay_s, piece))

    async def _write(self, half: _Half, writer: asyncio.StreamWriter) -> None:
        """Until the sender has ended, or the line is cut."""
        writer.transport.set_write_buffer_limits(0)  # `drain` waits until the kernel has it
        is_cut = False
        while not is_cut:
            due_s, piece = await half.pieces.get()
            await asyncio.sleep(max(due_s - self._loop.time(), 0.0))
            await self._alive[half.way].wait()
            if not piece:
                writer.close()
                await writer.wait_closed()
                return
            left = self._cut_after.get(half.way, half.passed_bytes + PIECE_BYTES + 1)
            left -= half.passed_bytes
            if len(piece) >= left:
                is_cut = True
                del self._cut_after[half.way]
            writer.write(piece[: max(left, 0)])
            await writer.drain()
            half.passed_bytes += len(piece)
            half.held_bytes -= len(piece)
            half.drained.set()
