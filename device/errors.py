"""What went wrong, named for what the caller does next, and the exit code it becomes.

Messages say what was found, what is wanted and how to mend it, in that order.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; `docs/exit-codes.md` lists them. Source: sysexits(3)."""

    OK = 0
    FAILED = 1
    """Something that should not happen; the journal has the traceback."""
    USAGE = 2
    """The command line was not understood (argparse's own code)."""
    BAD_MODEL = 65
    """A bundle, model file or labels file was refused."""
    BAD_PICTURE = 66
    """A picture is missing, empty, cut or none at all."""
    NOT_FOUND = 67
    """What was asked for is not on record."""
    NOT_RUNNING = 69
    """The command needs a running box and none answers on the control socket."""
    CANNOT_WRITE = 73
    """An output file or the state folder cannot be written."""
    TRY_AGAIN = 75
    """A temporary failure: the state folder is held by another instance, a port is taken."""
    BAD_CONFIG = 78
    """The settings were refused and there are no earlier good ones."""


class LookoutError(Exception):
    """Base of the errors that a command turns into one message and an exit code."""

    exit_code = ExitCode.FAILED


class ConfigError(LookoutError):
    """The caller keeps the last good settings; with none, exits 78."""

    exit_code = ExitCode.BAD_CONFIG


class ModelError(LookoutError):
    """The caller refuses the bundle and keeps the one in use."""

    exit_code = ExitCode.BAD_MODEL


class PictureError(LookoutError):
    """The caller names the picture and goes on with the next."""

    exit_code = ExitCode.BAD_PICTURE


class TransientError(LookoutError):
    """The caller tries again with backoff and jitter."""

    exit_code = ExitCode.TRY_AGAIN


class SourceEndedError(LookoutError):
    """A clip came to its end and was not to be repeated; there is nothing to try again."""

    exit_code = ExitCode.FAILED


class NotFoundError(LookoutError):
    """The caller asked for something that is not there."""

    exit_code = ExitCode.NOT_FOUND


class NotRunningError(LookoutError):
    """The command tells the person how to start the box."""

    exit_code = ExitCode.NOT_RUNNING


class OutputError(LookoutError):
    """A file that a command was asked to write cannot be written."""

    exit_code = ExitCode.CANNOT_WRITE
