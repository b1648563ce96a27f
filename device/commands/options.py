"""Options that several commands share."""

import argparse
import os
from pathlib import Path

from device import assembly
from device.config import Config
from device.core.toml_keys import KeyLines
from device.errors import ModelError
from device.pipeline.planning import plan_regions
from device.settings_file import Mistake, SettingsError, read_config

DEFAULT_CONFIG = "/etc/lookout/lookout.toml"


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
    try:
        _, found = plan_regions(refused.rest, store.find, KeyLines(refused.text))
    except ModelError:
        return []  # told once the file itself is mended
    places = ("regions", "inference")
    if any(each.key.startswith(places) for each in refused.mistakes):
        # What a region watches for may be among what was left out, so rules cannot be judged.
        return [each for each in found if each.key.startswith("regions")]
    return found


def socket_of(arguments: argparse.Namespace) -> Path:
    """Raises ConfigError: there is no `--socket`, and the settings cannot be read."""
    if arguments.socket is not None:
        return Path(arguments.socket)
    return config_of(arguments).device.socket_path
