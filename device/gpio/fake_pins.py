"""Pins in memory, for tests of the loops: they remember what was written, and can be pressed."""

from collections.abc import Mapping
from threading import Lock

from device.config import ButtonConfig, OutputConfig
from device.gpio.press import Phase, hold, push, release
from device.ports import PressCallback


class FakePins:
    """writes: every write that changed a level, in order, the safe levels of the start first."""

    def __init__(
        self,
        outputs: Mapping[str, OutputConfig],
        buttons: Mapping[str, ButtonConfig],
        on_press: PressCallback,
    ) -> None:
        self._safe = {name: output.safe == "on" for name, output in outputs.items()}
        self._on_press = on_press
        self._phases = dict.fromkeys(buttons, Phase.UP)
        self._lock = Lock()
        self.levels = dict(self._safe)
        self.writes = list(self._safe.items())
        self.is_closed = False
        self._refusals: dict[str, Exception] = {}

    @property
    def description(self) -> str:
        return "pins in memory: nothing real is switched"

    def write(self, output: str, level: bool) -> None:
        with self._lock:
            if self.is_closed:
                return
            if output in self._refusals:
                raise self._refusals[output]
            self._put(output, level)

    def refuse(self, output: str, error: Exception | None) -> None:
        """Let writes to `output` raise `error` from now on; None: no more."""
        self._refusals.pop(output, None)
        if error is not None:
            self._refusals[output] = error

    def close(self) -> None:
        with self._lock:
            self.is_closed = True
            for name, level in self._safe.items():
                self._put(name, level)

    def push(self, button: str) -> None:
        """A finger comes down."""
        self._phases[button] = push(self._phases[button])

    def hold(self, button: str) -> None:
        """The finger stays for the holding time."""
        self._phases[button], press = hold(self._phases[button])
        if press is not None and not self.is_closed:
            self._on_press(button, press)

    def release(self, button: str) -> None:
        """The finger goes."""
        self._phases[button], press = release(self._phases[button])
        if press is not None and not self.is_closed:
            self._on_press(button, press)

    def _put(self, output: str, level: bool) -> None:
        if self.levels[output] != level:
            self.levels[output] = level
            self.writes.append((output, level))
