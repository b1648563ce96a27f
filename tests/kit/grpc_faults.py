"""A Pub/Sub that fails as a test says, between unmodified clients and a real one.

Requests and answers pass as bytes. A call may be answered with any status, once or for ever,
before or after it was carried out; it may hang; its stream or its connection may be cut.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

import grpc

from tests.kit.broker import free_port

WORDS = "as the test wants"
STREAMING = "StreamingPull"
_BYTES_AT_MOST = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


@dataclass(eq=False)
class Fault:
    """method: such as `Publish`. code: None hangs until the caller gives up. times: None for ever.

    is_after: the call is carried out first, and its answer lost. marker: only calls whose request
    holds these bytes. struck: how often it has.
    """

    method: str
    code: grpc.StatusCode | None
    times: int | None = None
    is_after: bool = False
    marker: bytes = b""
    struck: int = field(default=0, init=False)


class FaultyPubsub(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Serves `host` inside the context, in a thread of its own. upstream: host of a real one.

    calls: of each method so far.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._port = free_port()
        self.host = f"127.0.0.1:{self._port}"
        self._lock = Lock()
        self._faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="faulty-pubsub", daemon=True)
        self._cuts: set[asyncio.Future[grpc.StatusCode]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ask(self._open)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ask(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10.0)
        self._loop.close()

    # --- the test's side ----------------------------------------------------------------------

    def inject(
        self,
        method: str,
        code: grpc.StatusCode | None,
        *,
        times: int | None = None,
        is_after: bool = False,
        marker: bytes = b"",
    ) -> Fault:
        """See `Fault`. The oldest one that fits a call strikes."""
        fault = Fault(method, code, times, is_after, marker)
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """No call fails from now on; those that hang do so until their caller gives up."""
        with self._lock:
            self._faults.clear()

    def cut_streams(self, code: grpc.StatusCode) -> int:
        """End every open stream with this status; how many there were."""

        async def cut() -> int:
            cuts = [each for each in self._cuts if not each.done()]
            for each in cuts:
                each.set_result(code)
            return len(cuts)

        count: int = self._ask(cut)
        return count

    def cut_connections(self) -> None:
        """Drop all of them, calls under way too, and listen again."""

        async def cut() -> None:
            await self._server.stop(None)
            await self._listen()

        self._ask(cut)

    # --- the server ---------------------------------------------------------------------------

    def _ask(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it answers
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work(), self._loop)
        return future.result(timeout=20.0)

    async def _open(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._upstream, options=_BYTES_AT_MOST)
        await self._listen()

    async def _listen(self) -> None:
        options = (*_BYTES_AT_MOST, ("grpc.so_reuseport", 0))
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers([self])
        self._server.add_insecure_port(self.host)
        await self._server.start()

    async def _close(self) -> None:
        await self._server.stop(None)
        await self._channel.close()

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401 - gRPC's own
        path = handler_call_details.method
        name = path.rpartition("/")[2]
        if name == STREAMING:

            async def stream(
                requests: AsyncIterator[bytes],
                context: Any,  # noqa: ANN401 - gRPC's own
            ) -> AsyncIterator[bytes]:
                async for answer in self._pass_stream(path, requests, context):
                    yield answer

            return grpc.stream_stream_rpc_method_handler(stream)

        async def answer(request: bytes, context: Any) -> bytes:  # noqa: ANN401 - gRPC's own
            fault = self._strike(name, request)
            if fault is not None and not fault.is_after:
                await _fail(fault.code, context)
            try:
                answered: bytes = await self._channel.unary_unary(path)(
                    request, timeout=context.time_remaining()
                )
            except grpc.aio.AioRpcError as exc:
                await context.abort(exc.code(), exc.details() or "")
            if fault is not None:
                await _fail(fault.code, context)
            return answered

        return grpc.unary_unary_rpc_method_handler(answer)

    def _strike(self, name: str, request: bytes) -> Fault | None:
        with self._lock:
            self.calls[name] += 1
            for fault in self._faults:
                is_spent = fault.times is not None and fault.struck >= fault.times
                if fault.method == name and fault.marker in request and not is_spent:
                    fault.struck += 1
                    return fault
        return None

    async def _pass_stream(
        self,
        path: str,
        requests: AsyncIterator[bytes],
        context: Any,  # noqa: ANN401 - gRPC's own
    ) -> AsyncIterator[bytes]:
        """Fails at its opening, or when it is cut."""
        fault = self._strike(STREAMING, b"")
        if fault is not None:
            await _fail(fault.code, context)
        cut: asyncio.Future[grpc.StatusCode] = self._loop.create_future()
        self._cuts.add(cut)
        call = self._channel.stream_stream(path)(requests)
        reading: asyncio.Future[Any] | None = None
        try:
            while True:
                reading = asyncio.ensure_future(call.read())
                await asyncio.wait({reading, cut}, return_when=asyncio.FIRST_COMPLETED)
                if cut.done():
                    await _fail(cut.result(), context)
                answer = reading.result()
                if answer is grpc.aio.EOF:
                    return
                yield answer
        except grpc.aio.AioRpcError as exc:
            await context.abort(exc.code(), exc.details() or "")
        finally:
            self._cuts.discard(cut)
            if reading is not None:
                reading.cancel()
            call.cancel()


async def _fail(code: grpc.StatusCode | None, context: Any) -> None:  # noqa: ANN401 - gRPC's own
    """Never returns."""
    if code is None:
        await asyncio.get_running_loop().create_future()
    else:
        await context.abort(code, WORDS)
