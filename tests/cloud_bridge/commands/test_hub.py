"""`lookout-cloud hub`: what it says before it runs. How it runs: tests/system/test_hub.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from cloud_bridge.commands.hub import first_settings
from cloud_bridge.commands.options import CONFIG, HUB_CONFIG
from cloud_bridge.errors import ExitCode
from cloud_bridge.main import main
from cloud_bridge.settings_file import read_config
from tests.tools import REPOSITORY


def test_its_first_settings_are_good_and_stay_as_they_are(tmp_path: Path) -> None:
    path = first_settings(tmp_path / "new" / "hub")
    config = read_config(path)
    assert config.hub is not None
    assert config.hub.data_dir == tmp_path / "new" / "hub"
    assert config.state_dir == tmp_path / "new" / "hub" / "bridge"
    path.write_text("[hub]\nport = 9\n")
    assert first_settings(tmp_path / "new" / "hub") == path
    assert path.read_text() == "[hub]\nport = 9\n"


def test_every_line_that_its_first_settings_leave_out_may_be_put_in(tmp_path: Path) -> None:
    path = first_settings(tmp_path)
    lines = [line.removeprefix("# ") for line in path.read_text().splitlines()[3:]]
    path.write_text("\n".join(lines))
    config = read_config(path)
    assert config.registries == ["home"]
    assert config.mqtt.port_number == 1883


def complaint(*words: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "cloud_bridge.main", "hub", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30.0,
        check=False,
    )
    return done.returncode, done.stderr


def test_settings_of_a_bridge_are_none_of_a_hub(tmp_path: Path) -> None:
    settings = tmp_path / "bridge.toml"
    settings.write_text('registries = ["home"]\n[pubsub]\nproject = "some-project"\n')
    code, words = complaint("--config", settings)
    assert code == ExitCode.BAD_CONFIG
    assert "no [hub] table; want one, which may be empty" in words


def test_no_settings_and_no_folder_are_one_message(tmp_path: Path) -> None:
    code, words = complaint("--config", tmp_path / "absent.toml")
    assert code == ExitCode.BAD_CONFIG
    assert "no such file" in words
    assert "begin with --data-dir DIR" in words
    (tmp_path / "file").write_text("")
    code, words = complaint("--data-dir", tmp_path / "file")
    assert code == ExitCode.CANNOT_WRITE
    assert "name another --data-dir" in words


def test_other_commands_say_where_they_look_for_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["deadletters", "list", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"$LOOKOUT_BRIDGE_CONFIG, else {CONFIG}, else {HUB_CONFIG}" in said
