import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_bridge.errors import ExitCode
from cloud_bridge.main import MODULES, main
from tests.tools import REPOSITORY


@pytest.mark.parametrize("command", MODULES)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"lookout-cloud {command}" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fly"])
    assert caught.value.code == ExitCode.USAGE
    assert "pubsub" in capsys.readouterr().err


def test_an_error_becomes_a_message_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    code = subprocess.run(
        [sys.executable, "-m", "cloud_bridge.main", "pubsub", "--data-dir", tmp_path / "file"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30.0,
        check=False,
    )
    assert code.returncode == ExitCode.CANNOT_WRITE
    assert "of its own" in code.stderr
    assert "Traceback" not in code.stderr


def test_the_cloud_side_loads_no_more_than_it_needs() -> None:
    """The parser must answer at once on a small machine."""
    code = "import sys, cloud_bridge.main; print('grpc' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["pubsub", "--data-dir", str(tmp_path), "--port", str(taken.getsockname()[1])]
        said = subprocess.run(
            [sys.executable, "-m", "cloud_bridge.main", *words],
            cwd=REPOSITORY,
            env={name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"},
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
        )
    assert said.returncode == ExitCode.TRY_AGAIN
    assert "the port is taken" in said.stderr
    assert len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["deadletters", "list", "--limit"], "want how many, from 1"),
        (["deadletters", "drop"], "want a number from 1"),
        (["events", "--count"], "want how many, from 1"),
        (["events", "--seconds"], "want seconds, more than 0"),
        (["send", "config", "garden", "file.toml", "--version"], "want a whole number from 1"),
        (["send", "command", "garden", "identify", "--expires-s"], "(seven days) at most"),
        (["pubsub", "--data-dir", "here", "--port"], "want a port, 0 to 65535"),
        (["pubsub", "--data-dir", "here", "--max-bytes"], "want bytes, 1000000 or more"),
        (["broker", "settings", "--port"], "want a port, 1 to 65535"),
        (["broker", "settings", "--max-connections"], "want how many, 2 to 65535"),
        (["device", "add", "garden", "--days"], "want days, 1 to 7300"),
        (["provision", "--project", "some-project", "--keep-days"], "want days, 1 to 31"),
    ],
)
@pytest.mark.parametrize("found", ["x", "-1", "1" * 5000, "nan"])
def test_a_wrong_number_is_told_with_what_is_wanted(
    words: list[str], wanted: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*words, found])
    assert caught.value.code == ExitCode.USAGE
    complaint = capsys.readouterr().err.splitlines()[-1]
    if not found.startswith("-"):  # argparse itself takes it for an option
        assert f"got '{found[:60]}" in complaint
        assert wanted in complaint
