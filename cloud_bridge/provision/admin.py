"""The door to whoever keeps topics and subscriptions: Google's Pub/Sub, the local one, a fake."""

from typing import Protocol

from cloud_bridge.provision.plan import Subscription, Topic


class Admin(Protocol):
    """Every call blocks for at most about 20 s.

    Raises of every call:
        ConfigError: refused: no right, no such project, an option that is not there.
        TransientError: not reachable now.
    """

    def topic(self, name: str) -> Topic | None:
        """As it is; None where there is none."""
        ...

    def subscription(self, name: str) -> Subscription | None:
        """As it is; None where there is none."""
        ...

    def create_topic(self, topic: Topic) -> None:
        """One that is there already stays as it is."""
        ...

    def create_subscription(self, subscription: Subscription) -> None:
        """One that is there already stays as it is.

        Raises:
            ConfigError: the BigQuery table is missing, or must not be written, too.
        """
        ...

    def update_subscription(self, subscription: Subscription, fields: frozenset[str]) -> None:
        """fields: names of `Subscription`'s, which become as given; the others stay."""
        ...

    def delete_topic(self, name: str) -> bool:
        """Whether there was one. Its subscriptions stay, and get nothing more."""
        ...

    def delete_subscription(self, name: str) -> bool:
        """Whether there was one; what waited in it is lost."""
        ...
