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
