"""Options that several commands share."""

import argparse
import os
import tomllib
from contextlib import suppress
from pathlib import Path

from device import assembly
from device.config import Config
from device.core.toml_keys import KeyLines
from device.errors import ConfigError
from device.pipeline.planning import plan_regions
from device.settings_file import Mistake, SettingsError, read_config, settings_text

DEFAULT_CONFIG = "/etc/lookout/lookout.toml"
DEFAULT_STATE_DIR = "/var/lib/lookout"


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config FILE`."""
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(os.environ.get("LOOKOUT_CONFIG", DEFAULT_CONFIG)),
        metavar="FILE",
        help=f"settings file (default: $LOOKOUT_CONFIG, else {DEFAULT_CONFIG})",
    )


def add_socket(parser: argparse.ArgumentParser) -> None:
    """`--config FILE` or `--socket PATH`: which running box is meant."""
    add_config(parser)
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="control socket of the running box (default: that of its settings)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def config_of(arguments: argparse.Namespace) -> Config:
    """Raises ConfigError."""
    return read_settings(arguments.config)


def read_settings(path: Path) -> Config:
    """As `read_config`; of a file with mistakes, names that no bundle knows are told as well.

    Raises:
        ConfigError: unreadable, or with mistakes: all of them, one a line.
    """
    try:
        return read_config(path)
    except SettingsError as exc:
        raise exc.with_more(_unknown_names(exc)) from exc


def _unknown_names(refused: SettingsError) -> list[Mistake]:
    if refused.rest is None:
        return []
    store = assembly.open_bundles(refused.rest.device.state_dir)
    _, found = plan_regions(refused.rest, store.find, KeyLines(refused.text))
    places = ("regions", "inference")
    if any(each.key.startswith(places) for each in refused.mistakes):
        # What a region watches for may be among what was left out, so rules cannot be judged.
        return [each for each in found if each.key.startswith("regions")]
    return found


def socket_of(arguments: argparse.Namespace) -> Path:
    """Of the running box. Settings with mistakes do not hide it: it may run on its last good ones.

    Raises:
        ConfigError: there is no `--socket`, and neither the settings nor a socket where they
            seem to have it.
    """
    if arguments.socket is not None:
        return Path(arguments.socket)
    try:
        return config_of(arguments).device.socket_path
    except ConfigError:
        guess = guess_state_dir(arguments.config) / "control.sock"
        if guess.is_socket():
            return guess
        raise


def guess_state_dir(path: Path) -> Path:
    """The state folder of a settings file that was refused."""
    try:
        raw = tomllib.loads(settings_text(path))
    except (ValueError, RecursionError):
        raw = {}
    section = raw.get("device")
    named = section.get("state_dir") if isinstance(section, dict) else None
    if isinstance(named, str) and named:
        with suppress(RuntimeError):  # of a user who does not exist
            return path.resolve().parent / Path(named).expanduser()
    return Path(os.environ.get("STATE_DIRECTORY", DEFAULT_STATE_DIR))


def positive_seconds(text: str) -> float:
    """For argparse: a finite number over 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"got {text[:60]!r}; want seconds, more than 0")
    return seconds


def positive_count(text: str) -> int:
    """For argparse: a whole number from 1."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"got {text[:60]!r}; want a whole number from 1")
    return count
