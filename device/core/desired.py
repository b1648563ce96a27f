"""Settings desired from afar: what may be desired, how they lie over the file's, and which of them
hold.

Accepted settings are on trial first. Whatever ends the process meanwhile leaves its trial on disk:
the next start finds it, and takes the settings back.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from device.wire.bodies import Part

TUNABLE = ("detection", "report", "inference", "regions")
OF_INFERENCE = ("bundle",)
OF_REGION = ("thresholds", "detection")
RULES = "rules"

TRIAL_NS = 60_000_000_000
"""Settings under which all threads turn for so long are good."""

TAKEN_BACK = "the box did not go on for a minute under them, and has taken them back"


MISTAKES_TOLD = 40
MISTAKE_CHARS = 300
"""Settings of 64 KiB can hold thousands of mistakes: all of them would make a `state` that no
broker takes, and the box would lose its connection for it again and again."""


def told(mistakes: Sequence[str]) -> tuple[str, ...]:
    """The first of them, each cut where it is long, and how many more there are."""
    first = [
        each if len(each) <= MISTAKE_CHARS else f"{each[: MISTAKE_CHARS - 3]}..."
        for each in mistakes[:MISTAKES_TOLD]
    ]
    more = len(mistakes) - len(first)
    return (*first, f"and {more} more") if more else tuple(first)


class Desired(Part):
    """Settings that were taken."""

    version: int
    settings: dict[str, Any]


class TuningRecord(Part):
    """What is kept on disk. taken: the last ones that proved good. trial: those that have yet to;
    trial_ended_well: the process was stopped as asked meanwhile, so the trial goes on.
    last_version: the highest that was ever taken. refused: every mistake of those refused last.
    """

    taken: Desired | None = None
    trial: Desired | None = None
    trial_ended_well: bool = False
    last_version: int = 0
    refused_version: int | None = None
    refused: tuple[str, ...] = ()

    @property
    def in_force(self) -> Desired | None:
        return self.trial or self.taken

    @property
    def settings(self) -> dict[str, Any]:
        """Those in force; empty without any."""
        return {} if self.in_force is None else self.in_force.settings


def at_start(record: TuningRecord) -> TuningRecord:
    """A trial that the process did not outlive has failed; one that was stopped goes on."""
    if record.trial is None:
        return record
    if record.trial_ended_well:
        return record.model_copy(update={"trial_ended_well": False})
    return taken_back(record, TAKEN_BACK)


def on_trial(record: TuningRecord, desired: Desired) -> TuningRecord:
    """Accepted. Those that were on trial until now prove nothing any more."""
    return TuningRecord(taken=record.taken, trial=desired, last_version=desired.version)


def proved(record: TuningRecord) -> TuningRecord:
    """The trial was passed. What was refused meanwhile came later, and is told on."""
    return record.model_copy(
        update={"taken": record.trial, "trial": None, "trial_ended_well": False}
    )


def taken_back(record: TuningRecord, reason: str) -> TuningRecord:
    """The trial has failed: what held before it holds again."""
    version = None if record.trial is None else record.trial.version
    return TuningRecord(
        taken=record.taken,
        last_version=record.last_version,
        refused_version=version,
        refused=told([f"version {version}: {reason}"]),
    )


def dropped(record: TuningRecord, mistakes: Sequence[str]) -> TuningRecord:
    """What was in force cannot be any more: the file under it has changed. Its version stays
    taken; somebody has to think, and to send another."""
    return TuningRecord(
        last_version=record.last_version,
        refused_version=record.last_version,
        refused=told(mistakes),
    )


def refused(record: TuningRecord, version: int, mistakes: Sequence[str]) -> TuningRecord:
    """Nothing changes but what is told."""
    return record.model_copy(update={"refused_version": version, "refused": told(mistakes)})


def objection(record: TuningRecord, desired: Desired) -> str | None:
    """Why this version is not even looked at; None: it is. An empty text: nothing to say, because
    a retained message comes again with each connection."""
    if desired.version > record.last_version:
        return None
    if desired.version == record.last_version:
        is_known = record.in_force == desired or record.refused_version == desired.version
        return "" if is_known else f"version {desired.version} was taken with other settings"
    if desired.version == record.refused_version:
        return ""
    return f"version {desired.version} is old; want more than {record.last_version}"


def merge(base: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """`desired` over `base`, key by key inside tables; a rule is replaced as a whole."""
    return _over(base, desired, 0)


def _over(base: Mapping[str, Any], desired: Mapping[str, Any], depth: int) -> dict[str, Any]:
    merged = dict(base)
    for key, value in desired.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            is_rules = depth == 0 and key == RULES
            merged[key] = {**before, **value} if is_rules else _over(before, value, depth + 1)
        else:
            merged[key] = value
    return merged


def forbidden(
    desired: Mapping[str, Any], regions: Sequence[str], may_rule: bool
) -> list[tuple[str, str]]:
    """(key, what to say of it) for all that nobody may desire from afar; what is wrong otherwise
    is the parser's business. regions: those that the file has. may_rule: the file allows it."""
    found = []
    for key, value in desired.items():
        if key == RULES and not may_rule:
            found.append(
                (
                    key,
                    "rules drive outputs; the file allows them from afar with "
                    "[device] allow_remote_rules = true",
                )
            )
        elif key not in (*TUNABLE, RULES):
            found.append((key, f"not to be desired from afar; want {', '.join(TUNABLE)}"))
        if not isinstance(value, dict):
            continue
        if key == "inference":
            found += _others(key, value, OF_INFERENCE)
        if key == "regions":
            for name, region in value.items():
                place = f"regions.{name}"
                if name not in regions:
                    found.append((place, f"no such region; regions: {', '.join(regions)}"))
                elif isinstance(region, dict):
                    found += _others(place, region, OF_REGION)
    return found


def _others(place: str, table: Mapping[str, Any], allowed: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (f"{place}.{key}", f"not to be desired from afar; want {', '.join(allowed)}")
        for key in table
        if key not in allowed
    ]
