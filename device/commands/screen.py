"""Words to people and lines to programs: the only place that writes to the terminal."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from device.wire.text import printable


def say(text: str) -> None:
    """One line, or several, for people; at once, so that a pipe's reader need not wait."""
    sys.stdout.write(f"{printable(text)}\n")
    sys.stdout.flush()


def say_json(value: Mapping[str, Any]) -> None:
    """One object, one line, for programs."""
    say(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))


def complain(text: str) -> None:
    """What went wrong, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
