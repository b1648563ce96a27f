"""Google's client library: its credentials, and its errors told apart by what the caller does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.api_core import exceptions
from google.auth import exceptions as auth
from google.oauth2 import service_account

from cloud_bridge.errors import BlockedError, CloudError, ConfigError, RejectedError, TransientError

TRANSIENT = (
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.DataLoss,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
    exceptions.RetryError,
    exceptions.BadGateway,
    exceptions.GatewayTimeout,
)

REFUSED = (exceptions.InvalidArgument, exceptions.OutOfRange)


def make_client(kind: Any, credentials_file: Path | None) -> Any:  # noqa: ANN401 - the library's own
    """A publisher's or subscriber's client. Raises ConfigError."""
    given: Mapping[str, Any] = {}
    try:
        if credentials_file is not None:
            read: Any = service_account.Credentials.from_service_account_file
            found = read(credentials_file)
            given = {"credentials": found}
        return kind(**given)
    except (auth.GoogleAuthError, OSError, ValueError) as exc:
        where = "[pubsub] credentials_file" if credentials_file else "the environment"
        raise ConfigError(
            f"Google Cloud credentials from {where}: {exc}; name a service account's key in "
            "[pubsub] credentials_file, set GOOGLE_APPLICATION_CREDENTIALS, or use a local "
            "Pub/Sub by PUBSUB_EMULATOR_HOST"
        ) from exc


@contextmanager
def translated(what: str) -> Iterator[None]:
    """The library's errors to ours."""
    try:
        yield
    except (exceptions.GoogleAPIError, auth.GoogleAuthError) as exc:
        raise error_of(what, exc) from exc


def error_of(what: str, exc: Exception) -> CloudError:
    """What an error of the library means to the caller."""
    words = f"{what}: {getattr(exc, 'message', None) or exc}"
    if isinstance(exc, REFUSED):
        return RejectedError(words)
    if isinstance(exc, (auth.TransportError, *TRANSIENT)):
        return TransientError(words)
    if isinstance(exc, exceptions.NotFound):
        return BlockedError(
            f"{words}; nothing goes on: make it, for example with lookout-cloud provision"
        )
    if isinstance(exc, exceptions.PermissionDenied | exceptions.Forbidden):
        return BlockedError(
            f"{words}; nothing goes on: give the bridge's account the right roles (publisher, "
            "subscriber and viewer of Pub/Sub)"
        )
    if isinstance(exc, exceptions.Unauthenticated | auth.GoogleAuthError):
        return BlockedError(f"{words}; nothing goes on: mend the credentials and the clock")
    return BlockedError(f"{words}; nothing goes on: look at the project in Google's console")
