"""Settings and bundles brought together."""

from device.core.bundle import Bundle
from device.core.toml_keys import KeyLines
from device.pipeline.look import RegionPlan
from device.pipeline.planning import plan_regions
from device.settings_file import Mistake, parse_config
from tests.device.pipeline.scene import BUNDLE


def plan(text: str) -> tuple[list[tuple[RegionPlan, Bundle]], list[Mistake]]:
    return plan_regions(parse_config(text, "x.toml"), lambda _: BUNDLE, KeyLines(text))


def test_without_regions_the_whole_frame_watches_for_every_group() -> None:
    [(only, _)], mistakes = plan("")
    assert mistakes == []
    assert (only.name, only.box.is_whole, only.watch) == ("whole", True, ("cat", "dog"))


def test_thresholds_are_the_regions_own_else_the_groups() -> None:
    [(only, _)], _ = plan(
        "[regions.yard]\nthresholds = { cat = { low = 0.6, high = 0.7 } }\nwatch = ['cat', 'dog']"
    )
    assert only.thresholds["cat"].high == 0.7
    assert only.thresholds["dog"].high == 0.5


def test_a_label_can_be_watched_for_too() -> None:
    [(only, _)], mistakes = plan("[regions.yard]\nwatch = ['tiger cat']")
    assert mistakes == []
    assert only.watch == ("tiger cat",)


def test_an_unknown_target_is_named_with_its_line_and_its_likeness() -> None:
    _, mistakes = plan("[regions.yard]\nbox = [0, 0, 1, 1]\nwatch = ['tigre cat', 'dog']")
    [mistake] = mistakes
    assert (mistake.line, mistake.key) == (3, "regions.yard.watch")
    assert 'did you mean "tiger cat"' in mistake.message


def test_a_rule_about_what_nobody_watches_for_is_heard() -> None:
    _, mistakes = plan(
        "[outputs.lamp]\npin = 4\n[regions.yard]\nwatch = ['cat']\n"
        "[rules.bark]\noutput = 'lamp'\nseen = 'dog'"
    )
    [mistake] = mistakes
    assert (mistake.line, mistake.key) == (7, "rules.bark.seen")
    assert "watched: cat" in mistake.message


def test_a_regions_own_detection_settings_win() -> None:
    [(only, _)], _ = plan("[detection]\nshortest_s = 9\n[regions.y.detection]\nshortest_s = 1")
    assert only.patience.shortest_ns == 1_000_000_000
