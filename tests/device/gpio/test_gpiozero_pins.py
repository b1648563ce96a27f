"""gpiozero's pins: safe from the first moment, and errors that say what to do."""

from pathlib import Path
from typing import Any

import pytest
from gpiozero.exc import PinInvalidFunction
from gpiozero.pins.mock import MockFactory, MockPin

from device.config import ButtonConfig, OutputConfig
from device.errors import ConfigError, TransientError
from device.gpio.gpiozero_pins import (
    GpiozeroPins,
    describe,
    machine_has_pins,
    mock_factory,
    real_factory,
)
from device.ports import Press

LAMP = OutputConfig(pin=17)
RELAY = OutputConfig(pin=27, active_high=False)
FAN = OutputConfig(pin=22, safe="on")


def ignore(_: str, __: Press) -> None:
    """Nobody listens to these buttons."""


class BusyPin(MockPin):  # type: ignore[misc]
    """Pin 22 belongs to somebody else."""

    def _set_function(self, value: str) -> None:
        if self.info.name == "GPIO22" and value == "output":
            raise OSError("GPIO busy")
        super()._set_function(value)


class ForbiddenPin(MockPin):  # type: ignore[misc]
    """Belongs to root."""

    def _set_function(self, value: str) -> None:
        if value == "output":
            raise PermissionError(13, "Permission denied")
        super()._set_function(value)


class DyingPin(MockPin):  # type: ignore[misc]
    """Works until it is told to be high."""

    def _set_state(self, value: Any) -> None:  # noqa: ANN401 - gpiozero's own
        if value:
            raise OSError("I/O error")
        super()._set_state(value)


def test_no_output_leaves_its_safe_level_while_it_is_opened() -> None:
    factory = MockFactory()
    pins = {number: factory.pin(number) for number in (17, 27, 22)}
    with_safe = {"lamp": LAMP, "relay": RELAY, "fan": FAN}
    driver = GpiozeroPins(with_safe, {}, ignore, factory)
    # Before the first entry the pin was an input at this level.
    assert [state.state for state in pins[17].states][1:] == []
    assert [state.state for state in pins[27].states][1:] == [True]
    assert [state.state for state in pins[22].states][1:] == [True]
    driver.close()


def test_closing_goes_through_the_safe_level_and_leaves_an_input() -> None:
    factory = MockFactory()
    pin = factory.pin(27)
    driver = GpiozeroPins({"relay": RELAY}, {}, ignore, factory)
    driver.write("relay", True)
    assert (pin.function, pin.state) == ("output", False)
    driver.close()
    assert (pin.function, pin.state) == ("input", True)


def test_pins_are_free_again_after_close() -> None:
    factory = MockFactory()
    GpiozeroPins({"lamp": LAMP}, {}, ignore, factory).close()
    GpiozeroPins({"lamp": LAMP}, {}, ignore, factory).close()


def test_when_a_later_output_fails_the_earlier_ones_are_safe_and_free() -> None:
    factory = MockFactory(pin_class=BusyPin)
    earlier = factory.pin(27)
    with pytest.raises(TransientError, match='output "fan" on pin 22: another program'):
        GpiozeroPins({"relay": RELAY, "fan": FAN}, {}, ignore, factory)
    assert (earlier.function, earlier.state) == ("input", True)


def test_one_pin_for_two_names_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ConfigError, match="a pin of its own"):
        GpiozeroPins({"lamp": LAMP, "other": LAMP}, {}, ignore, MockFactory())
    with pytest.raises(ConfigError, match='button "look" on pin 17'):
        GpiozeroPins({"lamp": LAMP}, {"look": ButtonConfig(pin=17)}, ignore, MockFactory())


def test_without_permission_the_person_hears_which_group_it_takes() -> None:
    with pytest.raises(ConfigError, match="usermod -aG gpio"):
        GpiozeroPins({"lamp": LAMP}, {}, ignore, MockFactory(pin_class=ForbiddenPin))


def test_a_pin_that_cannot_pull_is_a_mistake_in_the_settings() -> None:
    buttons = {"look": ButtonConfig(pin=2, pull="down")}  # pins 2 and 3 have a resistor to 3.3 V
    with pytest.raises(ConfigError, match='button "look" on pin 2'):
        GpiozeroPins({}, buttons, ignore, MockFactory())


def test_an_output_that_fails_while_it_runs_is_tried_again_by_the_caller() -> None:
    driver = GpiozeroPins({"lamp": LAMP}, {}, ignore, MockFactory(pin_class=DyingPin))
    with pytest.raises(TransientError, match='output "lamp": I/O error'):
        driver.write("lamp", True)
    driver.close()


def test_close_goes_on_when_one_pin_fails(caplog: pytest.LogCaptureFixture) -> None:
    factory = MockFactory(pin_class=DyingPin)
    lamp = factory.pin(17)
    inverted = OutputConfig(pin=27, active_high=False, safe="on")  # so that safe is low
    driver = GpiozeroPins({"relay": inverted, "lamp": LAMP}, {}, ignore, factory)
    factory.pin(27)._set_function("input")  # taken away: gpiozero raises when it is written
    driver.close()
    assert lamp.function == "input"
    assert "pin not closed cleanly name=relay" in caplog.text


def test_a_button_may_rest_low() -> None:
    factory = MockFactory()
    pin = factory.pin(6)
    found: list[tuple[str, Press]] = []
    driver = GpiozeroPins(
        {}, {"look": ButtonConfig(pin=6, pull="down")}, lambda *each: found.append(each), factory
    )
    pin.drive_high()
    pin.drive_low()
    assert found == [("look", "short")]
    driver.close()


def test_a_button_that_is_down_from_the_start_is_no_press() -> None:
    factory = MockFactory()
    pin = factory.pin(5)
    found: list[tuple[str, Press]] = []

    class StuckPin(MockPin):  # type: ignore[misc]
        """Tied to ground: no pull lifts it."""

        def _set_pull(self, value: str) -> None:
            self._pull = value
            self.drive_low()

    factory.pins[pin.info] = stuck = StuckPin(factory, pin.info)
    driver = GpiozeroPins(
        {}, {"look": ButtonConfig(pin=5, hold_s=0.01)}, lambda *each: found.append(each), factory
    )
    stuck.drive_high()
    assert found == []
    driver.close()


def test_a_raspberry_pi_with_a_gpio_chip_has_pins_and_a_laptop_with_one_has_not(
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    (tmp_path / "dev").mkdir()
    model.write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\x00")
    assert not machine_has_pins(tmp_path / "dev", model)
    (tmp_path / "dev" / "gpiochip0").touch()
    assert machine_has_pins(tmp_path / "dev", model)
    model.write_bytes(b"Pine64 Rock64\x00")
    assert not machine_has_pins(tmp_path / "dev", model)
    model.unlink()
    assert not machine_has_pins(tmp_path / "dev", model)


def test_the_description_says_what_drives_the_pins() -> None:
    class LGPIOFactory:
        chip = 0

    assert describe(LGPIOFactory()) == "gpiozero lgpio on gpiochip0"
    assert describe(mock_factory()) == "gpiozero's mock pins: nothing real is switched"


def test_an_unknown_pin_factory_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"gpiozero knows .*lgpio.*native"):
        real_factory("nonsense")


def test_the_mock_can_be_had_by_its_name_too() -> None:
    assert isinstance(real_factory("mock"), MockFactory)


def test_without_its_library_the_person_hears_what_to_install() -> None:
    # Of gpiozero's factories the one whose library no machine of ours has.
    with pytest.raises(ConfigError, match="sudo apt install python3-pigpio"):
        real_factory("pigpio")


def test_gpiozero_s_own_errors_are_mistakes_in_the_settings() -> None:
    class OddPin(MockPin):  # type: ignore[misc]
        def _set_function(self, value: str) -> None:
            if value == "output":
                raise PinInvalidFunction(f"invalid function {value}")
            super()._set_function(value)

    with pytest.raises(ConfigError, match='output "lamp" on pin 17: invalid function'):
        GpiozeroPins({"lamp": LAMP}, {}, ignore, MockFactory(pin_class=OddPin))
