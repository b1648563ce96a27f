"""How fast the local Pub/Sub takes messages, beside a server that does nothing.

    python -m tests.bench.bench_local_pubsub

Batches of 1 KB messages by the bare Publish call, as the bridge sends them; the null server
speaks the same gRPC and stores nothing. Then the backlog is read through the client library.
"""

import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Semaphore
from time import perf_counter
from typing import Any

import grpc
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.types import FlowControl
from google.pubsub_v1 import types

from tests.kit.broker import free_port
from tests.kit.pubsub_server import REPOSITORY, PubsubServer, first_line

TOPIC = "projects/bench/topics/events"
SUBSCRIPTION = "projects/bench/subscriptions/all"
ATTRIBUTES = {f"ce-attribute-{number}": "some-text-of-a-usual-length" for number in range(8)}
IN_FLIGHT = 4

PublishRequest: Any = types.PublishRequest.pb()
PublishResponse: Any = types.PublishResponse.pb()
PubsubMessage: Any = types.PubsubMessage.pb()


async def serve_nothing(port: int) -> None:
    """Answer Publish with numbers."""
    numbers = itertools.count(1)

    async def publish(request: Any, context: Any) -> Any:  # noqa: ANN401 - gRPC's own
        return PublishResponse(message_ids=[str(next(numbers)) for _ in request.messages])

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        publish, PublishRequest.FromString, PublishResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": handler})]
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.wait_for_termination()


def publish(host: str, batch: int, seconds: float) -> tuple[float, int]:
    """Messages a second, and how many in all."""
    messages = [PubsubMessage(data=os.urandom(1000), attributes=ATTRIBUTES) for _ in range(batch)]
    request = PublishRequest(topic=TOPIC, messages=messages)
    free = Semaphore(IN_FLIGHT)
    lock = Lock()
    done = 0

    def count(call: Any) -> None:  # noqa: ANN401 - gRPC's own
        nonlocal done
        ids = call.result().message_ids
        with lock:
            done += len(ids)
        free.release()

    with grpc.insecure_channel(host) as channel:
        send = channel.unary_unary(
            "/google.pubsub.v1.Publisher/Publish",
            PublishRequest.SerializeToString,
            PublishResponse.FromString,
        )
        began_s = perf_counter()
        while perf_counter() - began_s < seconds:
            free.acquire()
            send.future(request, timeout=60.0).add_done_callback(count)
        for _ in range(IN_FLIGHT):
            free.acquire()
        return done / (perf_counter() - began_s), done


def drain(host: str, count: int, seconds: float) -> float:
    """Messages a second through the client library, acknowledged one by one."""
    os.environ["PUBSUB_EMULATOR_HOST"] = host
    seen: set[str] = set()
    lock = Lock()
    done = Event()

    def take(message: Any) -> None:  # noqa: ANN401 - the library's own
        message.ack()
        with lock:
            seen.add(message.message_id)
            if len(seen) >= count:
                done.set()

    with pubsub_v1.SubscriberClient() as client:
        began_s = perf_counter()
        pulling = client.subscribe(SUBSCRIPTION, take, flow_control=FlowControl(max_messages=2000))
        done.wait(seconds)
        rate = len(seen) / (perf_counter() - began_s)
        pulling.cancel()
        pulling.result()
    return rate


def prepare(host: str) -> None:
    os.environ["PUBSUB_EMULATOR_HOST"] = host
    with pubsub_v1.PublisherClient() as publisher:
        publisher.create_topic(name=TOPIC)
    with pubsub_v1.SubscriberClient() as subscriber:
        subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)


def main(say: Callable[[str], int]) -> None:
    seconds = 5.0
    load = os.getloadavg()[0]
    say(f"load before: {load:.2f}, processors: {os.cpu_count()}\n")
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bench_local_pubsub", "--null", str(port)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as null:
        first_line(null.stdout)
        with (
            tempfile.TemporaryDirectory() as folder,
            PubsubServer(Path(folder), ["--max-bytes", "20000000000"]) as server,
        ):
            prepare(server.host)
            total = 0
            for batch in (1, 100, 500):
                nothing, _ = publish(f"127.0.0.1:{port}", batch, seconds)
                stored, count = publish(server.host, batch, seconds)
                total += count
                say(
                    f"publish, batches of {batch:3d}: {stored / nothing:.2f} of the null server "
                    f"({stored:,.0f} against {nothing:,.0f} messages/s)\n"
                )
            rate = drain(server.host, total, 20.0)
            say(f"stream, client library: {rate:,.0f} messages/s of a backlog of {total:,}\n")
        null.kill()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--null"]:
        asyncio.run(serve_nothing(int(sys.argv[2])))
    else:
        main(sys.stdout.write)
