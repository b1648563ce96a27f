"""Google's client library: its credentials, and its errors told apart by what the caller does."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud import pubsub_v1
from google.oauth2 import service_account
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

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


RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.min_reconnect_backoff_ms", 5000),  # of one try to connect, in spite of its name
)
"""gRPC's own waits grow to two minutes: an event would come that long after the line is back."""


UNBOUNDED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
"""As the library has it for Google's service. gRPC's own bound of 4 MB would make one large message
come again for ever, and let none through behind it."""


def local_address(named: str | None) -> str | None:
    """HOST:PORT of the Pub/Sub that is to be used instead of Google's; None: Google's own.

    named: by the settings, before the environment's.
    """
    return named or os.environ.get("PUBSUB_EMULATOR_HOST") or None


def quick(transport: Any, address: str | None = None) -> Any:  # noqa: ANN401 - the library's own
    """A kind of the library's gRPC transport that reconnects soon. address: as `local_address`."""

    class Quick(transport):  # type: ignore[misc]
        def __init__(self, *, channel: Any = None, **given: Any) -> None:  # noqa: ANN401
            local = local_address(address)
            if local is not None:
                channel = grpc.insecure_channel(local, options=[*UNBOUNDED, *RECONNECT])
            super().__init__(channel=channel, **given)

        @classmethod
        def create_channel(cls, *args: Any, options: Any = (), **given: Any) -> Any:  # noqa: ANN401
            return super().create_channel(*args, options=[*options, *RECONNECT], **given)

    return Quick


def make_publisher_client(credentials_file: Path | None, address: str | None = None) -> Any:  # noqa: ANN401 - the library's own
    """address: as `local_address`; credentials do not matter there. Raises ConfigError."""
    transport = quick(PublisherGrpcTransport, address)
    return _make(pubsub_v1.PublisherClient, transport, credentials_file, address)


def make_subscriber_client(credentials_file: Path | None, address: str | None = None) -> Any:  # noqa: ANN401 - the library's own
    """address: as `local_address`; credentials do not matter there. Raises ConfigError."""
    transport = quick(SubscriberGrpcTransport, address)
    return _make(pubsub_v1.SubscriberClient, transport, credentials_file, address)


def _make(kind: Any, transport: Any, credentials_file: Path | None, address: str | None) -> Any:  # noqa: ANN401
    given: dict[str, Any] = {"transport": transport}
    try:
        if address is not None:
            anonymous: Any = AnonymousCredentials
            given["credentials"] = anonymous()
        elif credentials_file is not None:
            read: Any = service_account.Credentials.from_service_account_file
            given["credentials"] = read(credentials_file)
        return kind(**given)
    except (auth.GoogleAuthError, OSError, ValueError) as exc:
        where = "[pubsub] credentials_file" if credentials_file else "the environment"
        raise ConfigError(
            f"Google Cloud credentials from {where}: {exc}; name a service account's key in "
            "[pubsub] credentials_file, set GOOGLE_APPLICATION_CREDENTIALS, or use a local "
            "Pub/Sub by [pubsub] address or PUBSUB_EMULATOR_HOST"
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
    words = f"{what}: {_said(exc)}"
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


def _said(exc: Exception) -> str:
    """The status and its words; of the library's own giving up, those of the last try."""
    last = exc.cause if isinstance(exc, exceptions.RetryError) else None
    if isinstance(last, Exception):
        return _said(last)
    status = getattr(exc, "grpc_status_code", None)
    words = str(getattr(exc, "message", None) or exc)
    return words if status is None else f"{status.name}: {words}"
