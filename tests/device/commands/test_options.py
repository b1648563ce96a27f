"""Options that several commands share: a settings file is read with all that is wrong in it."""

from pathlib import Path

import pytest

from device.commands.options import read_settings
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


def test_a_bundle_that_is_not_there_does_not_hide_the_other_mistakes(tmp_path: Path) -> None:
    text = WRONG.replace("[regions.gate]", '[inference]\nbundle = "nowhere"\n[regions.gate]')
    assert len(mistakes_in(tmp_path, text)) == 3


def test_nothing_is_made_where_the_settings_are_only_read(tmp_path: Path) -> None:
    mistakes_in(tmp_path, WRONG)
    assert [path.name for path in tmp_path.iterdir()] == ["box.toml"]
