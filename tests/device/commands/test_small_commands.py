"""Small promises of the command line: exit codes, and running boxes behind broken settings."""

import os
import subprocess
import sys
from pathlib import Path

from tests.kit.box import lookout
from tests.tools import REPOSITORY


def test_an_output_that_cannot_be_written_is_one_message() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "device.main", "config", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            check=False,
        )
    assert done.returncode == 73
    assert "the output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "device.main", "config", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaints = process.stderr.read()
    assert (process.returncode, complaints) == (0, "")


def test_numbers_that_make_no_sense_are_refused_by_the_parser() -> None:
    for words in (["demo", "--seconds", "-1"], ["demo", "--seconds", "nan"]):
        assert lookout(*words).returncode == 2
    assert lookout("why", "--near", "--limit", "0").returncode == 2


def test_broken_settings_do_not_hide_a_box_that_is_not_there(tmp_path: Path) -> None:
    settings = tmp_path / "lookout.toml"
    settings.write_text('[device]\nstate_dir = "state"\nnmae = "x"\n')
    done = lookout("status", "--config", settings)
    assert done.returncode == 78
    assert 'did you mean "name"' in done.stderr


def test_without_a_record_why_says_how_to_get_one(tmp_path: Path) -> None:
    settings = tmp_path / "lookout.toml"
    settings.write_text('[device]\nstate_dir = "state"\n')
    done = lookout("why", "box:1-00000000:1", "--config", settings)
    assert done.returncode == 69
    assert "lookout run" in done.stderr
    assert os.listdir(tmp_path) == ["lookout.toml"]  # noqa: PTH208 - names, not paths
