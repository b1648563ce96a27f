"""Words to people and lines to programs: the only place that writes to the terminal."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from device.errors import OutputError
from device.wire.text import printable


def say(text: str) -> None:
    """One line, or several, for people; at once, so that a pipe's reader need not wait.

    Raises:
        BrokenPipeError: nobody reads any more.
        OutputError: the output cannot be written, as on a full disk.
    """
    try:
        sys.stdout.write(f"{printable(text)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        # What could not be written must not be tried again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"the output cannot be written: {exc.strerror}") from exc


def say_json(value: Mapping[str, Any]) -> None:
    """One object, one line, for programs."""
    say(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))


def complain(text: str) -> None:
    """What went wrong, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
