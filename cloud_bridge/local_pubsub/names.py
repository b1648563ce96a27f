"""Names of topics and subscriptions, checked as the real service checks them.

Source: the `name` fields of google.pubsub.v1 Topic and Subscription. The project may be anything.
"""

import re

from cloud_bridge.local_pubsub.refusals import invalid

DELETED_TOPIC = "_deleted-topic_"
"""What a subscription names as its topic once that was deleted."""

_PROJECT = re.compile(r"projects/[^/\s]+")
_ID = r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}"
_NAMES = {
    kind: re.compile(rf"projects/[^/\s]+/{kind}/{_ID}") for kind in ("topics", "subscriptions")
}


def check_topic(name: str) -> None:
    """Raises RefusedError."""
    _check("topics", name)


def check_subscription(name: str) -> None:
    """Raises RefusedError."""
    _check("subscriptions", name)


def check_project(name: str) -> None:
    """Raises RefusedError."""
    if _PROJECT.fullmatch(name) is None:
        raise invalid(f"Invalid project name: {_short(name)}; want projects/PROJECT.")


def project_of(name: str) -> str:
    """`projects/P` of `projects/P/topics/T`."""
    return "/".join(name.split("/", 2)[:2])


def _check(kind: str, name: str) -> None:
    if _NAMES[kind].fullmatch(name) is None:
        raise invalid(
            f"Invalid [{kind}] name: (name={_short(name)}); want projects/PROJECT/{kind}/ID, the "
            "ID of 3 to 255 letters, digits and -._~+%, beginning with a letter and not with goog."
        )


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}..."
