"""Options that the commands of trust share."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from cloud_bridge.commands.options import whole_number
from cloud_bridge.errors import ConfigError
from cloud_bridge.trust.authority import Authority

DEVICE_DAYS = 730
MQTTS_PORT = 8883
Subparsers = argparse._SubParsersAction  # argparse has no public name for it


def add_ca_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ca-dir",
        type=Path,
        default=Path("~/.lookout-ca"),
        metavar="DIR",
        help="folder of the certificate authority (default: %(default)s); whoever reads its "
        "ca.key can be any box",
    )


def add_output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help=f"folder for what is made (default: {default})"
    )


def add_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--days",
        type=whole_number(1, 7300, "days, 1 to 7300"),
        default=DEVICE_DAYS,
        metavar="N",
        help="days until it ends (default: %(default)s)",
    )


def add_force(parser: argparse.ArgumentParser, help_text: str) -> None:
    parser.add_argument("--force", action="store_true", help=help_text)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON: one object a line")


def add_also_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--also-trust",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of a second authority that is trusted too, while one takes over from the "
        "other",
    )


def open_authority(arguments: argparse.Namespace, *, may_make: bool) -> Authority:
    """Raises ConfigError, OutputError, TransientError."""
    return Authority(arguments.ca_dir.expanduser(), lambda: datetime.now(UTC), may_make=may_make)


def life(arguments: argparse.Namespace) -> timedelta:
    return timedelta(days=arguments.days)


def checked(check: Callable[[str], str]) -> Callable[[str], str]:
    """A check as argparse wants it: a name that is none is a mistake in the command line."""

    def typed(text: str) -> str:
        try:
            return check(text)
        except ConfigError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return typed


def install_dir(text: str) -> PurePosixPath:
    """Stands in settings files: a line's end in it would begin a setting of its own."""
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a folder here; want printable text")
    return PurePosixPath(text)


port = whole_number(1, 65535, "a port, 1 to 65535")
