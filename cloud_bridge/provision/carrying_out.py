"""A plan carried out, or held against what is there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cloud_bridge.provision.admin import Admin
from cloud_bridge.provision.plan import Difference, Plan, Subscription, differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was done with one thing. left: differences that an update cannot mend."""

    resource: str
    did: Literal["made", "mended", "as wanted", "left"]
    mended: tuple[Difference, ...] = ()
    left: tuple[Difference, ...] = ()


def compare(plan: Plan, admin: Admin) -> list[Difference]:
    """Everything that is not as wanted; changes nothing.

    Raises:
        ConfigError, TransientError: as `Admin` does.
    """
    found: list[Difference] = []
    for topic in plan.topics:
        found += differences(topic, admin.topic(topic.name))
    for subscription in plan.subscriptions:
        found += differences(subscription, admin.subscription(subscription.name))
    return found


def carry_out(plan: Plan, admin: Admin) -> Iterator[Step]:
    """Make what is missing, mend what an update can; the rest is left as it is. Again is no harm.

    Raises:
        ConfigError, TransientError: as `Admin` does; the steps before stay.
    """
    for topic in plan.topics:
        there = admin.topic(topic.name)
        if there is None:
            admin.create_topic(topic)
            yield Step(resource=topic.name, did="made")
        else:
            left = tuple(differences(topic, there))
            yield Step(resource=topic.name, did="left" if left else "as wanted", left=left)
    for subscription in plan.subscriptions:
        yield _subscribe(subscription, admin)


def remove(plan: Plan, admin: Admin) -> Iterator[tuple[str, bool]]:
    """Delete all of it, subscriptions first; each name, and whether it was there.

    Raises:
        ConfigError, TransientError: as `Admin` does; what was deleted before stays so.
    """
    for subscription in plan.subscriptions:
        yield subscription.name, admin.delete_subscription(subscription.name)
    for topic in plan.topics:
        yield topic.name, admin.delete_topic(topic.name)


def _subscribe(subscription: Subscription, admin: Admin) -> Step:
    there = admin.subscription(subscription.name)
    if there is None:
        admin.create_subscription(subscription)
        return Step(resource=subscription.name, did="made")
    found = differences(subscription, there)
    mended = tuple(each for each in found if each.can_mend)
    left = tuple(each for each in found if not each.can_mend)
    if mended:
        names = frozenset(each.field for each in mended if each.field is not None)
        admin.update_subscription(subscription, names)
    if left:
        return Step(resource=subscription.name, did="left", mended=mended, left=left)
    return Step(resource=subscription.name, did="mended" if mended else "as wanted", mended=mended)
