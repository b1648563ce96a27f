"""What went wrong on the cloud side, named for what the caller does next, with its exit code.

Messages say what was found, what is wanted and how to mend it, in that order.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every `lookout-cloud` command. Source: sysexits(3)."""

    OK = 0
    FAILED = 1
    """Something that should not happen; the journal has the traceback."""
    USAGE = 2
    """The command line was not understood (argparse's own code)."""
    REFUSED = 69
    """Pub/Sub or the broker refuses: a topic, a right or a subscription is missing."""
    CANNOT_WRITE = 73
    """A folder or a file cannot be written."""
    TRY_AGAIN = 75
    """A temporary failure: a folder is held by another process, a port is taken."""
    BAD_CONFIG = 78
    """The settings were refused."""


class CloudError(Exception):
    """Base of the errors that a command turns into one message and an exit code."""

    exit_code = ExitCode.FAILED


class ConfigError(CloudError):
    """The caller tells the person; there is nothing to try again."""

    exit_code = ExitCode.BAD_CONFIG


class TransientError(CloudError):
    """The caller tries again with backoff and jitter."""

    exit_code = ExitCode.TRY_AGAIN


class OutputError(CloudError):
    """A folder or a file that has to be written cannot be."""

    exit_code = ExitCode.CANNOT_WRITE


class BlockedError(CloudError):
    """Nothing will be taken until a person mends something: the caller stops, says so loudly, and
    tries again slowly."""

    exit_code = ExitCode.REFUSED


class RejectedError(CloudError):
    """At least one of these messages will never be taken: the caller finds out which."""


class FullError(CloudError):
    """There is no room; the caller keeps what it has, acknowledges nothing and says so."""

    exit_code = ExitCode.CANNOT_WRITE
