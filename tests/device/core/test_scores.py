"""Scores of labels, and of the groups that people call by one name."""

from pathlib import PurePath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core.bundle import Bundle, Group, InputSpec, ScoreKind
from device.core.detection import Thresholds
from device.core.scores import Ranked, Scores, Targets, best, best_groups, best_labels

LIMITS = Thresholds(low=0.3, high=0.5)
LABELS = ("background", "tabby", "tiger cat", "beagle", "teapot")


def bundle(scores: ScoreKind = "exclusive") -> Bundle:
    return Bundle(
        name="test",
        version="1",
        kind="classifier",
        description="",
        licence="",
        source="",
        scores=scores,
        activation="none",
        input=InputSpec(
            height_px=8, width_px=8, fit="squash", colours="rgb", mean=(0, 0, 0), std=(1, 1, 1)
        ),
        labels=LABELS,
        has_background=True,
        groups={
            "cat": Group(name="cat", labels=("tabby", "tiger cat"), thresholds=LIMITS),
            "dog": Group(name="dog", labels=("beagle",), thresholds=LIMITS),
        },
        thresholds=LIMITS,
        variants={"cpu": "model.tflite"},
        sha256="0" * 64,
        folder=PurePath(),
    )


def scores(*values: float) -> Scores:
    return Scores(np.array(values, np.float32), inference_ns=1)


SEEN = scores(0.1, 0.3, 0.25, 0.2, 0.15)


def test_a_group_of_labels_that_exclude_each_other_has_the_sum() -> None:
    found = Targets(bundle(), ["cat", "dog", "teapot"]).score(SEEN)
    assert found == pytest.approx({"cat": 0.55, "dog": 0.2, "teapot": 0.15})


def test_a_group_of_independent_labels_has_the_largest() -> None:
    found = Targets(bundle("independent"), ["cat", "dog", "teapot"]).score(SEEN)
    assert found == pytest.approx({"cat": 0.3, "dog": 0.2, "teapot": 0.15})


def test_rounding_makes_no_score_larger_than_one() -> None:
    assert Targets(bundle(), ["cat"]).score(scores(0, 0.75, 0.375, 0, 0)) == {"cat": 1.0}


def test_no_targets_have_no_scores() -> None:
    assert Targets(bundle(), []).score(SEEN) == {}


@pytest.mark.parametrize("name", ["zebra", "background"])
def test_a_name_that_the_bundle_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"bundle test has no label or group {name}"):
        Targets(bundle(), ["cat", name])


@given(
    values=st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5),
    order=st.permutations(["cat", "dog", "tabby", "tiger cat", "beagle", "teapot"]),
)
def test_the_order_of_the_targets_does_not_matter(values: list[float], order: list[str]) -> None:
    together = Targets(bundle(), order).score(scores(*values))
    alone = {name: Targets(bundle(), [name]).score(scores(*values))[name] for name in order}
    assert together == pytest.approx(alone)
    assert list(together) == order


def test_the_best_come_first_and_ties_keep_their_order() -> None:
    values = np.array([0.2, 0.4, 0.2, 0.1], np.float32)
    ranked = best(["a", "b", "c", "d"], values, 3)
    assert [each.name for each in ranked] == ["b", "a", "c"]
    assert ranked[0] == Ranked("b", float(np.float32(0.4)))


def test_more_than_there_are_gives_all() -> None:
    assert len(best(["a"], np.array([0.5], np.float32), 10)) == 1


def test_people_do_not_see_the_background() -> None:
    ranked = best_labels(bundle(), scores(0.9, 0.01, 0.02, 0.03, 0.04), 2)
    assert [each.name for each in ranked] == ["teapot", "beagle"]


def test_the_best_groups() -> None:
    assert [each.name for each in best_groups(bundle(), SEEN, 1)] == ["cat"]
