"""What a device has committed against what a subscriber of Pub/Sub was handed: says what was lost,
invented, doubled or disordered. Shares no code with the outbox: it knows the tables' names, and
that seqs are dense from 1, so that a run's last one names all of its events.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from tests.kit.outbox_reader import FileContent

RUN_STARTED = "lookout.run.started"


def fingerprint(type_name: str, body: Mapping[str, Any]) -> str:
    """Of what an event says, whichever way it was written down."""
    text = json.dumps([type_name, body], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Handed:
    """One message as the subscriber was handed it. body: of a first event of a run alone;
    made_ns, arrived_ns: wall clock."""

    event_id: str
    message_id: str
    content: str
    body: Mapping[str, Any] | None = None
    made_ns: int = 0
    arrived_ns: int = 0


class Committed:
    """Everything that looks at one device's outbox have shown; one look at least for each run,
    and one at the end, when nothing writes any more."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.last_seqs: dict[str, int] = {}
        self.contents: defaultdict[str, set[str]] = defaultdict(set)
        self.waiting: frozenset[str] = frozenset()
        """In the file at the last look."""
        self.disorder: list[str] = []

    def note(self, content: FileContent) -> None:
        for run, last_seq in content.runs.items():
            if last_seq < self.last_seqs.get(run, 0):
                self.disorder.append(f"{run} has gone back to {last_seq}")
            self.last_seqs[run] = max(last_seq, self.last_seqs.get(run, 0))
        self.waiting = frozenset(f"{self.device}:{run}:{seq}" for run, seq in content.events)
        for payload in content.events.values():
            event = json.loads(payload)
            self.contents[event["id"]].add(fingerprint(event["type"], event["data"]))

    @property
    def count(self) -> int:
        return sum(self.last_seqs.values())

    @property
    def ids(self) -> set[str]:
        return {
            f"{self.device}:{run}:{seq}"
            for run, last in self.last_seqs.items()
            for seq in range(1, last + 1)
        }

    def runs(self) -> list[str]:
        """In their order."""
        return sorted(self.last_seqs, key=lambda run: int(run.partition("-")[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """lost: left the outbox and never arrived. waiting: in the outbox still, not arrived.
    two_contents: ids under which different things were said. disorder: of runs, in words.

    repeats: further messages with an event that had arrived under another message id; they are
    allowed, within reason. redelivered: the same message once more, as Pub/Sub may.
    """

    committed: int
    stored: int
    lost: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    two_contents: list[str] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    repeats: int = 0
    redelivered: int = 0

    @property
    def repeated_share(self) -> float:
        return self.repeats / max(self.committed, 1)

    @property
    def faults(self) -> list[str]:
        """What must never be, in words; events that wait are not among them."""
        found = [
            f"{len(ids)} {what}, such as {', '.join(ids[:3])}"
            for what, ids in (
                ("lost", self.lost),
                ("invented", self.invented),
                ("with two contents under one id", self.two_contents),
            )
            if ids
        ]
        return found + self.disorder


def compare(committed: Sequence[Committed], handed: Iterable[Handed]) -> Verdict:
    """The verdict over everything that was committed and everything that arrived."""
    messages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    contents: defaultdict[str, set[str]] = defaultdict(set)
    first_events: dict[str, Mapping[str, Any]] = {}
    for each in handed:
        messages[each.event_id][each.message_id] += 1
        contents[each.event_id].add(each.content)
        if each.body is not None:
            first_events.setdefault(each.event_id, each.body)
    ids: set[str] = set()
    waiting: set[str] = set()
    disorder: list[str] = []
    for device in committed:
        ids |= device.ids
        waiting |= device.waiting
        disorder += device.disorder + _disorder(device, first_events)
        for event_id, known in device.contents.items():
            contents[event_id] |= known
    missing = ids - messages.keys()
    return Verdict(
        committed=len(ids),
        stored=len(messages),
        lost=sorted(missing - waiting),
        waiting=sorted(missing & waiting),
        invented=sorted(messages.keys() - ids),
        two_contents=sorted(each for each, known in contents.items() if len(known) > 1),
        disorder=disorder,
        repeats=sum(len(each) - 1 for each in messages.values()),
        redelivered=sum(sum(each.values()) - len(each) for each in messages.values()),
    )


def _disorder(device: Committed, first_events: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Run numbers are dense from 1, and each run that began names the one before, and its end."""
    found = []
    runs = device.runs()
    numbers = [int(run.partition("-")[0]) for run in runs]
    if numbers != list(range(1, len(runs) + 1)):
        found.append(f"{device.device}: run numbers {numbers} are not 1 to {len(runs)}")
    for before, run in zip([None, *runs], runs, strict=False):
        body = first_events.get(f"{device.device}:{run}:1")
        if body is None:
            continue  # it died before its first event, or that one is missing: told as such
        named = (body.get("previous_run"), body.get("previous_seq"))
        right = (before, None if before is None else device.last_seqs[before])
        if named != right:
            found.append(f"{device.device}: run {run} comes after {named}, and not after {right}")
    return found
