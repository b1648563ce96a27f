"""Words to people: the only place of the cloud side that writes to the terminal."""

import sys


def say(text: str) -> None:
    """One line, or several; at once, so that a pipe's reader need not wait."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """What went wrong, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
