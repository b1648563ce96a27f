"""Options that several commands share: a settings file is read with all that is wrong in it."""

import argparse
from pathlib import Path

import pytest

from device.commands.options import positive_count, positive_seconds, read_settings
from device.errors import ConfigError

WRONG = """\
[device]
state_dir = "state"
name = "my box"
[regions.gate]
watch = ["cat", "brid"]
[outputs.lamp]
pin = true
[rules.greet]
output = "lmap"
seen = "dgo"
"""


def mistakes_in(folder: Path, text: str) -> list[str]:
    file = folder / "box.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_settings(file)
    return [line.removeprefix(f"{file}:") for line in str(caught.value).splitlines()]


def test_names_that_no_bundle_knows_are_told_together_with_everything_else(tmp_path: Path) -> None:
    told = mistakes_in(tmp_path, WRONG)
    assert [line.split(": ")[:2] for line in told] == [
        ["3", "device.name"],
        ["5", "regions.gate.watch"],
        ["7", "outputs.lamp.pin"],
        ["9", "rules.greet.output"],
        ["10", "rules.greet.seen"],
    ]
    assert 'no label or group "brid"; did you mean "bird"' in told[1]


def test_rules_are_not_judged_by_regions_that_are_wrong_themselves(tmp_path: Path) -> None:
    text = WRONG.replace('watch = ["cat", "brid"]', 'watch = "tabby"').replace("dgo", "tabby")
    assert [line.split(": ")[1] for line in mistakes_in(tmp_path, text)] == [
        "device.name",
        "regions.gate.watch",
        "outputs.lamp.pin",
        "rules.greet.output",
    ]


def test_a_bundle_that_is_not_there_is_one_mistake_among_the_others(tmp_path: Path) -> None:
    text = WRONG.replace("[regions.gate]", '[inference]\nbundle = "nowhere"\n[regions.gate]')
    told = mistakes_in(tmp_path, text)
    assert len(told) == 4
    assert any("inference.bundle" in line and "nowhere" in line for line in told)


def test_nothing_is_made_where_the_settings_are_only_read(tmp_path: Path) -> None:
    mistakes_in(tmp_path, WRONG)
    assert [path.name for path in tmp_path.iterdir()] == ["box.toml"]


@pytest.mark.parametrize("found", ["x", "", "0", "-1", "nan", "1" * 5000, "\udcff"])
def test_a_wrong_number_is_told_with_what_is_wanted(found: str) -> None:
    for typed, wanted in ((positive_seconds, "seconds"), (positive_count, "a whole number")):
        with pytest.raises(argparse.ArgumentTypeError, match=f"want {wanted}") as caught:
            typed(found)
        assert len(str(caught.value)) < 200
