"""Options that several commands share."""

import argparse
import os

CONFIG = "/etc/lookout/bridge.toml"


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        default=os.environ.get("LOOKOUT_BRIDGE_CONFIG", CONFIG),
        metavar="FILE",
        help=f"the bridge's settings (default: $LOOKOUT_BRIDGE_CONFIG, or {CONFIG})",
    )
