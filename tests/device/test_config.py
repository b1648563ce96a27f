"""Settings as values: defaults, units, and a description of every key."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from device.config import Config, schema
from device.core.images import WHOLE, Rectangle
from device.core.rules import Action, Hours
from device.settings_file import parse_config

S = 1_000_000_000


def config(text: str) -> Config:
    return parse_config(text, "box.toml")


def sections() -> dict[str, dict[str, Any]]:
    return {name: each for name, each in schema()["$defs"].items() if "properties" in each}


def test_without_regions_the_whole_frame_is_one() -> None:
    regions = config("").all_regions
    assert list(regions) == ["whole"]
    assert regions["whole"].rectangle() == WHOLE


def test_regions_of_the_file_take_the_place_of_the_whole_frame() -> None:
    regions = config("[regions.a]\nbox = [0, 0.5, 1, 1]\nmasks = [[0, 0, 0.25, 1]]").all_regions
    assert list(regions) == ["a"]
    assert regions["a"].rectangle() == Rectangle(top=0, left=0.5, bottom=1, right=1)
    assert regions["a"].mask_rectangles() == (Rectangle(top=0, left=0, bottom=0.25, right=1),)


def test_rules_keep_the_order_of_the_file() -> None:
    text = "[outputs.lamp]\npin = 4\n" + "".join(
        f'[rules.{name}]\noutput = "lamp"\nseen = "cat"\n' for name in ("zebra", "ant", "mole")
    )
    assert [rule.name for rule in config(text).rule_values()] == ["zebra", "ant", "mole"]


def test_a_rule_becomes_a_value_in_nanoseconds_and_minutes() -> None:
    [rule] = config(
        '[outputs.lamp]\npin = 4\n[rules.night]\noutput = "lamp"\nabsent = "cat"\n'
        'regions = ["whole"]\nafter_s = 1.5\nkeep_s = 60\naction = "blink"\npulse_s = 2\n'
        'blink_on_s = 0.25\nblink_off_s = 0.75\nhours = "22:30-06:05"\n'
    ).rule_values()
    assert (rule.target, rule.is_absence, rule.regions) == ("cat", True, frozenset({"whole"}))
    assert (rule.after_ns, rule.keep_ns) == (1_500_000_000, 60 * S)
    assert (rule.action, rule.pulse_ns) == (Action.BLINK, 2 * S)
    assert (rule.blink_on_ns, rule.blink_off_ns) == (S // 4, 3 * S // 4)
    assert (rule.hours, rule.outside_hours) == (Hours(22 * 60 + 30, 6 * 60 + 5), None)


def test_outputs_are_off_when_safe_and_have_no_longest_time_unless_told() -> None:
    limits = config(
        '[outputs.lamp]\npin = 4\n[outputs.fan]\npin = 5\nsafe = "on"\nlongest_on_s = 30\n'
    ).output_limits()
    assert (limits["lamp"].safe_level, limits["lamp"].longest_on_ns) == (False, None)
    assert (limits["fan"].safe_level, limits["fan"].longest_on_ns) == (True, 30 * S)


def test_detection_becomes_patience_and_gate() -> None:
    detection = config("[detection]\nshortest_s = 0.5\nlongest_s = 60\n").detection
    assert detection.patience().shortest_ns == S // 2
    assert detection.patience().longest_ns == 60 * S
    gate = detection.gate_settings()
    assert gate is not None
    assert gate.look_every_ns == 5 * S
    assert config("[detection]\ngate = false").detection.gate_settings() is None


def test_the_port_follows_tls_unless_it_is_given() -> None:
    assert config("").mqtt.port_number == 1883
    assert config("[mqtt.tls]").mqtt.port_number == 8883
    assert config("[mqtt]\nport = 1234\n[mqtt.tls]").mqtt.port_number == 1234


def test_topics_and_the_socket_follow_the_device() -> None:
    found = config('[device]\nname = "garden"\nregistry = "farm"\nstate_dir = "/data/lookout"\n')
    assert found.topics.root == "farm/devices/garden"
    assert found.device.socket_path == Path("/data/lookout/control.sock")
    other = config('[device]\ncontrol_socket = "/run/box.sock"\n')
    assert other.device.socket_path == Path("/run/box.sock")


def test_the_window_of_delivery_keeps_places_for_new_events() -> None:
    delivery = config("[mqtt]\nwindow = 8\nlive_share = 0.5\n").mqtt.delivery_settings()
    assert (delivery.window, delivery.live_places) == (8, 4)


def test_settings_cannot_be_changed_once_read() -> None:
    found = config("")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(found.mqtt, "host", "elsewhere")  # noqa: B010 - mypy knows it is frozen


def test_every_section_and_every_key_says_what_it_is() -> None:
    for name, section in sections().items():
        assert section.get("description"), name
        for key, field in section["properties"].items():
            assert name == "Config" or field.get("description"), f"{name}.{key}"


def test_no_section_takes_a_key_that_it_does_not_know() -> None:
    assert schema()["additionalProperties"] is False
    for name, section in sections().items():
        assert section["additionalProperties"] is False, name
