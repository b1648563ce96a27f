"""Settings that change while the box runs: desired from afar, or read again from the file.

They are checked as a whole, stored, swapped into the loop between two turns, and on trial for a
minute; what does not pass is taken back.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from device.config import Config
from device.core.bundle import Bundle
from device.core.desired import (
    TRIAL_NS,
    Desired,
    TuningRecord,
    dropped,
    objection,
    on_trial,
    proved,
    refused,
    taken_back,
    told,
)
from device.core.toml_keys import KeyLines
from device.errors import ConfigError, LookoutError, TransientError
from device.pipeline.decide import Asked, Swap
from device.pipeline.look import RegionPlan
from device.pipeline.planning import plan_regions
from device.ports import BundleStore, Classifier, Clock, SmallFile
from device.settings_file import DESIRED, parse_with_desired, render
from device.wire.downward import DesiredSettings
from device.wire.state import Backend, SettingsState

log = logging.getLogger(__name__)

SWAP_WITHIN_S = 10.0
RELOADABLE = frozenset({"detection", "report", "inference", "regions", "rules"})
"""Sections of the file that may change while the box runs; of `inference`, the bundle."""


@dataclass(frozen=True, slots=True)
class Source:
    """A settings file as it was read. name: of what is in force, which may be an earlier good
    one. path: of the file that was asked for. refused: its mistakes, if it was refused."""

    name: str
    path: Path
    text: str
    refused: tuple[str, ...] = ()

    def with_desired(self, desired: Mapping[str, Any]) -> Config:
        """Raises ConfigError."""
        return parse_with_desired(self.text, self.name, self.path.resolve().parent, desired)

    def state(self, record: TuningRecord) -> SettingsState:
        """What `state` says of the settings in force."""
        in_force = record.in_force
        return SettingsState(
            source=self.name,
            refused=[*told(self.refused), *record.refused],
            desired_version=None if in_force is None else in_force.version,
            refused_version=record.refused_version,
            is_on_trial=record.trial is not None,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What a box starts with. config: the source's settings with the record's over them."""

    config: Config
    source: Source
    record: TuningRecord

    @classmethod
    def of(cls, source: Source, record: TuningRecord) -> "Start":
        """Desired settings that do not fit the file any more are dropped, and told.

        Raises:
            ConfigError: the file itself has mistakes.
        """
        plain = source.with_desired({})
        try:
            return cls(source.with_desired(record.settings), source, record)
        except ConfigError as exc:
            log.error("desired settings do not fit the file any more: %s", exc)
            return cls(plain, source, dropped(record, str(exc).splitlines()))

    def without_desired(self, mistakes: Sequence[str]) -> "Start":
        """Where they turn out not to fit later. Raises as `of`."""
        return Start.of(self.source, dropped(self.record, mistakes))


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """Settings ready to be used: every region with what looks at it."""

    config: Config
    plans: Sequence[tuple[RegionPlan, Classifier]]
    backend: Backend

    @property
    def bundles(self) -> list[Bundle]:
        return [classifier.bundle for _, classifier in self.plans]


Load = Callable[[Bundle, Config], tuple[Classifier, Backend]]
"""A classifier for a bundle; raises ModelError."""


class Tuner:
    """Makes `Tuned` of settings; a bundle that is in use already is not loaded again."""

    def __init__(self, store: BundleStore, load: Load) -> None:
        self._store = store
        self._load = load
        self._loaded: dict[str, tuple[Classifier, Backend]] = {}

    def tune(self, source: Source, desired: Mapping[str, Any]) -> Tuned:
        """
        Raises:
            ConfigError: mistakes, all of them. ModelError: a bundle that cannot be used.
        """
        config = source.with_desired(desired)
        self._check_bundle(desired)
        plans, mistakes = plan_regions(config, self._store.find, KeyLines(source.text))
        if mistakes:
            raise ConfigError(render(DESIRED if desired else source.name, mistakes))
        loaded = {}
        for _, bundle in plans:
            known = self._loaded.get(bundle.sha256)
            loaded[bundle.sha256] = known or self._load(bundle, config)
        self._loaded |= loaded
        return Tuned(
            config,
            [(plan, loaded[bundle.sha256][0]) for plan, bundle in plans],
            loaded[plans[0][1].sha256][1],
        )

    def keep_only(self, tuned: Tuned) -> None:
        """Forget the classifiers that are no longer used."""
        used = {bundle.sha256 for bundle in tuned.bundles}
        self._loaded = {key: each for key, each in self._loaded.items() if key in used}

    def _check_bundle(self, desired: Mapping[str, Any]) -> None:
        """From afar a bundle is chosen among those that are there, not by a path."""
        inference = desired.get("inference")
        name = inference.get("bundle") if isinstance(inference, dict) else None
        if name is not None and name not in self._store.names():
            raise ConfigError(
                f'{DESIRED}: inference.bundle: no bundle "{name}" on this box; '
                f"bundles: {', '.join(self._store.names())}"
            )


class Tuning:
    """Owned by the downlink's thread.

    now: what the box runs on. ask: `Loop.ask`. tell: takes what is in force, for whoever reports.
    deaths: how often a thread of the box has died.
    """

    def __init__(
        self,
        *,
        tuner: Tuner,
        start: Start,
        now: Tuned,
        file: SmallFile,
        ask: Callable[[Asked], bool],
        tell: Callable[[Tuned, SettingsState], None],
        deaths: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._tuner = tuner
        self._source = start.source
        self._record = start.record
        self._now = now
        self._file = file
        self._ask = ask
        self._tell = tell
        self._deaths = deaths
        self._clock = clock
        self._trial_began_ns = clock.monotonic_ns()
        self._deaths_before = deaths()

    # --- from afar ----------------------------------------------------------------------------

    def desire(self, wanted: DesiredSettings) -> None:
        """Take desired settings, or refuse them; `state` says which."""
        desired = Desired(version=wanted.version, settings=wanted.settings)
        complaint = objection(self._record, desired)
        if complaint is not None:
            if complaint:
                self._refuse(desired.version, [f"{DESIRED}: {complaint}"])
            return
        try:
            tuned = self._tuner.tune(self._source, desired.settings)
            record = on_trial(self._record, desired)
            self._file.write(record.model_dump_json().encode())
        except LookoutError as exc:
            self._refuse(desired.version, str(exc).splitlines())
            return
        self._record = record
        self._trial_began_ns = self._clock.monotonic_ns()
        self._deaths_before = self._deaths()
        try:
            self._swap(tuned)
        except TransientError as exc:
            self._take_back(str(exc))
            return
        log.info("desired settings on trial version=%d", desired.version)
        self._say()

    def refuse_unreadable(self, problem: str) -> None:
        """A message on the topic of desired settings that has no version to speak of."""
        self._record = self._record.model_copy(update={"refused": told([f"{DESIRED}: {problem}"])})
        self._say()

    def watch_trial(self) -> None:
        """To be called every second or so."""
        if self._record.trial is None:
            return
        deaths = self._deaths() - self._deaths_before
        if deaths:
            self._take_back("a part of the box died under them; its log says how")
        elif self._clock.monotonic_ns() - self._trial_began_ns >= TRIAL_NS:
            log.info("desired settings are good version=%d", self._record.trial.version)
            self._record = proved(self._record)
            self._store()
            self._say()

    def end(self) -> None:
        """The box was asked to stop: a trial goes on with the next start."""
        if self._record.trial is not None:
            self._record = self._record.model_copy(update={"trial_ended_well": True})
            self._store()

    def _take_back(self, reason: str) -> None:
        log.error("desired settings taken back: %s", reason)
        self._record = taken_back(self._record, reason)
        self._store()
        try:
            self._swap(self._tuner.tune(self._source, self._record.settings))
        except LookoutError as exc:
            log.error("the settings before them cannot be used either: %s", exc)
        self._say()

    def _refuse(self, version: int, mistakes: Sequence[str]) -> None:
        before, self._record = self._record, refused(self._record, version, mistakes)
        if self._record.refused != before.refused:
            words = "; ".join(self._record.refused)
            log.warning("desired settings refused version=%d: %s", version, words)
        self._store()
        self._say()

    def _store(self) -> None:
        try:
            self._file.write(self._record.model_dump_json().encode())
        except TransientError as exc:
            log.error("what became of desired settings is not stored: %s", exc)

    # --- the file -----------------------------------------------------------------------------

    def reload(self) -> str | None:
        """Read the settings file again; why nothing changed, or None once it has.

        Raises:
            ConfigError, ModelError: the file is refused; nothing has changed.
            TransientError: the loop did not take it.
        """
        try:
            text = self._source.path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{self._source.path}: cannot be read: {exc}") from exc
        path = self._source.path
        source = Source(name=str(path), path=path, text=text)
        tuned = self._tuner.tune(source, self._record.settings)
        others = needs_restart(self._now.config, tuned.config)
        if others:
            return f"a restart is needed for {', '.join(others)}; nothing was changed"
        self._swap(tuned)
        self._source = source
        self._say()
        return None

    # --- both ---------------------------------------------------------------------------------

    def _swap(self, tuned: Tuned) -> None:
        taken: Queue[bool] = Queue(1)
        swap = Swap(tuned.plans, tuned.config.rule_values(), lambda: taken.put_nowait(True))
        if not self._ask(swap):
            raise TransientError("the box has too many requests waiting; try again in a moment")
        try:
            taken.get(timeout=SWAP_WITHIN_S)
        except Empty as exc:
            raise TransientError(
                f"the loop did not take the settings within {SWAP_WITHIN_S:.0f} s"
            ) from exc
        self._now = tuned
        self._tuner.keep_only(tuned)

    def _say(self) -> None:
        self._tell(self._now, self._source.state(self._record))


def needs_restart(before: Config, after: Config) -> list[str]:
    """Sections, or keys of them, that differ and cannot change while the box runs."""
    found = []
    for name in Config.model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if name == "inference":
            old = old.model_copy(update={"bundle": ""})
            new = new.model_copy(update={"bundle": ""})
        elif name in RELOADABLE:
            continue
        if old != new:
            found.append(f"[{name}]")
    return found


def read_record(file: SmallFile) -> TuningRecord:
    """What is kept of desired settings; nothing where it cannot be read."""
    content = file.read()
    if content is None:
        return TuningRecord()
    try:
        return TuningRecord.model_validate_json(content)
    except ValueError as exc:
        log.error("what was kept of desired settings cannot be read, and is forgotten: %s", exc)
        return TuningRecord()


def keep_record(file: SmallFile, record: TuningRecord) -> None:
    """A trial that goes on must not look as if it had been outlived."""
    if record == TuningRecord() and file.read() is None:
        return
    try:
        file.write(record.model_dump_json().encode())
    except TransientError as exc:
        log.error("what became of desired settings is not stored: %s", exc)
