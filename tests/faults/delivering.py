"""A program for the fault tests: real outbox, real uplink, and events at a steady rate.

    python -m tests.faults.delivering STATE_FOLDER PORT [--delivery receipts] [--rate 200] ...

It runs until SIGTERM (ends as asked) or SIGKILL. After SIGUSR1 it makes no more events, and goes
on sending those that are there. With `--double` a part of it is broken on purpose.
"""

import argparse
import logging
import random
import signal
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event, Thread

from device.clocks import SystemClock
from device.config import MqttConfig, TlsConfig
from device.core.delivery import RECEIPT_FIRST_S, DeliveryMode, DeliverySettings
from device.messaging.paho_uplink import PahoUplink
from device.messaging.sqlite_outbox import SqliteOutbox
from device.pipeline.deliver import Delivery
from device.ports import Outbox, PreviousRun, Uplink
from device.wire.bodies import Body, ClockAnchor, RunStarted
from device.wire.events import Draft
from device.wire.names import RunId, Topics
from tests.faults.device_doubles import OUTBOXES, SETTINGS, UPLINKS

TURN_S = 0.01
LONGEST_TURN_S = 0.1
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    state_folder: Path
    port: int
    device: str
    registry: str
    delivery: DeliveryMode
    rate: float
    window: int
    group_ms: int
    receipt_s: float
    is_calm: bool
    double: str | None
    login: Path | None
    """A folder of device.crt, device.key and ca.crt, for TLS; read at each connection."""

    def broker(self) -> MqttConfig:
        if self.login is None:
            return MqttConfig(port=self.port)
        tls = TlsConfig(
            ca_file=self.login / "ca.crt",
            cert_file=self.login / "device.crt",
            key_file=self.login / "device.key",
        )
        return MqttConfig(host="localhost", port=self.port, tls=tls)


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


def make_delivery(options: Options) -> Delivery:
    topics = Topics(options.registry, options.device)
    settings = DeliverySettings(
        mode=options.delivery, window=options.window, receipt_first_s=options.receipt_s
    )
    if options.double in SETTINGS:
        settings = SETTINGS[options.double](settings)
    outbox_type = OUTBOXES.get(options.double or "", SqliteOutbox)
    uplink_type = UPLINKS.get(options.double or "", PahoUplink)

    def outbox() -> Outbox:
        path = options.state_folder / "outbox.db"
        return outbox_type(path, options.device, options.registry, 100_000_000)

    def uplink(run: RunId) -> Uplink:
        # Without jitter a new try every half second: short tests have no minute for a backoff.
        jitter = (lambda: 0.0) if options.is_calm else random.random
        return uplink_type(options.broker(), topics, run, CLOCK, jitter)

    return Delivery(
        outbox_factory=outbox,
        uplink_factory=uplink,
        settings=settings,
        topics=topics,
        group_ms=options.group_ms,
        clock=CLOCK,
        on_committed=lambda _: None,
        first=first,
    )


def main(options: Options) -> None:
    stop, quiet = Event(), Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGUSR1, lambda *_: quiet.set())
    delivery = make_delivery(options)

    def turn_on(turn: object) -> None:
        while not stop.is_set():
            turn()  # type: ignore[operator]

    threads = [
        Thread(target=turn_on, args=(turn,), daemon=True)
        for turn in (delivery.outbox_turn, delivery.uplink_turn)
    ]
    for thread in threads:
        thread.start()
    numbers = count()
    due = 0.0
    last_ns = CLOCK.monotonic_ns()
    while not stop.wait(TURN_S * random.uniform(0.5, 1.5)):
        now_ns = CLOCK.monotonic_ns()
        # By the clock, not by the turns: a wait takes longer than asked. Bounded, after a freeze.
        due += min((now_ns - last_ns) / 1e9, LONGEST_TURN_S) * options.rate
        last_ns = now_ns
        while due >= 1.0 and not quiet.is_set():
            # Each event has a content of its own: the same id twice would show.
            delivery.report(draft(ClockAnchor(step_s=next(numbers) + random.random())))
            due -= 1.0
    delivery.wake()
    for thread in threads:
        thread.join(timeout=5.0)
    delivery.close()


def parse() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("state_folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--device", default="garden")
    parser.add_argument("--registry", default="home")
    parser.add_argument("--delivery", choices=["broker", "receipts"], default="broker")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second")
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--group-ms", type=int, default=10)
    parser.add_argument("--receipt-s", type=float, default=RECEIPT_FIRST_S)
    parser.add_argument("--jitter", action="store_true", help="wait before new tries as a box does")
    parser.add_argument("--double", choices=[*OUTBOXES, *SETTINGS, *UPLINKS])
    parser.add_argument("--login", type=Path, help="folder of a certificate, for TLS")
    given = vars(parser.parse_args())
    return Options(is_calm=not given.pop("jitter"), **given)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    main(parse())
