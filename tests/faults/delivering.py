"""A program for the fault tests: real outbox, real uplink, and about a hundred events a second.

    python -m tests.faults.delivering STATE_FOLDER PORT [LOGIN_FOLDER]

LOGIN_FOLDER: of device.crt, device.key and ca.crt, for TLS; read at each connection. With it an
event leaves the outbox when its receipt comes, else when the broker has acknowledged it.
It runs until SIGTERM (ends as asked) or SIGKILL. After SIGUSR1 it makes no more events, and goes
on sending those that are there.
"""

import logging
import random
import signal
import sys
from itertools import count
from pathlib import Path
from threading import Event, Thread

from device.clocks import SystemClock
from device.config import MqttConfig, TlsConfig
from device.core.delivery import DeliveryMode, DeliverySettings
from device.messaging.paho_uplink import PahoUplink
from device.messaging.sqlite_outbox import SqliteOutbox
from device.pipeline.deliver import Delivery
from device.ports import PreviousRun
from device.wire.bodies import Body, ClockAnchor, RunStarted
from device.wire.events import Draft
from device.wire.names import Topics

EVERY_S = 0.01
CLOCK = SystemClock()


def draft(body: Body) -> Draft:
    return Draft(time_ns=CLOCK.wall_ns(), mono_ns=CLOCK.monotonic_ns(), body=body)


def first(previous: PreviousRun | None) -> Draft:
    return draft(
        RunStarted(
            previous_run=None if previous is None else str(previous.run),
            previous_seq=None if previous is None else previous.last_seq,
            reason="first" if previous is None else "died",
            version="0",
            bundle="none",
            runtime="none",
        )
    )


def broker(port: int, login: Path | None) -> MqttConfig:
    if login is None:
        return MqttConfig(port=port)
    tls = TlsConfig(
        ca_file=login / "ca.crt", cert_file=login / "device.crt", key_file=login / "device.key"
    )
    return MqttConfig(host="localhost", port=port, tls=tls)


def main(state_folder: Path, port: int, login: Path | None = None) -> None:
    logging.basicConfig(level=logging.INFO)
    mode: DeliveryMode = "broker" if login is None else "receipts"
    stop, quiet = Event(), Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGUSR1, lambda *_: quiet.set())
    delivery = Delivery(
        outbox_factory=lambda: SqliteOutbox(
            state_folder / "outbox.db", "garden", "home", 100_000_000
        ),
        uplink_factory=lambda run: PahoUplink(
            broker(port, login),
            Topics("home", "garden"),
            run,
            CLOCK,
            # A new try every half second at most: the tests have no minute for a backoff.
            jitter=lambda: 0.0,
        ),
        settings=DeliverySettings(window=16 if login is None else 512, mode=mode),
        topics=Topics("home", "garden"),
        group_ms=10,
        clock=CLOCK,
        on_committed=lambda _: None,
        first=first,
    )

    def turn_on(turn: object) -> None:
        while not stop.is_set():
            turn()  # type: ignore[operator]

    threads = [
        Thread(target=turn_on, args=(turn,), daemon=True)
        for turn in (delivery.outbox_turn, delivery.uplink_turn)
    ]
    for thread in threads:
        thread.start()
    for number in count():
        if stop.wait(EVERY_S * random.uniform(0.5, 1.5)):
            break
        if not quiet.is_set():
            # Each event has a content of its own: the same id twice would show.
            delivery.report(draft(ClockAnchor(step_s=number + random.random())))
    delivery.wake()
    for thread in threads:
        thread.join(timeout=5.0)
    delivery.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:]))
