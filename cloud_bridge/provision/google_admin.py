"""Topics and subscriptions through Google's library: the real service, or the local Pub/Sub where
`PUBSUB_EMULATOR_HOST` names one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import pubsub_v1

from cloud_bridge.errors import ConfigError, TransientError
from cloud_bridge.google_client import make_publisher_client, make_subscriber_client
from cloud_bridge.provision.plan import Subscription, Topic
from cloud_bridge.provision.requests import (
    subscription_message,
    subscription_of,
    topic_message,
    topic_of,
    update_message,
)

TIMEOUT_S = 20.0


class GoogleAdmin:
    """A context manager. Each call is made once: the person sees what came, and repeats all."""

    def __init__(self, address: str | None = None) -> None:
        """address: HOST:PORT of a Pub/Sub that is not Google's; else the environment's.

        Raises ConfigError: there are no credentials.
        """
        if address is not None:
            self._publisher: Any = make_publisher_client(None, address)
            self._subscriber: Any = make_subscriber_client(None, address)
            return
        try:
            self._publisher = pubsub_v1.PublisherClient()
            self._subscriber = pubsub_v1.SubscriberClient()
        except (auth.GoogleAuthError, OSError, ValueError) as exc:
            raise ConfigError(
                f"no Google Cloud credentials ({_first_line(exc)}); want "
                "GOOGLE_APPLICATION_CREDENTIALS=FILE, the key of a service account "
                "(docs/google-cloud.md), or PUBSUB_EMULATOR_HOST of a local Pub/Sub"
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._publisher.stop()
        self._publisher.transport.close()
        self._subscriber.close()

    def topic(self, name: str) -> Topic | None:
        found = self._found(name, self._publisher.get_topic, {"topic": name})
        return None if found is None else topic_of(found)

    def subscription(self, name: str) -> Subscription | None:
        found = self._found(name, self._subscriber.get_subscription, {"subscription": name})
        return None if found is None else subscription_of(found)

    def create_topic(self, topic: Topic) -> None:
        with _translated(topic.name):
            _make(self._publisher.create_topic, topic_message(topic))

    def create_subscription(self, subscription: Subscription) -> None:
        with _translated(subscription.name, subscription.table, subscription.topic):
            _make(self._subscriber.create_subscription, subscription_message(subscription))

    def update_subscription(self, subscription: Subscription, fields: frozenset[str]) -> None:
        with _translated(subscription.name, subscription.table):
            self._subscriber.update_subscription(
                request=update_message(subscription, fields), retry=None, timeout=TIMEOUT_S
            )

    def delete_topic(self, name: str) -> bool:
        return self._deleted(name, self._publisher.delete_topic, {"topic": name})

    def delete_subscription(self, name: str) -> bool:
        return self._deleted(name, self._subscriber.delete_subscription, {"subscription": name})

    @staticmethod
    def _deleted(name: str, delete: Callable[..., Any], request: dict[str, str]) -> bool:
        with _translated(name):
            try:
                delete(request=request, retry=None, timeout=TIMEOUT_S)
            except api.NotFound:
                return False
        return True

    @staticmethod
    def _found(name: str, ask: Callable[..., Any], request: dict[str, str]) -> Any:  # noqa: ANN401
        with _translated(name):
            try:
                return ask(request=request, retry=None, timeout=TIMEOUT_S)
            except api.NotFound as exc:
                if "project" in exc.message.lower() and name.split("/")[-1] not in exc.message:
                    raise
                return None


def _make(create: Callable[..., Any], request: Any) -> None:  # noqa: ANN401 - the library's own
    try:
        create(request=request, retry=None, timeout=TIMEOUT_S)
    except api.AlreadyExists:
        return  # somebody else was faster; whoever asks next sees how it is


@contextmanager
def _translated(name: str, table: str | None = None, topic: str | None = None) -> Iterator[None]:
    """table, topic: what `name` is made for."""
    try:
        yield
    except (api.PermissionDenied, api.Forbidden) as exc:
        more = (
            ""
            if table is None
            else f", and for Pub/Sub's own service account roles/bigquery.dataEditor on {table}"
        )
        raise ConfigError(
            f"{name}: no right ({exc.message}); want roles/pubsub.editor for whoever runs this"
            f"{more}: docs/google-cloud.md"
        ) from exc
    except (api.Unauthenticated, auth.GoogleAuthError) as exc:
        raise ConfigError(
            f"{name}: the credentials are not taken ({_first_line(exc)}); want the key of a "
            "service account that still counts: docs/google-cloud.md"
        ) from exc
    except api.MethodNotImplemented as exc:
        raise ConfigError(
            f"{name}: this Pub/Sub cannot do that ({exc.message}); want Google's, or a plan "
            "without it, such as one without --bigquery"
        ) from exc
    except api.NotFound as exc:
        if table is not None:
            wish = f"want the table {table} first: the SQL of `lookout-cloud provision --dry-run`"
        elif topic is not None:
            wish = f"want the topic {topic} first: `lookout-cloud provision` makes Lookout's"
        else:
            wish = "want the project's name and its Pub/Sub API switched on"
        raise ConfigError(f"{name}: not found ({exc.message}); {wish}") from exc
    except (api.ClientError, api.InvalidArgument) as exc:
        if isinstance(exc, api.ResourceExhausted | api.Aborted | api.Cancelled):
            raise _try_again(name, exc) from exc
        raise ConfigError(f"{name}: refused ({exc.message}); see docs/google-cloud.md") from exc
    except (api.ServerError, api.RetryError, api.GoogleAPIError) as exc:
        raise _try_again(name, exc) from exc


def _try_again(name: str, exc: Exception) -> TransientError:
    return TransientError(
        f"{name}: no answer that counts ({_first_line(exc)}); try again: what was made stays"
    )


def _first_line(exc: Exception) -> str:
    text = str(getattr(exc, "message", None) or exc)
    return text.splitlines()[0][:200] if text else type(exc).__name__
