"""Pins as files, for another process to watch and to press.

`out-NAME` holds `1` or `0` and a newline: the logical level of the output, so 1 is on whatever
`active_high` says. It is replaced whole (written aside, then renamed), and only when the level
changes. `button-NAME` holds what another process wrote there: `1` is pressed, `0` is not; anything
else, such as a file that is just being written, leaves the button as it was.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread

from device.clocks import SystemClock
from device.config import ButtonConfig, OutputConfig
from device.errors import OutputError, TransientError
from device.gpio.press import Contact, first_look, look
from device.ports import Clock, PressCallback

log = logging.getLogger(__name__)

POLL_S = 0.02
"""A person's shortest press is about 50 ms."""

NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class _Button:
    path: Path
    hold_ns: int
    bounce_ns: int
    contact: Contact


class FilePins:
    """One file a pin in a folder, which is made where it is missing."""

    def __init__(
        self,
        outputs: Mapping[str, OutputConfig],
        buttons: Mapping[str, ButtonConfig],
        on_press: PressCallback,
        folder: Path,
        clock: Clock | None = None,
    ) -> None:
        """Raises OutputError when the folder cannot be written."""
        self._folder = folder
        self._clock = clock or SystemClock()
        self._on_press = on_press
        self._safe = {name: output.safe == "on" for name, output in outputs.items()}
        self._levels: dict[str, bool] = {}
        self._lock = Lock()
        self._stop = Event()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, level in self._safe.items():
                self._put(name, level)
            self._buttons = {name: self._open(name, each) for name, each in buttons.items()}
        except OSError as exc:
            raise OutputError(
                f"the folder of file pins, {folder}: {exc.strerror}; want one that this user may "
                "write: [gpio] folder"
            ) from exc
        self._poller: Thread | None = None
        if self._buttons:
            self._poller = Thread(target=self._poll, name="file-pins", daemon=True)
            self._poller.start()

    @property
    def description(self) -> str:
        return f"files in {self._folder}: nothing real is switched"

    def write(self, output: str, level: bool) -> None:
        with self._lock:
            if self._stop.is_set() or self._levels[output] == level:
                return
            try:
                self._put(output, level)
            except OSError as exc:
                raise TransientError(f'output "{output}": {exc}') from exc

    def close(self) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._stop.set()
            for name, level in self._safe.items():
                try:
                    self._put(name, level)
                except OSError as exc:
                    log.warning("pin not closed cleanly name=%s error=%s", name, exc)
        if self._poller is not None:
            self._poller.join(timeout=1.0)

    def _put(self, name: str, level: bool) -> None:
        path = self._folder / f"out-{name}"
        aside = self._folder / f".out-{name}.new"
        aside.write_text("1\n" if level else "0\n")
        aside.replace(path)
        self._levels[name] = level

    def _open(self, name: str, button: ButtonConfig) -> _Button:
        path = self._folder / f"button-{name}"
        if not path.exists():
            path.write_text("0\n")
        return _Button(
            path=path,
            hold_ns=round(button.hold_s * NS_PER_S),
            bounce_ns=round(button.bounce_s * NS_PER_S),
            contact=first_look(_is_closed(path, was_closed=False), self._clock.monotonic_ns()),
        )

    def _poll(self) -> None:
        while not self._stop.wait(POLL_S):
            for name, button in self._buttons.items():
                button.contact, press = look(
                    button.contact,
                    _is_closed(button.path, button.contact.is_closed),
                    self._clock.monotonic_ns(),
                    button.hold_ns,
                    button.bounce_ns,
                )
                if press is not None:
                    self._on_press(name, press)


def _is_closed(path: Path, was_closed: bool) -> bool:
    try:
        text = path.read_bytes()[:16].strip()
    except OSError:
        return was_closed
    return {b"1": True, b"0": False}.get(text, was_closed)
