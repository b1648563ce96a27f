"""Pins as files: what another process sees, and how it presses."""

from pathlib import Path
from queue import Queue
from threading import Condition
from time import monotonic

import pytest

from device.clocks import HandClock
from device.config import ButtonConfig, OutputConfig
from device.errors import OutputError, TransientError
from device.gpio.file_pins import FilePins
from device.ports import Press

DEADLINE_S = 5.0
RELAY = {"relay": OutputConfig(pin=27, active_high=False)}
LOOK = {"look": ButtonConfig(pin=5, hold_s=3.0, bounce_s=0.05)}


def ignore(_: str, __: Press) -> None:
    """Nobody listens to these buttons."""


def test_the_file_holds_the_logical_level_not_the_pin_s(tmp_path: Path) -> None:
    pins = FilePins(RELAY, {}, ignore, tmp_path)
    path = tmp_path / "out-relay"
    assert path.read_text() == "0\n"
    pins.write("relay", True)
    assert path.read_text() == "1\n"
    pins.close()
    assert path.read_text() == "0\n"


def test_a_level_that_stays_writes_no_file(tmp_path: Path) -> None:
    pins = FilePins(RELAY, {}, ignore, tmp_path)
    before = (tmp_path / "out-relay").stat()
    pins.write("relay", False)
    after = (tmp_path / "out-relay").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    pins.close()


def test_a_reader_sees_the_old_file_or_the_new_one_and_nothing_else(tmp_path: Path) -> None:
    pins = FilePins(RELAY, {}, ignore, tmp_path)
    with (tmp_path / "out-relay").open() as old:
        pins.write("relay", True)
        assert old.read() == "0\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-relay"]
    pins.close()


def test_what_an_earlier_run_left_is_made_safe(tmp_path: Path) -> None:
    (tmp_path / "out-relay").write_text("1\n")
    pins = FilePins(RELAY, {}, ignore, tmp_path)
    assert (tmp_path / "out-relay").read_text() == "0\n"
    pins.close()


def test_buttons_can_be_found_by_their_files(tmp_path: Path) -> None:
    pins = FilePins({}, LOOK, ignore, tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "button-look").read_text() == "0\n"
    pins.close()


class PolledClock(HandClock):
    """A clock that knows how often the pins have looked at it."""

    def __init__(self) -> None:
        super().__init__()
        self._looked = Condition()
        self._looks = 0

    def monotonic_ns(self) -> int:
        with self._looked:
            self._looks += 1
            self._looked.notify_all()
            return super().monotonic_ns()

    def wait_for_polls(self, count: int) -> None:
        with self._looked:
            wanted = self._looks + count
            assert self._looked.wait_for(lambda: self._looks >= wanted, DEADLINE_S)


class Finger:
    """Presses a button whose clock it turns."""

    def __init__(self, folder: Path) -> None:
        self.presses: Queue[tuple[str, Press]] = Queue()
        self.clock = PolledClock()
        self.path = folder / "button-look"
        self.pins = FilePins(
            {}, LOOK, lambda name, press: self.presses.put((name, press)), folder, self.clock
        )

    def put(self, text: str, for_s: float) -> None:
        """Leave `text` there for so long on the box's clock, in steps that the polls follow."""
        self.path.write_text(text)
        for _ in range(10):
            self.clock.wait_for_polls(2)  # the first may have read the file before
            self.clock.advance(for_s / 10)
        self.clock.wait_for_polls(2)


@pytest.fixture
def finger(tmp_path: Path) -> Finger:
    return Finger(tmp_path)


def test_holding_goes_by_the_box_s_clock(finger: Finger) -> None:
    finger.put("1", for_s=3.1)
    assert finger.presses.get(timeout=DEADLINE_S) == ("look", "held")
    finger.put("0", for_s=1.0)
    assert finger.presses.empty()
    finger.pins.close()


def test_a_file_that_is_just_being_written_is_no_release(finger: Finger) -> None:
    finger.put("1", for_s=1.0)
    for half_written in ("", "x", "10"):
        finger.put(half_written, for_s=0.4)
    finger.path.unlink()
    finger.put("1", for_s=0.4)
    assert finger.presses.empty()
    finger.put("0", for_s=1.0)
    assert finger.presses.get(timeout=DEADLINE_S) == ("look", "short")
    finger.pins.close()


def test_a_button_that_is_down_from_the_start_is_no_press(tmp_path: Path) -> None:
    (tmp_path / "button-look").write_text("1\n")
    finger = Finger(tmp_path)
    finger.put("1", for_s=5.0)
    finger.put("0", for_s=1.0)
    assert finger.presses.empty()
    finger.pins.close()


def test_close_is_heard_at_once(tmp_path: Path) -> None:
    pins = FilePins(RELAY, LOOK, ignore, tmp_path)
    began_s = monotonic()
    pins.close()
    assert monotonic() - began_s < 1.0


def test_a_folder_that_cannot_be_made_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"\[gpio\] folder"):
        FilePins(RELAY, {}, ignore, tmp_path / "file" / "pins")


def test_a_folder_that_goes_away_is_an_error_to_try_again(tmp_path: Path) -> None:
    pins = FilePins(RELAY, {}, ignore, tmp_path / "pins")
    (tmp_path / "pins" / "out-relay").unlink()
    (tmp_path / "pins").rmdir()
    with pytest.raises(TransientError, match='output "relay"'):
        pins.write("relay", True)
    pins.close()
