"""Other settings between two turns, and a box that blinks to be told from others."""

from dataclasses import replace
from itertools import pairwise

from device.config import OutputConfig
from device.core.detection import Thresholds
from device.core.images import WHOLE, Rectangle
from device.core.rules import Rule
from device.inference.fake_classifier import FakeClassifier
from device.pipeline.decide import Identify, Swap
from device.wire.bodies import Detection
from tests.device.pipeline.scene import BUNDLE, CAT, EMPTY, Scene, look_at

LAMP = Rule(name="lamp on cat", output="lamp", target="cat")
LEFT = Rectangle(top=0, left=0, bottom=1, right=0.5)


def swap(scene: Scene, **changes: object) -> None:
    """The settings of every region with `changes`, in force with the next turn."""
    taken: list[bool] = []
    plans = [
        (replace(scene.plan(name, box), **changes), scene.classifier)  # type: ignore[arg-type]
        for name, box in scene.boxes.items()
    ]
    assert scene.loop.ask(Swap(plans, scene.rules, lambda: taken.append(True)))
    scene.loop.turn()
    assert taken == [True]


def told(scene: Scene) -> list[tuple[str, str]]:
    return [(each.change, each.region) for each in scene.bodies if isinstance(each, Detection)]


def test_a_region_goes_on_under_other_thresholds() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(EMPTY, CAT)
    swap(scene, thresholds={"cat": Thresholds(low=0.2, high=0.3), "dog": Thresholds(low=0, high=1)})
    scene.show(CAT)
    assert told(scene) == [("began", "whole")]
    assert scene.pins.levels["lamp"]
    scene.show(EMPTY)
    assert told(scene) == [("began", "whole"), ("ended", "whole")]


def test_the_new_thresholds_hold_from_the_next_look_on() -> None:
    scene = Scene()
    swap(
        scene, thresholds={"cat": Thresholds(low=0.95, high=0.99), "dog": Thresholds(low=0, high=1)}
    )
    scene.show(EMPTY, CAT)
    assert told(scene) == []


def test_what_another_bundle_looks_at_has_ended_and_begins_anew() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(EMPTY, CAT)
    scene.classifier = FakeClassifier(replace(BUNDLE, sha256="cd" * 32), look_at)
    swap(scene)
    assert told(scene) == [("began", "whole"), ("ended", "whole")]
    assert not scene.pins.levels["lamp"]
    scene.show(CAT)
    assert told(scene)[2:] == [("began", "whole")]


def test_regions_come_go_and_move() -> None:
    scene = Scene(boxes={"a": WHOLE, "b": WHOLE})
    scene.show(EMPTY, CAT)
    scene.boxes = {"b": LEFT, "c": WHOLE}
    swap(scene)
    assert sorted(told(scene)[2:]) == [("ended", "a"), ("ended", "b")]
    scene.show(CAT)
    assert sorted(told(scene)[4:]) == [("began", "b"), ("began", "c")]
    assert list(scene.loop.snapshot.present) == ["b", "c"]


def test_a_rule_that_is_gone_lets_go() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(EMPTY, CAT)
    assert scene.pins.levels["lamp"]
    scene.rules = ()
    swap(scene)
    scene.show(CAT)
    assert not scene.pins.levels["lamp"]


def identify(scene: Scene) -> str | None:
    answers: list[str | None] = []
    assert scene.loop.ask(Identify(answers.append))
    scene.loop.turn()
    [answer] = answers
    return answer


def levels(scene: Scene, seconds: float, step_s: float = 0.05) -> list[bool]:
    found = []
    for _ in range(round(seconds / step_s)):
        scene.loop.turn()
        found.append(scene.pins.levels["lamp"])
        scene.clock.advance(step_s)
    return found


def test_identify_blinks_for_ten_seconds_even_without_a_picture() -> None:
    scene = Scene(identify_output="lamp")
    assert identify(scene) is None
    during = levels(scene, 10.0)
    assert 80 <= sum(during) <= 120
    edges = sum(a != b for a, b in pairwise(during))
    assert 36 <= edges <= 40
    assert not any(levels(scene, 5.0))


def test_identify_goes_before_the_rules_and_gives_back_what_they_want() -> None:
    scene = Scene(identify_output="lamp", rules=(LAMP,), stale_s=60.0)
    scene.show(EMPTY, CAT)
    assert identify(scene) is None
    assert not all(levels(scene, 9.0))
    levels(scene, 2.0)
    assert all(levels(scene, 2.0))


def test_identify_is_refused_without_an_output_for_it() -> None:
    scene = Scene()
    assert "identify_output" in (identify(scene) or "")
    assert not any(levels(scene, 1.0))


def test_identify_keeps_the_limits_of_its_output() -> None:
    strict = {"lamp": OutputConfig(pin=17, longest_on_s=0.1)}
    scene = Scene(identify_output="lamp", outputs=strict)
    assert "may not be on for long enough" in (identify(scene) or "")
    assert not any(levels(scene, 1.0))
    cut_off = {"lamp": OutputConfig(pin=17, longest_on_s=2.0)}
    scene = Scene(identify_output="lamp", outputs=cut_off, rules=(LAMP,), stale_s=60.0)
    scene.show(EMPTY, *([CAT] * 30))
    assert not scene.pins.levels["lamp"]
    assert "was on for too long" in (identify(scene) or "")
    assert not any(levels(scene, 1.0))
