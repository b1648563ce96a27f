"""The local Pub/Sub as a whole: a gRPC server over one data folder, in a thread of its own."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Self

import grpc

from cloud_bridge.errors import TransientError
from cloud_bridge.instance_lock import InstanceLock
from cloud_bridge.local_pubsub.calls import AbsentCalls
from cloud_bridge.local_pubsub.clocks import Clocks
from cloud_bridge.local_pubsub.committing import Committer
from cloud_bridge.local_pubsub.directory import Directory
from cloud_bridge.local_pubsub.exchange import Counts, Exchange
from cloud_bridge.local_pubsub.publisher_calls import PublisherCalls
from cloud_bridge.local_pubsub.refusals import RefusedError
from cloud_bridge.local_pubsub.store import IDS_A_RUN, Store
from cloud_bridge.local_pubsub.streams import Streams
from cloud_bridge.local_pubsub.subscriber_calls import SubscriberCalls
from cloud_bridge.local_pubsub.upkeep import Upkeep

log = logging.getLogger(__name__)

FILE = "pubsub.db"
MAX_BYTES = 2_000_000_000
LEAST_BYTES = 1_000_000
TURN_S = 0.05
"""Leases end this exactly, and acknowledgements are on disk this soon."""

SWEEP_S = 60.0
GRACE_S = 1.0
"""How long calls that run at the end may go on."""

_OPTIONS = (
    # Well beyond the limit of a request, so that too large a one hears our own words.
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.max_send_message_length", -1),
    # Else a second server could listen on the same port, and take half of the calls.
    ("grpc.so_reuseport", 0),
    # Client libraries ping idle streams; the default would cut them for it.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class LocalPubsub:
    """Serves from construction to `close`; `port` is where.

    folder: topics, subscriptions and messages; made where there is none.
    port: 0 picks a free one. max_bytes: bound of the messages on disk.
    """

    def __init__(
        self,
        folder: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        max_bytes: int = MAX_BYTES,
        make_store: Callable[[Path, int], Store] = Store,
    ) -> None:
        """
        Raises:
            OutputError: the folder cannot be used, or its file is damaged.
            TransientError: another process serves this folder, or listens on the port.
        """
        self._address = f"{host}:{port}"
        self._lock = InstanceLock(folder, "give this one a --data-dir of its own")
        try:
            self._store = make_store(folder / FILE, max_bytes)
        except BaseException:
            self._lock.close()
            raise
        self.counts = Counts()
        self._started: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = Thread(target=self._run, name="local-pubsub", daemon=True)
        self._thread.start()
        try:
            self.port = self._started.result()
        except BaseException:
            self._thread.join()
            self._lock.close()
            raise

    def close(self) -> None:
        """End streams and calls, and commit what is owed; within 3 s. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as exc:
            if not self._started.done():
                self._started.set_exception(exc)
            else:
                log.critical("the local Pub/Sub died", exc_info=exc)

    async def _serve(self) -> None:
        store = self._store
        committer = Committer(store)
        clocks = Clocks(time.monotonic_ns, time.time_ns, store.served_s)
        directory = Directory(committer, last_lease=store.run * IDS_A_RUN)
        exchange = Exchange(committer, directory, clocks, last_id=store.run * IDS_A_RUN)
        upkeep = Upkeep(committer, directory, exchange, clocks)
        self.counts = exchange.counts
        try:
            await directory.load()
            await self._serve_calls(exchange, directory, upkeep)
            await upkeep.finish()
        except RefusedError as refusal:
            raise TransientError(f"{refusal.words} Want a disk that can be read.") from refusal
        finally:
            await committer.close()

    async def _serve_calls(self, exchange: Exchange, directory: Directory, upkeep: Upkeep) -> None:
        """Until `_stop`."""
        streams = Streams(exchange, directory)
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(
            [
                PublisherCalls(exchange, directory).handler(),
                SubscriberCalls(exchange, directory, streams).handler(),
                AbsentCalls(),
            ]
        )
        port = self._listen(server)
        await server.start()
        tasks = [
            asyncio.create_task(_repeat(upkeep.turn, TURN_S)),
            asyncio.create_task(_repeat(upkeep.sweep, SWEEP_S)),
        ]
        self._started.set_result(port)
        await self._stop.wait()
        streams.close()
        await server.stop(GRACE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        exchange.close()

    def _listen(self, server: grpc.aio.Server) -> int:
        try:
            port = int(server.add_insecure_port(self._address))
        except RuntimeError as exc:
            raise TransientError(
                f"cannot listen on {self._address}: the port is taken, or the address is not this "
                "machine's; want a free port of this machine: another --port (0 picks one), or for "
                "a hub another [hub] port"
            ) from exc
        return port


async def _repeat(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Until cancelled; a disk that refuses is tried again, and so is whatever else fails: without
    it no lease would end any more."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except RefusedError as refusal:
            log.warning("upkeep failed, tried again in_s=%.1f: %s", every_s, refusal)
        except Exception:
            log.exception("upkeep died, starts again in_s=%.1f", every_s)
