"""A Pub/Sub in memory with BigQuery behind it, as the real service treats both."""

from dataclasses import dataclass, field, replace

from cloud_bridge.errors import ConfigError
from cloud_bridge.provision.plan import FIXED, Subscription, Topic


@dataclass
class FakeAdmin:
    """tables: those that exist. writable: those that Pub/Sub's service account may write.

    calls: what was asked to be changed, in order.
    """

    tables: set[str] = field(default_factory=set)
    writable: set[str] = field(default_factory=set)
    topics: dict[str, Topic] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def topic(self, name: str) -> Topic | None:
        return self.topics.get(name)

    def subscription(self, name: str) -> Subscription | None:
        found = self.subscriptions.get(name)
        if found is None or found.table is None:
            return found
        if found.table not in self.tables:
            return replace(found, trouble="NOT_FOUND")
        if found.table not in self.writable:
            return replace(found, trouble="PERMISSION_DENIED")
        return found

    def create_topic(self, topic: Topic) -> None:
        self.calls.append(f"create {topic.name}")
        self.topics.setdefault(topic.name, topic)

    def create_subscription(self, subscription: Subscription) -> None:
        self.calls.append(f"create {subscription.name}")
        if subscription.topic not in self.topics:
            raise ConfigError(f"{subscription.name}: not found ({subscription.topic})")
        self._check_table(subscription)
        self.subscriptions.setdefault(subscription.name, subscription)

    def update_subscription(self, subscription: Subscription, fields: frozenset[str]) -> None:
        self.calls.append(f"update {subscription.name}: {', '.join(sorted(fields))}")
        if fields & FIXED:
            raise ConfigError(f"{subscription.name}: refused ({fields & FIXED})")
        self._check_table(subscription)
        old = self.subscriptions[subscription.name]
        changed = {name: getattr(subscription, name) for name in fields}
        self.subscriptions[subscription.name] = replace(old, **changed)

    def delete_topic(self, name: str) -> bool:
        self.calls.append(f"delete {name}")
        return self.topics.pop(name, None) is not None

    def delete_subscription(self, name: str) -> bool:
        self.calls.append(f"delete {name}")
        return self.subscriptions.pop(name, None) is not None

    def _check_table(self, subscription: Subscription) -> None:
        table = subscription.table
        if table is not None and table not in self.tables:
            raise ConfigError(f"{subscription.name}: not found (table {table})")
        if table is not None and table not in self.writable:
            raise ConfigError(f"{subscription.name}: no right (table {table})")
