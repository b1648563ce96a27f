"""What a box in a garden reports, told by its own loop: two regions, the embedded bundle's names,
default settings. Only pixels, scores and time are made up, from a seed."""

import random
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path
from threading import Event as Stop

import numpy as np

from device.album.fake_album import FakeAlbum
from device.bundles.manifest import read_bundle
from device.bundles.store import embedded_folders
from device.camera.fake_camera import FakeCamera
from device.clocks import HandClock
from device.core.delivery import DeliverySettings
from device.core.headlines import record_of
from device.core.images import Image, Rgb
from device.core.toml_keys import KeyLines
from device.gpio.fake_pins import FakePins
from device.inference.fake_classifier import FakeClassifier
from device.messaging.fake_uplink import FakeUplink
from device.messaging.memory_outbox import MemoryOutbox
from device.pipeline.capture import Capture, Slot
from device.pipeline.decide import Loop
from device.pipeline.deliver import Delivery
from device.pipeline.journal import Feed, Journal
from device.pipeline.look import Region
from device.pipeline.planning import plan_regions
from device.pipeline.reporting import Identity, Reporting
from device.ports import PreviousRun, Vitals
from device.settings_file import parse_config
from device.wire.bodies import RunStarted
from device.wire.events import Draft, decode
from device.wire.names import Topics
from device.wire.state import Backend, SettingsState

SETTINGS = """
[device]
name = "garden"
registry = "home"
[gpio]
driver = "mock"
[outputs.lamp]
pin = 17
[outputs.sprinkler]
pin = 27
[regions.feeder]
box = [0.0, 0.0, 1.0, 0.5]
watch = ["bird", "cat", "squirrel"]
[regions.driveway]
box = [0.0, 0.5, 1.0, 1.0]
watch = ["car", "truck", "cat", "dog"]
[rules.lamp_while_car]
output = "lamp"
seen = "car"
regions = ["driveway"]
[rules.sprinkler_against_cats]
output = "sprinkler"
seen = "cat"
regions = ["feeder"]
"""

SUBJECTS: tuple[tuple[str, ...], ...] = (
    ("chickadee", "house finch", "brambling"),
    ("Egyptian cat", "tabby", "tiger cat"),
    ("fox squirrel", "mink", "marmot"),
    ("sports car", "convertible (car)", "minivan"),
    ("golden retriever", "Labrador retriever", "cocker spaniel"),
)
NOISE = 12
STEP_S = 0.5
TURNS = 20


def _subject_labels(known: frozenset[str]) -> list[tuple[str, ...]]:
    unknown = [label for each in SUBJECTS for label in each if label not in known]
    if unknown:
        raise ValueError(f"the embedded bundle has no {unknown}")
    return list(SUBJECTS)


class TypicalBox:
    """drafts: what it reported, in order, as its outbox got it."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        config = parse_config(SETTINGS, "typical")
        folder = next(each / "imagenet" for each in embedded_folders() if each.exists())
        self._bundle = read_bundle(Path(folder))
        self._subjects = _subject_labels(frozenset(self._bundle.labels))
        plans, mistakes = plan_regions(config, lambda _: self._bundle, KeyLines(SETTINGS))
        if mistakes:
            raise ValueError(f"{mistakes}")
        self._clock = HandClock()
        self._subject: tuple[str, ...] | None = None
        self._until_s = 0.0
        self._elapsed_s = 0.0
        self._slot = Slot()
        stop = Stop()
        stop.set()  # waits of the camera's turn return at once
        self._cameras: list[FakeCamera] = []
        self._capture = Capture(
            self._open, self._slot, self._clock, lambda: 0.0, stop, config.camera.stale_s
        )
        self._uplink = FakeUplink(acknowledges=True)
        journal = Journal(FakeAlbum(), Feed(), record_of)
        self._delivery = Delivery(
            outbox_factory=lambda: MemoryOutbox("garden", "home", 1_000_000_000),
            uplink_factory=lambda _: self._uplink,
            settings=DeliverySettings(),
            topics=Topics("home", "garden"),
            group_ms=0,
            turn_s=0.001,
            clock=self._clock,
            on_committed=lambda _: None,
            first=self._first,
        )
        classifier = FakeClassifier(self._bundle, self._look)
        self._loop = Loop(
            regions=[Region(plan, classifier) for plan, _ in plans],
            rules=config.rule_values(),
            limits=config.output_limits(),
            slot=self._slot,
            capture=self._capture,
            pins=FakePins(config.outputs, {}, lambda *_: None),
            report=self._delivery.report,
            keep=lambda _: None,
            clock=self._clock,
            stale_s=config.camera.stale_s,
            turn_s=0.0,
        )
        self._reporting = Reporting(
            identity=Identity(
                version="0.1.0",
                backend=Backend(
                    runtime="none",
                    version="0",
                    accelerator="cpu",
                    threads=1,
                    delegated_nodes=0,
                    nodes=1,
                ),
                bundles=[],
                settings=SettingsState(source="here"),
            ),
            loop=self._loop,
            capture=self._capture,
            delivery=self._delivery,
            journal=journal,
            clock=self._clock,
            read_vitals=lambda: Vitals(51.5, 21_474_836_480),
            state_s=config.report.state_s,
            telemetry_s=config.report.telemetry_s,
        )

    def drafts(self, count: int) -> list[Draft]:
        """The first `count` that it reports."""
        while len(self._uplink.published) < count:
            for _ in range(TURNS):
                self._turn()
            self._deliver()
        return [decode(each.payload).draft for each in self._uplink.published[:count]]

    def _first(self, previous: PreviousRun | None) -> Draft:
        body = RunStarted(
            reason="first" if previous is None else "died",
            version="0.1.0",
            bundle=f"{self._bundle.name}@{self._bundle.version}",
            runtime="ai-edge-litert 2.3.0",
        )
        return Draft(time_ns=self._clock.wall_ns(), mono_ns=self._clock.monotonic_ns(), body=body)

    def _turn(self) -> None:
        self._elapsed_s += STEP_S
        if self._elapsed_s >= self._until_s:
            is_there = self._subject is None
            self._subject = self._chance.choice(self._subjects) if is_there else None
            self._until_s = self._elapsed_s + self._chance.uniform(4.0, 20.0)
        if not self._cameras:
            self._capture.turn()
        pixels = np.full((90, 160, 3), self._chance.randrange(256), np.uint8)
        self._cameras[-1].give(Rgb(pixels))
        self._capture.turn()
        self._loop.turn()
        self._reporting.tick()
        self._clock.advance(STEP_S)

    def _deliver(self) -> None:
        for _ in range(2):
            self._delivery.wake()
            self._delivery.outbox_turn()
            self._delivery.wake()
            self._delivery.uplink_turn()

    def _open(self) -> FakeCamera:
        self._cameras.append(FakeCamera(self._clock, wait=lambda _: None))
        return self._cameras[-1]

    def _look(self, _: Image) -> Mapping[str, float]:
        noise = self._chance.sample(self._bundle.labels, NOISE)
        scores = {label: self._chance.uniform(0.0, 0.06) for label in noise}
        if self._subject is not None:
            for label, most in zip(self._subject, (0.55, 0.25, 0.12), strict=True):
                scores[label] = self._chance.uniform(0.5, 1.0) * most
        return scores


def typical_drafts(count: int, seed: int, distinct: int = 600) -> Iterator[Draft]:
    """`count` drafts, as one box would report them one after the other: the same `distinct` ones
    again and again, each time with a time of its own."""
    drafts = TypicalBox(seed).drafts(distinct)
    round_ns = drafts[-1].mono_ns + 1_000_000_000
    for number, draft in enumerate(islice(cycle(drafts), count)):
        past_ns = number // distinct * round_ns
        yield Draft(
            time_ns=draft.time_ns + past_ns, mono_ns=draft.mono_ns + past_ns, body=draft.body
        )
