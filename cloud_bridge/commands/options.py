"""Options that several commands share."""

import argparse
import os
from collections.abc import Callable
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


def whole_number(least: int, most: int, wish: str) -> Callable[[str], int]:
    """For argparse. wish: what a mistaken person hears is wanted."""

    def typed(text: str) -> int:
        try:
            number = int(text)
        except ValueError:  # of more digits than Python takes, too
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"got {text[:60]!r}; want {wish}")
        return number

    return typed


def seconds(most_s: float, wish: str) -> Callable[[str], float]:
    """For argparse: more than 0. wish: as above."""

    def typed(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not 0 < number <= most_s:
            raise argparse.ArgumentTypeError(f"got {text[:60]!r}; want {wish}")
        return number

    return typed
