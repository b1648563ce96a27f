"""`lookout run`: the box itself, until it is told to stop."""

import argparse
import logging
import os
import tomllib
from pathlib import Path

from device.appliance import run_box, settings_text
from device.commands.options import add_config, read_settings
from device.config import Config
from device.errors import ConfigError, ExitCode
from device.settings_file import parse_config
from device.wire.state import SettingsState

log = logging.getLogger(__name__)

LAST_GOOD = "last_good_settings.toml"
DEFAULT_STATE_DIR = "/var/lib/lookout"

Found = tuple[Config, SettingsState, str, str]
"""Settings, what `state` says of them, the file's name and its text."""


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "run",
        help="run the box: camera, decisions, outputs, events",
        description="Runs the box in the foreground until SIGTERM or Ctrl-C.",
    )
    add_config(parser)
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    _configure_log(arguments.verbose)
    config, settings, name, text = find_settings(arguments.config)
    try:
        was_asked = run_box(
            config, settings, name, text, lambda: keep_last_good(config, name, text)
        )
    except ConfigError as exc:
        # The settings read well and did not fit the bundles: the last good ones may.
        earlier = last_good(config.device.state_dir, arguments.config, str(exc))
        if earlier is None or settings.refused:
            raise
        config, settings, name, text = earlier
        was_asked = run_box(config, settings, name, text, lambda: None)
    return ExitCode.OK if was_asked else ExitCode.FAILED


def find_settings(path: Path) -> Found:
    """The file's settings; where they are refused, the last good ones.

    Raises:
        ConfigError: refused, and there are no last good ones.
    """
    try:
        config = read_settings(path)
    except ConfigError as exc:
        earlier = last_good(guess_state_dir(path), path, str(exc))
        if earlier is None:
            raise
        return earlier
    return config, SettingsState(source=str(path)), str(path), settings_text(path)


def last_good(state_dir: Path, path: Path, mistakes: str) -> Found | None:
    """The settings under which the box last ran, if there are any; the log says so."""
    kept = state_dir / LAST_GOOD
    text = settings_text(kept)
    if not text:
        return None
    try:
        config = parse_config(text, str(kept), path.resolve().parent)
    except ConfigError:
        return None
    for mistake in mistakes.splitlines():
        log.error("settings refused: %s", mistake)
    log.warning("running on the last good settings file=%s", kept)
    return config, SettingsState(source=str(kept), refused=mistakes.splitlines()), str(kept), text


def keep_last_good(config: Config, name: str, text: str) -> None:
    """To be called once the box runs on `text`; written whole or not at all."""
    kept = config.device.state_dir / LAST_GOOD
    if str(kept) == name or settings_text(kept) == text:
        return
    fresh = kept.with_suffix(".new")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(kept)
    except OSError as exc:
        log.warning("last good settings not kept file=%s: %s", kept, exc.strerror)


def guess_state_dir(path: Path) -> Path:
    """The state folder of a settings file that was refused."""
    try:
        raw = tomllib.loads(settings_text(path))
    except tomllib.TOMLDecodeError:
        raw = {}
    section = raw.get("device")
    named = section.get("state_dir") if isinstance(section, dict) else None
    if isinstance(named, str) and named:
        return path.resolve().parent / Path(named).expanduser()
    return Path(os.environ.get("STATE_DIRECTORY", DEFAULT_STATE_DIR))


def _configure_log(is_verbose: bool) -> None:
    """The journal has its own times."""
    time = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        level=logging.DEBUG if is_verbose else logging.INFO,
        format=f"{time}%(levelname)s %(name)s: %(message)s",
    )
