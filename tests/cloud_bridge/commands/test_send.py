"""`lookout-cloud send` as a person types it, before anything is sent."""

from pathlib import Path

import pytest

from cloud_bridge.errors import ExitCode
from cloud_bridge.main import main


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"x = [", "not TOML"),
        (b"when = 2026-01-01", "holds a date"),
    ],
)
def test_a_file_that_holds_no_settings_is_one_message(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wanted.toml"
    if content is not None:
        file.write_bytes(content)
    assert main(["send", "config", "garden", str(file)]) == ExitCode.BAD_CONFIG
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"{file}: {said}")
    assert complaint.count(str(file)) == 1
    assert "want a TOML file of settings" in complaint
    assert len(complaint.splitlines()) == 1
