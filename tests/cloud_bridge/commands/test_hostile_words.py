"""Words that no command takes: each is refused in words of ours, and nobody is connected to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cloud_bridge.errors import ExitCode
from cloud_bridge.main import main

SETTINGS = 'registries = ["home"]\nstate_dir = "state"\n[pubsub]\nproject = "some-project"\n'
HUGE = "9" * 30
COMMAND = ["send", "command", "garden", "identify", "--mqtt"]
CONFIG = ["send", "config", "garden", "wanted.toml", "--mqtt"]

Refused = Callable[..., tuple[int | str | None, str]]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """The exit code, and what was complained of."""
    config = tmp_path / "bridge.toml"
    config.write_text(SETTINGS)

    def run(words: list[str], wanted: str = "") -> tuple[int | str | None, str]:
        (tmp_path / "wanted.toml").write_text(wanted)
        words = [str(tmp_path / word) if word == "wanted.toml" else word for word in words]
        try:
            code: int | str | None = main([*words, "--config", str(config)])
        except SystemExit as exc:
            code = exc.code
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    "words",
    [
        ["deadletters", "drop", HUGE],
        ["deadletters", "drop", "0"],
        ["deadletters", "drop"],
        ["deadletters", "retry", f"-{HUGE}"],
        ["deadletters", "list", "--limit", HUGE],
        [*COMMAND, "--expires-s", "nan"],
        [*COMMAND, "--expires-s", "1e300"],
        [*COMMAND, "--expires-s", "-1"],
        [*CONFIG, "--version", "0"],
        [*CONFIG, "--version", HUGE],
        ["send", "command", "garden", "explode", "--mqtt"],
    ],
    ids=" ".join,
)
def test_a_number_or_a_word_that_is_none_is_a_mistake_of_the_command_line(
    refused: Refused, words: list[str]
) -> None:
    code, complaint = refused(words)
    assert code == ExitCode.USAGE
    assert "usage:" in complaint


@pytest.mark.parametrize(
    ("words", "wanted", "complaint"),
    [
        ([*COMMAND, "--argument", "a=[1e999]"], "", "found a number"),
        ([*COMMAND, "--argument", "=1"], "", "want KEY=VALUE"),
        (["send", "command", "gar/den", "identify", "--mqtt"], "", "want letters"),
        (CONFIG, "a = inf", "found a number"),
        (CONFIG, "a = 2026-01-01", "holds a date"),
        (CONFIG, f"a = {'[' * 3000}{']' * 3000}", "recursion"),
        (CONFIG, f"a = '{'x' * 70_000}'", "want at most 65536"),
        (CONFIG, f"a = [{'1e15,' * 10_000}]", "want at most 65536"),
    ],
)
def test_what_cannot_go_down_is_refused_before_anybody_is_asked(
    refused: Refused, words: list[str], wanted: str, complaint: str
) -> None:
    code, told = refused(words, wanted)
    assert code == ExitCode.BAD_CONFIG
    assert complaint in told


@pytest.mark.parametrize(
    "words",
    [
        ["device", "add", "garden"],
        ["broker", "settings"],
    ],
)
def test_a_folder_name_cannot_begin_a_setting_of_its_own(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made"
    options = ["--output", str(made), "--ca-dir", str(tmp_path / "ca")]
    with pytest.raises(SystemExit) as caught:
        main([*words, *options, "--install-dir", "/etc/x\nallow_anonymous true"])
    assert caught.value.code == ExitCode.USAGE
    assert "want printable text" in capsys.readouterr().err
    assert not made.exists()
