"""Options that several commands share."""

import argparse
import os
from pathlib import Path

CONFIG = "/etc/lookout/bridge.toml"
HUB_CONFIG = "/etc/lookout/hub.toml"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Settings of the bridge, or of the hub where there are only those."""
    parser.add_argument(
        "--config",
        default=default_config(),
        metavar="FILE",
        help=f"settings of the bridge or the hub (default: $LOOKOUT_BRIDGE_CONFIG, else {CONFIG}, "
        f"else {HUB_CONFIG})",
    )


def default_config() -> str:
    named = os.environ.get("LOOKOUT_BRIDGE_CONFIG")
    if named:
        return named
    return HUB_CONFIG if Path(HUB_CONFIG).exists() and not Path(CONFIG).exists() else CONFIG
