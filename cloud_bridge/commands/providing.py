"""A local Pub/Sub that brings its topics and subscriptions along."""

import logging

from cloud_bridge import assembly
from cloud_bridge.provision.carrying_out import carry_out
from cloud_bridge.provision.plan import KEEP_DAYS, make_plan

log = logging.getLogger(__name__)


def provide(project: str, address: str, keep_days: int = KEEP_DAYS) -> None:
    """Make those that are missing, as `lookout-cloud provision` does. address: of the Pub/Sub.

    Raises ConfigError, TransientError.
    """
    plan = make_plan(project, keep_days=keep_days)
    with assembly.make_admin(address) as admin:
        for step in carry_out(plan, admin):
            if step.did != "as wanted":
                log.info("%s: %s", step.did, step.resource)
            for each in step.left:
                log.warning(
                    "left as it is: %s: %s is %s, wanted %s",
                    each.resource,
                    each.field,
                    each.found,
                    each.wanted,
                )
