"""Pins through gpiozero: lgpio where the machine has pins, else gpiozero's mock.

gpiozero closes only its default pin factory at the process's end; the one used here is never its
default, so only `close` (or the kernel) lets the pins go.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from threading import Lock

from gpiozero import Button, DigitalOutputDevice, Factory, GPIOPinInUse, GPIOZeroError
from gpiozero.pins.mock import MockFactory

from device.config import ButtonConfig, OutputConfig
from device.errors import ConfigError, LookoutError, TransientError
from device.gpio.press import Phase, hold, push, release
from device.ports import PressCallback

log = logging.getLogger(__name__)

DEVICES = Path("/dev")
MODEL = Path("/proc/device-tree/model")


def machine_has_pins(devices: Path = DEVICES, model: Path = MODEL) -> bool:
    """Whether this is a Raspberry Pi with a GPIO character device: many a laptop has one too,
    which leads nowhere, and gpiozero knows the pins of Pis alone."""
    try:
        is_pi = b"Raspberry Pi" in model.read_bytes()
    except OSError:
        return False
    return is_pi and any(devices.glob("gpiochip*"))


def mock_factory() -> Factory:
    """Pins that nothing is connected to."""
    return MockFactory()


def real_factory(name: str | None = None, devices: Path = DEVICES) -> Factory:
    """The pin factory called `name` in gpiozero; by default what `GPIOZERO_PIN_FACTORY` says,
    else lgpio: left to choose, gpiozero falls back from one to the next, and picks wrong.

    Raises:
        ConfigError: its library is not installed, or the user may not open the pins.
        TransientError: the pins would not open for another reason.
    """
    name = name or os.environ.get("GPIOZERO_PIN_FACTORY") or "lgpio"
    known = {point.name: point for point in entry_points(group="gpiozero_pin_factories")}
    if name not in known:
        raise ConfigError(
            f"GPIOZERO_PIN_FACTORY={name}: gpiozero knows {', '.join(sorted(known))}; "
            "leave it unset for lgpio"
        )
    try:
        return known[name].load()()
    except ImportError as exc:
        raise ConfigError(
            f"the pins want the library {name}, and it is not installed ({exc}): "
            f'sudo apt install python3-{name}, or set [gpio] driver = "mock"'
        ) from exc
    except _errors() as exc:
        what = 'the GPIO chip ([gpio] driver = "mock" does without)'
        raise _translated(exc, what, devices) from exc


class GpiozeroPins:
    """Outputs and buttons on one pin factory, which it owns.

    An output's pin becomes an input when it closes: what holds it then is the wiring
    (docs/wiring.md).
    """

    def __init__(
        self,
        outputs: Mapping[str, OutputConfig],
        buttons: Mapping[str, ButtonConfig],
        on_press: PressCallback,
        factory: Factory,
    ) -> None:
        """Raises ConfigError or TransientError, every output that was opened safe again."""
        self._factory = factory
        self._lock = Lock()
        self._is_closed = False
        self._outputs: dict[str, DigitalOutputDevice] = {}
        self._safe = {name: output.safe == "on" for name, output in outputs.items()}
        self._buttons: list[_Button] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            for name, output in outputs.items():
                self._outputs[name] = self._open_output(name, output)
            for name, button in buttons.items():
                self._buttons.append(self._open_button(name, button, on_press))
            undo.pop_all()

    @property
    def description(self) -> str:
        return describe(self._factory)

    def write(self, output: str, level: bool) -> None:
        with self._lock:
            if self._is_closed:
                return
            try:
                self._outputs[output].value = level
            except _errors() as exc:
                raise _translated(exc, f'output "{output}"') from exc

    def close(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for name, output in self._outputs.items():
                _quietly(name, partial(setattr, output, "value", self._safe[name]))
            for name, output in self._outputs.items():
                _quietly(name, output.close)
        # Outside the lock: a button's close waits for its thread, which may be in a callback.
        for button in self._buttons:
            _quietly(button.name, button.close)
        _quietly("pins", self._factory.close)

    def _open_output(self, name: str, output: OutputConfig) -> DigitalOutputDevice:
        try:
            return DigitalOutputDevice(
                output.pin,
                active_high=output.active_high,
                initial_value=output.safe == "on",
                pin_factory=self._factory,
            )
        except _errors() as exc:
            raise _translated(exc, f'output "{name}" on pin {output.pin}') from exc

    def _open_button(self, name: str, button: ButtonConfig, on_press: PressCallback) -> "_Button":
        try:
            return _Button(name, button, on_press, self._factory)
        except _errors() as exc:
            raise _translated(exc, f'button "{name}" on pin {button.pin}') from exc


class _Button:
    """gpiozero's Button, with a release that knows whether the press was held."""

    def __init__(
        self, name: str, button: ButtonConfig, on_press: PressCallback, factory: Factory
    ) -> None:
        self.name = name
        self._on_press = on_press
        # gpiozero tells of a hold and of a release on two threads.
        self._lock = Lock()
        self._phase = Phase.UP
        self._device = Button(
            button.pin,
            pull_up=button.pull == "up",
            bounce_time=button.bounce_s or None,
            hold_time=button.hold_s,
            pin_factory=factory,
        )
        self._device.when_pressed = self._push
        self._device.when_held = self._hold
        self._device.when_released = self._release

    def close(self) -> None:
        self._device.close()

    def _push(self) -> None:
        with self._lock:
            self._phase = push(self._phase)

    def _hold(self) -> None:
        with self._lock:
            self._phase, press = hold(self._phase)
        if press is not None:
            self._on_press(self.name, press)

    def _release(self) -> None:
        with self._lock:
            self._phase, press = release(self._phase)
        if press is not None:
            self._on_press(self.name, press)


def describe(factory: Factory) -> str:
    """For people."""
    if isinstance(factory, MockFactory):
        return "gpiozero's mock pins: nothing real is switched"
    name = type(factory).__name__.removesuffix("Factory").lower()
    chip = getattr(factory, "chip", None)
    return f"gpiozero {name}" + ("" if chip is None else f" on gpiochip{chip}")


def _errors() -> tuple[type[Exception], ...]:
    """What gpiozero and the library under it raise. lgpio has a type of its own, and is not on
    every machine; RPi.GPIO raises RuntimeError."""
    own = getattr(sys.modules.get("lgpio"), "error", None)
    known = (GPIOZeroError, OSError, RuntimeError)
    return (*known, own) if isinstance(own, type) and issubclass(own, Exception) else known


def _translated(exc: Exception, what: str, devices: Path = DEVICES) -> LookoutError:
    text = str(exc) or type(exc).__name__
    chips = sorted(devices.glob("gpiochip*"))
    closed = [str(chip) for chip in chips if not os.access(chip, os.R_OK | os.W_OK)]
    if isinstance(exc, GPIOPinInUse):
        return ConfigError(f"{what}: {text}; give each output and button a pin of its own")
    if isinstance(exc, PermissionError) or (chips and len(closed) == len(chips)):
        return ConfigError(
            f"{what}: this user may not open {', '.join(closed) or 'the pins'} ({text}); "
            "sudo usermod -aG gpio USER, then log in again"
        )
    if "busy" in text.lower():
        return TransientError(
            f"{what}: another program or a kernel overlay uses it ({text}); `gpioinfo` names it: "
            "stop it, or choose another pin"
        )
    if isinstance(exc, GPIOZeroError):
        return ConfigError(f"{what}: {text}")
    return TransientError(f"{what}: {text}")


def _quietly(name: str, step: Callable[[], object]) -> None:
    """One step of closing; the next ones are taken whatever comes of it."""
    try:
        step()
    except _errors() as exc:
        log.warning("pin not closed cleanly name=%s error=%s", name, exc)
