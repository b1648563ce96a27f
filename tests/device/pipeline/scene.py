"""A box without disk, network or hardware: the real loop between fakes that behave."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from threading import Event

import numpy as np

from device.camera.fake_camera import FakeCamera
from device.clocks import HandClock
from device.config import ButtonConfig, Config, OutputConfig
from device.core.bundle import Bundle, Group, InputSpec
from device.core.change import GateSettings
from device.core.detection import Patience, Thresholds
from device.core.images import WHOLE, Image, Rectangle, Rgb
from device.core.rules import Rule
from device.gpio.fake_pins import FakePins
from device.inference.fake_classifier import FakeClassifier
from device.pipeline.capture import Capture, Slot
from device.pipeline.decide import ButtonPress, Loop
from device.pipeline.look import Region, RegionPlan
from device.ports import Keepsake, Page
from device.wire.bodies import Body
from device.wire.events import Draft

HALF = Thresholds(low=0.3, high=0.5)
CAT, DOG, EMPTY = 200, 100, 0
"""Brightness that the scene's classifier takes for a cat, a dog, nothing."""

BUNDLE = Bundle(
    name="scene",
    version="1.0.0",
    kind="classifier",
    description="for tests",
    licence="Apache-2.0",
    source="made here",
    scores="exclusive",
    activation="none",
    input=InputSpec(
        height_px=8, width_px=8, fit="squash", colours="rgb", mean=(0, 0, 0), std=(1, 1, 1)
    ),
    labels=("tabby", "tiger cat", "beagle", "grass"),
    has_background=False,
    groups={
        "cat": Group(name="cat", labels=("tabby", "tiger cat"), thresholds=HALF),
        "dog": Group(name="dog", labels=("beagle",), thresholds=HALF),
    },
    thresholds=HALF,
    variants={"cpu": "model.tflite"},
    sha256="ab" * 32,
    folder=PurePath("scene"),
)


def picture(brightness: int, height_px: int = 90, width_px: int = 160) -> Rgb:
    return Rgb(np.full((height_px, width_px, 3), brightness, np.uint8))


def look_at(image: Image) -> Mapping[str, float]:
    """Cats are bright, dogs half so, and what is dark is grass."""
    plane = image.pixels if isinstance(image, Rgb) else image.y
    brightness = float(plane.mean())
    if brightness > 150:
        return {"tabby": 0.5, "tiger cat": 0.4, "grass": 0.1}
    if brightness > 50:
        return {"beagle": 0.8, "grass": 0.2}
    return {"grass": 1.0}


@dataclass
class Scene:
    """turn() is one turn of camera and loop; `told` and `pages` are what came of it."""

    rules: tuple[Rule, ...] = ()
    outputs: Mapping[str, OutputConfig] = field(
        default_factory=lambda: {"lamp": OutputConfig(pin=17)}
    )
    gate: GateSettings | None = None
    patience: Patience = field(default_factory=Patience)
    boxes: Mapping[str, Rectangle] = field(default_factory=lambda: {"whole": WHOLE})
    masks: tuple[Rectangle, ...] = ()
    stale_s: float = 5.0
    identify_output: str | None = None

    def __post_init__(self) -> None:
        self.clock = HandClock()
        self.slot = Slot()
        self.stop = Event()
        self.stop.set()  # waits of the camera's turn return at once
        self.cameras: list[FakeCamera] = []
        self.open_error: Exception | None = None
        self.capture = Capture(
            self._open, self.slot, self.clock, lambda: 0.0, self.stop, self.stale_s
        )
        self.pins = FakePins(self.outputs, {"look": ButtonConfig(pin=22)}, self._press)
        self.told: list[tuple[Body, Keepsake | None]] = []
        self.pages: list[Page] = []
        self.model_error: Exception | None = None
        self.classifier = FakeClassifier(BUNDLE, self._look_at)
        limits = Config(outputs=dict(self.outputs)).output_limits()
        self.loop = Loop(
            regions=[
                Region(self.plan(name, box), self.classifier) for name, box in self.boxes.items()
            ],
            rules=self.rules,
            limits=limits,
            slot=self.slot,
            capture=self.capture,
            pins=self.pins,
            report=self._report,
            keep=self.pages.append,
            clock=self.clock,
            stale_s=self.stale_s,
            identify_output=self.identify_output,
            turn_s=0.0,
        )

    def plan(self, name: str, box: Rectangle) -> RegionPlan:
        return RegionPlan(
            name=name,
            box=box,
            masks=self.masks,
            watch=("cat", "dog"),
            thresholds={"cat": HALF, "dog": HALF},
            patience=self.patience,
            gate=self.gate,
        )

    def show(self, *brightnesses: int, step_s: float = 0.1) -> None:
        """One frame after the other, each followed by a turn of the loop."""
        for brightness in brightnesses:
            self.show_image(picture(brightness), step_s)

    def show_image(self, image: Image, step_s: float = 0.1) -> None:
        if not self.cameras or self.cameras[-1].is_closed:
            self.capture.turn()
        self.cameras[-1].give(image)
        self.capture.turn()
        self.loop.turn()
        self.clock.advance(step_s)

    def wait(self, seconds: float, step_s: float = 0.5) -> None:
        """Time without a frame."""
        for _ in range(round(seconds / step_s)):
            self.capture.turn()
            self.loop.turn()
            self.clock.advance(step_s)

    @property
    def bodies(self) -> list[Body]:
        return [body for body, _ in self.told]

    def _look_at(self, image: Image) -> Mapping[str, float]:
        if self.model_error is not None:
            raise self.model_error
        return look_at(image)

    def _open(self) -> FakeCamera:
        if self.open_error is not None:
            raise self.open_error
        self.cameras.append(FakeCamera(self.clock, wait=lambda _: None))
        return self.cameras[-1]

    def _press(self, button: str, press: str) -> None:
        self.loop.ask(ButtonPress(button, "held" if press == "held" else "short"))

    def _report(self, draft: Draft, keepsake: Keepsake | None) -> bool:
        self.told.append((draft.body, keepsake))
        return True
