"""What may be desired from afar, how it lies over the file, and which of it holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.desired import (
    Desired,
    TuningRecord,
    at_start,
    dropped,
    forbidden,
    merge,
    objection,
    on_trial,
    proved,
    refused,
    taken_back,
)

ONE = Desired(version=1, settings={"detection": {"gate": False}})
TWO = Desired(version=2, settings={"report": {"state_s": 5.0}})
GOOD = TuningRecord(taken=ONE, last_version=1)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
tables = st.dictionaries(
    st.sampled_from(["detection", "report", "regions", "inference", "rules", "mqtt"]) | st.text(),
    values,
    max_size=4,
)


def test_what_is_accepted_is_on_trial_and_then_proves_good() -> None:
    record = on_trial(GOOD, TWO)
    assert (record.in_force, record.taken, record.last_version) == (TWO, ONE, 2)
    assert proved(record) == TuningRecord(taken=TWO, last_version=2)
    later = refused(record, 3, ["desired: report: unknown key"])
    told_on = proved(later)
    assert (told_on.taken, told_on.trial) == (TWO, None)
    assert (told_on.refused_version, told_on.refused) == (3, ("desired: report: unknown key",))


def test_a_trial_that_the_process_did_not_outlive_is_taken_back_at_the_next_start() -> None:
    record = at_start(on_trial(GOOD, TWO))
    assert record.in_force == ONE
    assert (record.last_version, record.refused_version) == (2, 2)
    assert "taken them back" in record.refused[0]
    assert at_start(record) == record


def test_a_trial_that_was_stopped_as_asked_goes_on_once() -> None:
    stopped = on_trial(GOOD, TWO).model_copy(update={"trial_ended_well": True})
    record = at_start(stopped)
    assert record.in_force == TWO
    assert at_start(record).in_force == ONE


def test_what_is_refused_changes_nothing_but_what_is_told() -> None:
    record = refused(GOOD, 5, ["a", "b"])
    assert (record.in_force, record.last_version) == (ONE, 1)
    assert (record.refused_version, record.refused) == (5, ("a", "b"))


@pytest.mark.parametrize(
    ("record", "version", "said"),
    [
        (TuningRecord(), 1, None),
        (GOOD, 2, None),
        (GOOD, 1, ""),  # retained, and applied: it comes with every connection
        (on_trial(GOOD, TWO), 1, "version 1 is old; want more than 2"),
        (taken_back(on_trial(GOOD, TWO), "x"), 2, ""),
        (dropped(GOOD, ["x"]), 1, ""),
        (refused(GOOD, 7, ["x"]), 7, None),  # mended, it may come with the same version
    ],
)
def test_versions_must_grow(record: TuningRecord, version: int, said: str | None) -> None:
    desired = {1: ONE, 2: TWO}.get(version, Desired(version=version, settings={}))
    assert objection(record, desired) == said


def test_other_settings_under_a_version_that_was_taken_are_refused() -> None:
    assert objection(GOOD, Desired(version=1, settings={})) == (
        "version 1 was taken with other settings"
    )


def test_tables_are_merged_key_by_key_and_rules_as_a_whole() -> None:
    base: dict[str, Any] = {
        "detection": {"gate": True, "gate_step": 3},
        "regions": {"a": {"box": [0, 0, 1, 1], "thresholds": {"cat": {"low": 0.1, "high": 0.2}}}},
        "rules": {"x": {"output": "lamp", "seen": "cat"}, "y": {"output": "lamp", "seen": "dog"}},
    }
    desired = {
        "detection": {"gate": False},
        "regions": {"a": {"thresholds": {"dog": {"low": 0.3, "high": 0.4}}}},
        "rules": {"x": {"output": "lamp", "absent": "cat"}},
    }
    assert merge(base, desired) == {
        "detection": {"gate": False, "gate_step": 3},
        "regions": {
            "a": {
                "box": [0, 0, 1, 1],
                "thresholds": {"cat": {"low": 0.1, "high": 0.2}, "dog": {"low": 0.3, "high": 0.4}},
            }
        },
        "rules": {"x": {"output": "lamp", "absent": "cat"}, "y": {"output": "lamp", "seen": "dog"}},
    }


@given(tables, tables)
def test_merging_changes_neither_side_and_keeps_every_key(
    base: dict[str, Any], desired: dict[str, Any]
) -> None:
    before = repr((base, desired))
    assert set(merge(base, desired)) == {*base, *desired}
    assert merge(base, {}) == base
    assert repr((base, desired)) == before


@pytest.mark.parametrize(
    ("desired", "keys"),
    [
        ({"detection": {"gate": False}, "report": {}, "inference": {"bundle": "b"}}, []),
        ({"regions": {"a": {"thresholds": {}, "detection": {}}}}, []),
        ({"mqtt": {"host": "evil"}}, ["mqtt"]),
        ({"device": {"allow_remote_rules": True}}, ["device"]),
        ({"outputs": {}}, ["outputs"]),
        ({"rules": {}}, ["rules"]),
        (
            {"inference": {"threads": 16, "runtime": "x"}},
            ["inference.threads", "inference.runtime"],
        ),
        ({"regions": {"a": {"box": [0, 0, 1, 1]}, "b": {}}}, ["regions.a.box", "regions.b"]),
        (
            {"regions": {"a": {"masks": [], "bundle": "x", "watch": []}}},
            ["regions.a.masks", "regions.a.bundle", "regions.a.watch"],
        ),
        ({"": 1}, [""]),
    ],
)
def test_only_what_is_tunable_may_be_desired(desired: dict[str, Any], keys: list[str]) -> None:
    assert [key for key, _ in forbidden(desired, ["a"], may_rule=False)] == keys


def test_rules_may_be_desired_where_the_file_allows_it() -> None:
    assert forbidden({"rules": {"x": {}}}, ["a"], may_rule=True) == []


@given(tables, st.booleans())
def test_whatever_is_desired_is_judged_without_another_error(
    desired: dict[str, Any], may_rule: bool
) -> None:
    found = {key.split(".")[0] for key, _ in forbidden(desired, ["a"], may_rule)}
    allowed = {"detection", "report", "inference", "regions", *(["rules"] if may_rule else [])}
    assert set(desired) - allowed <= {key.split(".")[0] for key in found} | {
        key for key in desired if "." in key
    }
