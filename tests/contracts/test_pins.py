"""What every driver of pins keeps: safe at both ends, presses told apart."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue

import pytest
from gpiozero.pins.mock import MockFactory

from device.clocks import SystemClock
from device.config import ButtonConfig, OutputConfig
from device.gpio.fake_pins import FakePins
from device.gpio.file_pins import FilePins
from device.gpio.gpiozero_pins import GpiozeroPins
from device.ports import Pins, Press

OUTPUTS = {
    "lamp": OutputConfig(pin=17),
    "relay": OutputConfig(pin=27, active_high=False),
    "fan": OutputConfig(pin=22, safe="on"),
}
HOLD_S = 0.8
BUTTONS = {
    "look": ButtonConfig(pin=5, hold_s=HOLD_S, bounce_s=0.0),
    "other": ButtonConfig(pin=6, hold_s=HOLD_S, bounce_s=0.0, pull="down"),
}
DEADLINE_S = 5.0
QUIET_S = 0.1


@dataclass
class Bench:
    """A driver on the bench: its outputs can be read, its buttons pressed."""

    pins: Pins
    level: Callable[[str], bool]
    push: Callable[[str], None]
    stay: Callable[[str], None]
    release: Callable[[str], None]
    presses: "Queue[tuple[str, Press]]"

    def next_press(self) -> tuple[str, Press]:
        return self.presses.get(timeout=DEADLINE_S)

    def no_press(self) -> bool:
        with suppress(Empty):
            self.presses.get(timeout=QUIET_S)
            return False
        return True


def nothing(_: str) -> None:
    """A real finger needs no call to stay where it is."""


def on_gpiozero(_: Path) -> Bench:
    factory = MockFactory()
    pin = {name: factory.pin(output.pin) for name, output in OUTPUTS.items()}
    knob = {name: factory.pin(button.pin) for name, button in BUTTONS.items()}
    presses: Queue[tuple[str, Press]] = Queue()
    pins = GpiozeroPins(OUTPUTS, BUTTONS, lambda name, press: presses.put((name, press)), factory)

    def turn(name: str, is_pressed: bool) -> None:
        high = is_pressed == (BUTTONS[name].pull == "down")
        (knob[name].drive_high if high else knob[name].drive_low)()

    return Bench(
        pins=pins,
        level=lambda name: pin[name].state == OUTPUTS[name].active_high,
        push=lambda name: turn(name, True),
        stay=nothing,
        release=lambda name: turn(name, False),
        presses=presses,
    )


def in_files(folder: Path) -> Bench:
    presses: Queue[tuple[str, Press]] = Queue()
    pins = FilePins(
        OUTPUTS, BUTTONS, lambda name, press: presses.put((name, press)), folder, SystemClock()
    )

    def turn(name: str, text: str) -> None:
        (folder / f"button-{name}").write_text(text)

    return Bench(
        pins=pins,
        level=lambda name: (folder / f"out-{name}").read_text() == "1\n",
        push=lambda name: turn(name, "1\n"),
        stay=nothing,
        release=lambda name: turn(name, "0\n"),
        presses=presses,
    )


def in_memory(_: Path) -> Bench:
    presses: Queue[tuple[str, Press]] = Queue()
    pins = FakePins(OUTPUTS, BUTTONS, lambda name, press: presses.put((name, press)))
    return Bench(
        pins=pins,
        level=lambda name: pins.levels[name],
        push=pins.push,
        stay=pins.hold,
        release=pins.release,
        presses=presses,
    )


BENCHES: dict[str, Callable[[Path], Bench]] = {
    "gpiozero": on_gpiozero,
    "file": in_files,
    "fake": in_memory,
}


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = BENCHES[request.param](tmp_path / "pins")
    yield bench
    bench.pins.close()


def levels(bench: Bench) -> dict[str, bool]:
    return {name: bench.level(name) for name in OUTPUTS}


SAFE = {"lamp": False, "relay": False, "fan": True}


def test_every_output_starts_at_its_safe_level(bench: Bench) -> None:
    assert levels(bench) == SAFE


def test_an_output_does_as_it_is_told_and_no_other_does(bench: Bench) -> None:
    bench.pins.write("relay", True)
    assert levels(bench) == {**SAFE, "relay": True}
    bench.pins.write("relay", False)
    assert levels(bench) == SAFE


def test_writing_a_level_twice_changes_nothing(bench: Bench) -> None:
    bench.pins.write("lamp", True)
    bench.pins.write("lamp", True)
    assert levels(bench) == {**SAFE, "lamp": True}


def test_close_puts_every_output_safe_and_may_come_twice(bench: Bench) -> None:
    for name, level in SAFE.items():
        bench.pins.write(name, not level)
    bench.pins.close()
    bench.pins.close()
    assert levels(bench) == SAFE


def test_a_write_after_close_switches_nothing(bench: Bench) -> None:
    bench.pins.close()
    bench.pins.write("lamp", True)
    assert levels(bench) == SAFE


def test_an_unknown_output_is_a_mistake_of_the_caller(bench: Bench) -> None:
    with pytest.raises(KeyError):
        bench.pins.write("siren", True)


def test_it_says_that_nothing_real_is_switched(bench: Bench) -> None:
    assert "nothing real is switched" in bench.pins.description


def test_a_press_that_ends_early_is_short(bench: Bench) -> None:
    bench.push("other")
    assert bench.no_press()
    bench.release("other")
    assert bench.next_press() == ("other", "short")
    assert bench.no_press()


def test_a_press_that_lasts_is_held_once_and_its_end_is_no_short_one(bench: Bench) -> None:
    bench.push("look")
    bench.stay("look")
    assert bench.next_press() == ("look", "held")
    bench.release("look")
    assert bench.no_press()


def test_after_a_held_press_a_short_one_is_short_again(bench: Bench) -> None:
    bench.push("look")
    bench.stay("look")
    assert bench.next_press() == ("look", "held")
    bench.release("look")
    assert bench.no_press()
    bench.push("look")
    assert bench.no_press()
    bench.release("look")
    assert bench.next_press() == ("look", "short")


def test_after_close_no_press_is_told(bench: Bench) -> None:
    bench.pins.close()
    bench.push("look")
    bench.release("look")
    assert bench.no_press()
