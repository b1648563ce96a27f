"""Settings from afar and from the file, taken while the box runs, against a real loop."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.clocks import HandClock
from device.config import Config
from device.core.bundle import Bundle, Variant
from device.core.desired import TuningRecord, at_start
from device.errors import ConfigError, ModelError
from device.inference.fake_classifier import FakeClassifier
from device.messaging.fake_small_file import FakeSmallFile
from device.pipeline.decide import Asked, Swap
from device.pipeline.tuning import (
    Source,
    Start,
    Tuned,
    Tuner,
    Tuning,
    needs_restart,
    read_record,
)
from device.ports import Classifier
from device.settings_file import SettingsError, parse_with_desired
from device.wire.downward import DesiredSettings
from device.wire.state import Backend, SettingsState
from tests.device.pipeline.scene import BUNDLE, look_at

FILE = """
[outputs.lamp]
pin = 17
[inference]
bundle = "scene"
[detection]
gate = false
[regions.left]
box = [0, 0, 1, 0.5]
"""
BACKEND = Backend(
    runtime="none", version="0", accelerator="cpu", threads=1, delegated_nodes=0, nodes=1
)


class Shelf:
    """A store of two bundles; one of them does not load."""

    bundles: Mapping[str, Bundle] = {
        "scene": BUNDLE,
        "night": replace(BUNDLE, name="night", sha256="cd" * 32),
        "broken": replace(BUNDLE, name="broken", sha256="ef" * 32),
    }

    def find(self, name_or_folder: str) -> Bundle:
        if name_or_folder not in self.bundles:
            raise ModelError(f"no bundle {name_or_folder}")
        return self.bundles[name_or_folder]

    def folder_of(self, name_or_folder: str) -> Path:
        return Path(self.find(name_or_folder).name)

    def names(self) -> list[str]:
        return sorted(self.bundles)

    def variant_path(self, bundle: Bundle, variant: Variant) -> Path:
        return Path(bundle.variants[variant])


class Rig:
    """A tuning over a loop that takes what it is given at once, unless it is stuck."""

    def __init__(self, tmp_path: Path, file: FakeSmallFile | None = None, text: str = FILE) -> None:
        self.clock = HandClock()
        self.file = file or FakeSmallFile()
        self.path = tmp_path / "lookout.toml"
        self.path.write_text(text)
        self.loads: list[str] = []
        self.swaps: list[Swap] = []
        self.told: list[tuple[Tuned, SettingsState]] = []
        self.deaths = 0
        self.is_full = False
        self.restart()

    def restart(self) -> None:
        """A new process, as after a crash unless the last one was ended."""
        record = at_start(read_record(self.file))
        source = Source(name=str(self.path), path=self.path, text=self.path.read_text())
        self.start = Start.of(source, record)
        tuner = Tuner(Shelf(), self._load)
        self.tuning = Tuning(
            tuner=tuner,
            start=self.start,
            now=tuner.tune(source, self.start.record.settings),
            file=self.file,
            ask=self._ask,
            tell=lambda now, state: self.told.append((now, state)),
            deaths=lambda: self.deaths,
            clock=self.clock,
        )

    def _load(self, bundle: Bundle, _config: Config) -> tuple[Classifier, Backend]:
        if bundle.name == "broken":
            raise ModelError("its model does not run")
        self.loads.append(bundle.name)
        return FakeClassifier(bundle, look_at), BACKEND

    def _ask(self, asked: Asked) -> bool:
        assert isinstance(asked, Swap)
        if self.is_full:
            return False
        self.swaps.append(asked)
        asked.reply()
        return True

    def desire(self, version: int, **sections: Any) -> SettingsState:  # noqa: ANN401
        self.tuning.desire(DesiredSettings(version=version, settings=sections))
        return self.state

    @property
    def state(self) -> SettingsState:
        return self.told[-1][1]

    @property
    def config(self) -> Config:
        return self.told[-1][0].config

    @property
    def kept(self) -> TuningRecord:
        return read_record(self.file)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_what_is_desired_is_swapped_in_stored_on_trial_and_good_after_a_minute(rig: Rig) -> None:
    state = rig.desire(3, detection={"shortest_s": 0.7}, report={"state_s": 5})
    assert (state.desired_version, state.is_on_trial, state.refused) == (3, True, [])
    assert rig.config.report.state_s == 5.0
    assert not rig.config.detection.gate  # the file's, below
    [swap] = rig.swaps
    assert swap.plans[0][0].patience.shortest_ns == 700_000_000
    assert rig.kept.trial is not None
    rig.clock.advance(59.0)
    rig.tuning.watch_trial()
    assert rig.state.is_on_trial
    rig.clock.advance(2.0)
    rig.tuning.watch_trial()
    assert not rig.state.is_on_trial
    assert rig.kept.taken is not None
    assert rig.kept.trial is None
    rig.restart()
    assert rig.start.config.report.state_s == 5.0


def test_the_same_retained_message_is_taken_once_and_an_old_one_refused(rig: Rig) -> None:
    rig.desire(3, report={"state_s": 5})
    rig.desire(3, report={"state_s": 5})
    assert len(rig.swaps) == len(rig.told) == 1
    state = rig.desire(2, report={"state_s": 9})
    assert state.refused == ["desired: version 2 is old; want more than 3"]
    assert (state.desired_version, state.refused_version) == (3, 2)
    assert rig.config.report.state_s == 5.0
    assert rig.desire(3, report={"state_s": 9}).refused_version == 3
    state = rig.desire(4)
    assert (state.desired_version, state.refused, state.refused_version) == (4, [], None)
    assert rig.config.report.state_s == 60.0


def test_refused_settings_change_nothing_and_every_mistake_is_told(rig: Rig) -> None:
    rig.desire(1, report={"state_s": 5})
    state = rig.desire(
        2,
        mqtt={"host": "evil"},
        detection={"gate_step": 0, "smoothing_S": 1},
        regions={"left": {"box": [0, 0, 1, 1]}, "right": {}},
        rules={"x": {"output": "lamp", "seen": "cat"}},
        inference={"threads": 4},
    )
    told = "\n".join(state.refused)
    for key in (
        "desired: mqtt: not to be desired",
        "desired: detection.gate_step: got 0",
        'desired: detection.smoothing_S: unknown key; did you mean "smoothing_s"?',
        "desired: regions.left.box: not to be desired",
        "desired: regions.right: no such region",
        "desired: rules: rules drive outputs",
        "desired: inference.threads: not to be desired",
    ):
        assert key in told
    assert (state.desired_version, state.refused_version) == (1, 2)
    assert len(rig.swaps) == 1
    assert rig.kept.in_force is not None
    assert rig.kept.in_force.version == 1
    # Mended, it may come under the same version: it was not taken.
    assert rig.desire(2, detection={"gate_step": 5}).desired_version == 2


@pytest.mark.parametrize(
    "wanted",
    [
        {"detection": {f"k{number}": 1 for number in range(5000)}},
        {f"k{number}": 1 for number in range(5000)},
        {"regions": {f"k{number}": {} for number in range(5000)}},
        {"k\x01" * 20_000: 1},
    ],
)
def test_of_thousands_of_mistakes_so_many_are_told_that_a_broker_takes_the_state(
    rig: Rig, wanted: dict[str, Any]
) -> None:
    rig.desire(1, report={"state_s": 5})
    state = rig.desire(2, **wanted)
    assert (state.desired_version, state.refused_version) == (1, 2)
    assert len(state.model_dump_json()) < 64 * 1024
    assert len(rig.file.read() or b"") < 64 * 1024
    assert rig.kept.in_force is not None
    assert len(wanted) == 1 or state.refused[-1].startswith("and ")


def test_a_bundle_is_chosen_by_its_name_among_those_that_are_there(rig: Rig) -> None:
    assert rig.desire(1, inference={"bundle": "night"}).refused == []
    assert rig.swaps[-1].plans[0][1].bundle.name == "night"
    assert rig.loads == ["scene", "night"]
    for version, name in enumerate(["/tmp/evil", "../night", "none", "broken"], start=2):
        state = rig.desire(version, inference={"bundle": name})
        assert state.refused, name
        assert state.desired_version == 1
    assert "its model does not run" in rig.state.refused[0]


def test_names_that_the_bundle_does_not_know_are_refused(rig: Rig) -> None:
    state = rig.desire(1, regions={"left": {"thresholds": {"cta": {"low": 0.1, "high": 0.2}}}})
    assert 'did you mean "cat"?' in state.refused[0]
    assert (
        rig.desire(1, regions={"left": {"thresholds": {"cat": {"low": 0.1, "high": 0.2}}}}).refused
        == []
    )
    assert rig.swaps[-1].plans[0][0].thresholds["cat"].high == 0.2


def test_rules_may_be_desired_where_the_file_allows_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, text="[device]\nallow_remote_rules = true\n" + FILE)
    rig.desire(1, rules={"x": {"output": "lamp", "seen": "cat"}})
    assert [rule.name for rule in rig.swaps[-1].rules] == ["x"]
    assert "no output" in rig.desire(2, rules={"x": {"output": "door", "seen": "cat"}}).refused[0]


def test_a_death_during_the_trial_takes_the_settings_back(rig: Rig) -> None:
    rig.desire(1, report={"state_s": 5})
    rig.clock.advance(61.0)
    rig.tuning.watch_trial()
    rig.desire(2, report={"state_s": 7})
    rig.deaths = 1
    rig.tuning.watch_trial()
    assert rig.config.report.state_s == 5.0
    assert (rig.state.desired_version, rig.state.refused_version) == (1, 2)
    assert "died under them" in rig.state.refused[0]
    rig.desire(2, report={"state_s": 7})  # retained: it comes again, and is not tried again
    assert rig.config.report.state_s == 5.0
    rig.deaths = 2  # one that nobody blames on settings that are good
    rig.tuning.watch_trial()
    assert rig.config.report.state_s == 5.0


def test_a_crash_during_the_trial_takes_the_settings_back_at_the_next_start(rig: Rig) -> None:
    rig.desire(1, report={"state_s": 7})
    rig.restart()
    assert rig.start.config.report.state_s == 60.0
    state = rig.start.source.state(rig.start.record)
    assert (state.desired_version, state.refused_version) == (None, 1)
    assert "taken them back" in state.refused[0]


def test_a_stop_during_the_trial_lets_it_go_on_at_the_next_start(rig: Rig) -> None:
    rig.desire(1, report={"state_s": 7})
    rig.tuning.end()
    rig.restart()
    assert rig.start.config.report.state_s == 7.0
    rig.clock.advance(61.0)
    rig.tuning.watch_trial()
    assert not rig.state.is_on_trial


def test_what_cannot_be_stored_is_refused(rig: Rig) -> None:
    rig.file.is_broken = True
    assert "no space left" in rig.desire(1, report={"state_s": 7}).refused[0]
    assert rig.swaps == []
    rig.file.is_broken = False
    assert rig.desire(1, report={"state_s": 7}).desired_version == 1


def test_a_loop_that_takes_nothing_keeps_the_settings_it_has(rig: Rig) -> None:
    rig.is_full = True
    state = rig.desire(1, report={"state_s": 7})
    assert state.desired_version is None
    assert "too many requests" in state.refused[0]
    assert rig.config.report.state_s == 60.0


def test_desired_settings_that_no_longer_fit_the_file_are_dropped_and_told(rig: Rig) -> None:
    rig.desire(1, regions={"left": {"thresholds": {"cat": {"low": 0.1, "high": 0.2}}}})
    rig.tuning.end()
    rig.path.write_text(FILE.replace("regions.left", "regions.right"))
    rig.restart()
    state = rig.start.source.state(rig.start.record)
    assert state.desired_version is None
    assert "no such region" in state.refused[0]
    rig.desire(2, report={"state_s": 7})
    assert rig.config.report.state_s == 7.0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"taken": 1}', b"\xff"])
def test_a_record_that_cannot_be_read_is_forgotten(content: bytes) -> None:
    assert read_record(FakeSmallFile(content)) == TuningRecord()


# --- the file -----------------------------------------------------------------------------------


def test_reload_takes_what_is_tunable_in_the_file_with_what_was_desired_over_it(rig: Rig) -> None:
    rig.desire(1, report={"state_s": 7})
    rig.path.write_text(FILE.replace("0.5]", "0.25]") + "[report]\nstate_s = 9\ntelemetry_s = 8\n")
    assert rig.tuning.reload() is None
    assert (rig.config.report.state_s, rig.config.report.telemetry_s) == (7.0, 8.0)
    assert rig.swaps[-1].plans[0][0].box.right == 0.25


def test_reload_of_what_wants_a_restart_says_so_and_changes_nothing(rig: Rig) -> None:
    rig.path.write_text(FILE + "[mqtt]\nport = 1234\n[report]\nstate_s = 9\n")
    assert rig.tuning.reload() == "a restart is needed for [mqtt]; nothing was changed"
    assert rig.swaps == []


def test_reload_of_a_bad_file_is_refused_with_every_mistake(rig: Rig) -> None:
    rig.path.write_text("[mqtt]\nprot = 1\n[report]\nstate_s = 'x'\n")
    with pytest.raises(SettingsError, match=r"(?s)mqtt\.prot.*report\.state_s"):
        rig.tuning.reload()
    rig.path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        rig.tuning.reload()
    assert rig.swaps == []


def test_only_tunable_sections_change_without_a_restart() -> None:
    before = parse_with_desired(FILE, "f", None, {})
    for text, wanted in {
        FILE: [],
        FILE + "[album]\npictures = false\n[camera]\nstale_s = 9\n": ["[camera]", "[album]"],
        FILE.replace('bundle = "scene"', 'bundle = "night"'): [],
        FILE.replace('bundle = "scene"', 'bundle = "scene"\nthreads = 4'): ["[inference]"],
        FILE.replace("pin = 17", "pin = 18"): ["[outputs]"],
        FILE + '[rules.x]\noutput = "lamp"\nseen = "cat"\n': [],
    }.items():
        assert needs_restart(before, parse_with_desired(text, "f", None, {})) == wanted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
keys = st.sampled_from(
    [
        "detection",
        "report",
        "regions",
        "inference",
        "rules",
        "left",
        "thresholds",
        "bundle",
        "gate",
        "state_s",
        "cat",
        "low",
        "high",
        "mqtt",
        "device",
    ]
)
desired_values = st.dictionaries(
    keys | st.text(max_size=4),
    st.dictionaries(keys | st.text(max_size=4), st.dictionaries(keys, json_values) | json_values)
    | json_values,
    max_size=3,
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(desired_values, st.booleans())
def test_whatever_is_desired_is_settings_or_a_settings_error(
    desired: dict[str, Any], may_rule: bool
) -> None:
    text = f"[device]\nallow_remote_rules = {str(may_rule).lower()}\n{FILE}"
    with suppress(SettingsError):
        config = parse_with_desired(text, "f", Path("/nowhere"), desired)
        plain = parse_with_desired(text, "f", Path("/nowhere"), {})
        changed = set(needs_restart(plain, config))
        assert changed == set()  # nothing else can be moved from afar
        assert config.outputs == plain.outputs
        assert may_rule or config.rules == plain.rules
