"""What a project is to have: topics, subscriptions, a table. Values, and functions between them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from cloud_bridge.errors import ConfigError

DAY_S = 24 * 3600
PREFIX = "lookout"
KEEP_DAYS = 7
DEAD_LETTER_DAYS = 31
"""The longest that Pub/Sub offers: a dead letter waits for a person."""
ACK_DEADLINE_S = 60
ATTEMPTS = 100
"""The most that Pub/Sub offers, with up to ten minutes between two: most of a day."""

_PROJECT = re.compile(r"[a-z][a-z0-9.:-]{4,61}[a-z0-9]")
_PREFIX = re.compile(r"[a-z][a-z0-9-]{1,39}")
_DATASET = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """name: `projects/P/topics/T`. schema: of Pub/Sub, if one checks what is published."""

    name: str
    schema: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """name, topic: in full. Fields hold for a wanted one and for a found one.

    expires_after_s: idle for so long, Pub/Sub deletes it; None: never.
    dead_letter_topic, attempts: where a message goes that failed so often, if anywhere.
    table: of BigQuery, `project.dataset.table`, that rows are written to; None: it is pulled.
    is_detached, trouble: it gets nothing, or cannot write; a found one's alone.
    """

    name: str
    topic: str
    keep_s: int
    ack_deadline_s: int = ACK_DEADLINE_S
    expires_after_s: int | None = None
    filter: str = ""
    dead_letter_topic: str | None = None
    attempts: int | None = None
    min_backoff_s: int | None = 10
    max_backoff_s: int | None = 600
    push_endpoint: str | None = None
    table: str | None = None
    writes_metadata: bool = False
    is_detached: bool = False
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Of BigQuery: the rows as they come, and a view without repeats."""

    project: str
    dataset: str
    raw: str = "events_raw"
    view: str = "events"

    @property
    def raw_name(self) -> str:
        return f"{self.project}.{self.dataset}.{self.raw}"

    @property
    def view_name(self) -> str:
        return f"{self.project}.{self.dataset}.{self.view}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """In the order in which things can be made."""

    project: str
    topics: tuple[Topic, ...]
    subscriptions: tuple[Subscription, ...]
    table: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """resource: in full. field: None where the whole is missing. can_mend: by an update."""

    resource: str
    field: str | None
    found: object
    wanted: object
    can_mend: bool


def make_plan(
    project: str,
    *,
    prefix: str = PREFIX,
    registries: Sequence[str] = (),
    dataset: str | None = None,
    keep_days: int = KEEP_DAYS,
) -> Plan:
    """registries: with some, the downlink has a subscription for each, to share it among bridges;
    without, one for all.

    Raises:
        ConfigError: a name that Pub/Sub or BigQuery would not take.
    """
    _check("project", project, _PROJECT, "such as my-project-1234")
    _check("prefix", prefix, _PREFIX, "small letters, digits and -, a letter first")
    if dataset is not None:
        _check("dataset", dataset, _DATASET, "letters, digits and _")
    if not 1 <= keep_days <= 31:
        raise ConfigError(f"{keep_days} days of retention; want 1 to 31")
    topic = f"projects/{project}/topics/{prefix}-".__add__
    subscription = f"projects/{project}/subscriptions/{prefix}-".__add__
    events, state, downlink, dead = (
        Topic(name=topic(end)) for end in ("events", "state", "downlink", "dead-letters")
    )
    keep_s = keep_days * DAY_S
    table = None if dataset is None else Table(project=project, dataset=dataset)
    found = [
        # First, so that no dead letter comes before somebody keeps it.
        Subscription(
            name=subscription("dead-letters-inspect"),
            topic=dead.name,
            keep_s=DEAD_LETTER_DAYS * DAY_S,
        ),
        Subscription(
            name=subscription("events-dashboard"),
            topic=events.name,
            keep_s=keep_s,
            dead_letter_topic=dead.name,
            attempts=ATTEMPTS,
        ),
        Subscription(name=subscription("state-dashboard"), topic=state.name, keep_s=keep_s),
    ]
    if table is not None:
        found.append(
            Subscription(
                name=subscription("events-bigquery"),
                topic=events.name,
                keep_s=keep_s,
                dead_letter_topic=dead.name,
                attempts=ATTEMPTS,
                table=table.raw_name,
                writes_metadata=True,
            )
        )
    if registries:
        found += [
            Subscription(
                name=subscription(f"downlink-{registry}"),
                topic=downlink.name,
                keep_s=keep_s,
                filter=f'attributes.deviceRegistryId = "{registry}"',
            )
            for registry in dict.fromkeys(registries)
        ]
    else:
        found.append(
            Subscription(name=subscription("downlink-bridge"), topic=downlink.name, keep_s=keep_s)
        )
    return Plan(
        project=project,
        topics=(events, state, downlink, dead),
        subscriptions=tuple(found),
        table=table,
    )


FIXED = frozenset({"topic", "filter", "is_detached", "schema"})
"""What Pub/Sub never changes in an existing one; it must be deleted and made again."""

NOT_OURS = frozenset({"trouble"})
"""What tells of something outside Pub/Sub."""


def differences(
    wanted: Topic | Subscription, found: Topic | Subscription | None
) -> list[Difference]:
    """What of `found` is not as wanted."""
    if found is None:
        return [
            Difference(resource=wanted.name, field=None, found=None, wanted=wanted, can_mend=True)
        ]
    pairs = [
        (field.name, getattr(found, field.name), getattr(wanted, field.name))
        for field in fields(wanted)
    ]
    return [
        Difference(
            resource=wanted.name,
            field=name,
            found=is_,
            wanted=should,
            can_mend=name not in FIXED | NOT_OURS,
        )
        for name, is_, should in pairs
        if is_ != should
    ]


def _check(what: str, text: str, pattern: re.Pattern[str], wish: str) -> None:
    if not pattern.fullmatch(text):
        raise ConfigError(f"{what} {text!r}; want {wish}")
