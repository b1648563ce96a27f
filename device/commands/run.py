"""`lookout run`: the box itself, until it is told to stop."""

import argparse
import logging
import os
from pathlib import Path

from device import assembly
from device.appliance import DESIRED_FILE, run_box
from device.commands.options import add_config, guess_state_dir, read_settings
from device.core.desired import TuningRecord, at_start
from device.errors import ConfigError, ExitCode, ModelError, TransientError
from device.pipeline.tuning import Source, Start, read_record
from device.settings_file import settings_text

log = logging.getLogger(__name__)

LAST_GOOD = "last_good_settings.toml"


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
    start = find_settings(arguments.config)
    try:
        was_asked = _run(start)
    except (ConfigError, ModelError) as exc:
        # The settings read well and did not fit the bundles: those before them may.
        earlier = _earlier(start, str(exc))
        if earlier is None:
            raise
        was_asked = _run(earlier)
    return ExitCode.OK if was_asked else ExitCode.FAILED


def _run(start: Start) -> bool:
    """Raises LookoutError."""
    return run_box(start, lambda: keep_last_good(start))


def _earlier(start: Start, mistakes: str) -> Start | None:
    if start.record.in_force is not None:
        for mistake in mistakes.splitlines():
            log.error("settings refused: %s", mistake)
        return start.without_desired(mistakes.splitlines())
    if start.source.refused:
        return None
    return last_good(start.config.device.state_dir, start.source.path, mistakes)


def find_settings(path: Path) -> Start:
    """The file's settings, or the last good ones where they are refused, and what was desired
    from afar over them.

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
    source = Source(name=str(path), path=path, text=settings_text(path))
    return Start.of(source, desired_of(config.device.state_dir))


def desired_of(state_dir: Path) -> TuningRecord:
    """What holds of the desired settings that are kept there, once the box starts."""
    return at_start(read_record(assembly.open_small_file(state_dir, DESIRED_FILE)))


def last_good(state_dir: Path, path: Path, mistakes: str) -> Start | None:
    """The settings under which the box last ran, if there are any; the log says so."""
    kept = state_dir / LAST_GOOD
    text = settings_text(kept)
    if not text:
        return None
    source = Source(name=str(kept), path=path, text=text, refused=tuple(mistakes.splitlines()))
    try:
        start = Start.of(source, desired_of(state_dir))
    except ConfigError:
        return None
    for mistake in mistakes.splitlines():
        log.error("settings refused: %s", mistake)
    log.warning("running on the last good settings file=%s", kept)
    return start


def keep_last_good(start: Start) -> None:
    """To be called once the box runs on them: the file's text, without what was desired."""
    state_dir, text = start.config.device.state_dir, start.source.text
    kept = state_dir / LAST_GOOD
    if str(kept) == start.source.name or settings_text(kept) == text:
        return
    try:
        assembly.open_small_file(state_dir, LAST_GOOD).write(text.encode())
    except TransientError as exc:
        log.warning("last good settings not kept: %s", exc)


def _configure_log(is_verbose: bool) -> None:
    """The journal has its own times."""
    time = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        level=logging.DEBUG if is_verbose else logging.INFO,
        format=f"{time}%(levelname)s %(name)s: %(message)s",
    )
