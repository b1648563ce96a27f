"""Options that several commands share."""

import argparse
import os
from pathlib import Path

from device.config import Config
from device.settings_file import read_config

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
    return read_config(arguments.config)


def socket_of(arguments: argparse.Namespace) -> Path:
    """Raises ConfigError: there is no `--socket`, and the settings cannot be read."""
    if arguments.socket is not None:
        return Path(arguments.socket)
    return config_of(arguments).device.socket_path
