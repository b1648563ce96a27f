"""The loop as a whole: frames in, events, outputs and records out."""

import pytest

from device.config import OutputConfig
from device.core.change import GateSettings
from device.core.detection import Patience
from device.core.images import Rectangle, Rgb
from device.core.rules import Action, Rule
from device.errors import ModelError, SourceEndedError, TransientError
from device.pipeline.decide import REQUESTS_AT_MOST, Answer, Request
from device.wire.bodies import Button, Detection
from tests.device.pipeline.scene import CAT, DOG, EMPTY, Scene, picture

S = 1_000_000_000
LAMP = Rule(name="lamp on cat", output="lamp", target="cat")


def detections(scene: Scene) -> list[tuple[str, str, str]]:
    return [
        (body.change, body.region, body.label)
        for body in scene.bodies
        if isinstance(body, Detection)
    ]


def test_what_comes_and_goes_is_told_once_each() -> None:
    scene = Scene()
    scene.show(EMPTY, CAT, CAT, CAT, EMPTY, DOG, EMPTY)
    assert detections(scene) == [
        ("began", "whole", "cat"),
        ("ended", "whole", "cat"),
        ("began", "whole", "dog"),
        ("ended", "whole", "dog"),
    ]


def test_a_detection_says_why() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(EMPTY, CAT)
    [body] = scene.bodies
    assert isinstance(body, Detection)
    assert body.kind == "group"
    assert [each.label for each in body.labels] == ["tabby", "tiger cat", "grass"]
    assert body.why.rules == ["lamp on cat"]
    assert body.why.bundle == "scene@1.0.0"
    assert body.why.bundle_sha256 == "ab" * 32
    assert body.why.thresholds.high == 0.5
    assert body.why.history == [(100, 0.0), (0, 0.9)]


def test_the_picture_that_decided_goes_with_the_event() -> None:
    scene = Scene()
    scene.show(EMPTY, CAT)
    [(_, keepsake)] = scene.told
    assert keepsake is not None
    assert keepsake.region == "whole"
    assert keepsake.picture.size == (90, 160)


def test_an_output_is_on_while_its_target_is_there() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(EMPTY, CAT, CAT, EMPTY)
    assert scene.pins.writes == [("lamp", False), ("lamp", True), ("lamp", False)]
    kinds = [page.record.kind for page in scene.pages]
    assert kinds == ["output", "output"]
    assert "rule: lamp on cat" in scene.pages[0].record.headline


def test_a_timed_output_ends_without_a_frame() -> None:
    pulse = Rule(name="p", output="lamp", target="cat", action=Action.PULSE, pulse_ns=S)
    scene = Scene(rules=(pulse,))
    scene.show(CAT)
    scene.wait(0.5)
    assert scene.pins.levels["lamp"]
    scene.wait(1.0)
    assert not scene.pins.levels["lamp"]


def test_a_silent_camera_makes_outputs_safe_and_ends_what_was_there() -> None:
    scene = Scene(rules=(LAMP,), stale_s=2.0)
    scene.show(CAT)
    assert scene.pins.levels["lamp"]
    scene.wait(1.0)
    assert scene.pins.levels["lamp"]
    scene.wait(2.0)
    assert not scene.pins.levels["lamp"]
    last = scene.bodies[-1]
    assert isinstance(last, Detection)
    assert (last.change, last.why.reason) == ("ended", "blind")


def test_a_failing_camera_makes_outputs_safe_at_once_and_is_opened_again() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(CAT)
    scene.cameras[-1].give(TransientError("unplugged"))
    scene.capture.turn()
    scene.loop.turn()
    assert not scene.pins.levels["lamp"]
    scene.clock.advance(2.0)
    scene.show(CAT)
    assert len(scene.cameras) == 2
    assert scene.pins.levels["lamp"]


def test_a_clip_that_ended_leaves_the_box_running_with_safe_outputs() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(CAT)
    scene.cameras[-1].give(SourceEndedError("the clip ended"))
    scene.capture.turn()
    scene.loop.turn()
    assert not scene.pins.levels["lamp"]
    assert scene.loop.snapshot.camera == "ended"
    scene.wait(3.0)
    assert len(scene.cameras) == 1


def test_absence_counts_from_when_there_was_something_to_see() -> None:
    rule = Rule(name="nobody", output="lamp", target="cat", is_absence=True, after_ns=3 * S)
    scene = Scene(rules=(rule,))
    scene.show(EMPTY, EMPTY, step_s=1.0)
    assert not scene.pins.levels["lamp"]
    scene.show(EMPTY, EMPTY, EMPTY, step_s=1.0)
    assert scene.pins.levels["lamp"]
    scene.show(CAT)
    assert not scene.pins.levels["lamp"]


def test_a_near_miss_is_kept_and_not_sent() -> None:
    scene = Scene(patience=Patience(shortest_ns=S))
    scene.show(EMPTY, CAT, CAT, EMPTY)
    assert scene.bodies == []
    [page] = scene.pages
    assert page.record.kind == "near_miss"
    assert page.record.label == "cat"
    assert page.keepsake is not None
    assert page.record.detail["why"]["reason"] == "time"


def test_a_near_miss_shows_what_was_missed_and_not_what_came_after() -> None:
    scene = Scene(patience=Patience(shortest_ns=S))
    scene.show(EMPTY, CAT, EMPTY)
    [page] = scene.pages
    assert page.keepsake is not None
    assert isinstance(page.keepsake.picture, Rgb)
    assert int(page.keepsake.picture.pixels.mean()) == CAT
    assert page.record.detail["labels"][0]["label"] == "tabby"


def test_a_still_scene_costs_no_inference_and_loses_no_event() -> None:
    gate = GateSettings(pixel_step=10, share=0.01, look_every_ns=100 * S)
    scene = Scene(gate=gate)
    scene.show(*[EMPTY] * 10, *[CAT] * 10, *[EMPTY] * 10)
    assert detections(scene) == [("began", "whole", "cat"), ("ended", "whole", "cat")]
    assert scene.classifier.seen == 3
    assert scene.loop.snapshot.dismissed == 27


def test_each_region_sees_its_own_part() -> None:
    left = Rectangle(top=0, left=0, bottom=1, right=0.5)
    right = Rectangle(top=0, left=0.5, bottom=1, right=1)
    scene = Scene(boxes={"left": left, "right": right})
    image = picture(EMPTY)
    image.pixels[:, 80:] = CAT
    scene.show_image(image)
    assert detections(scene) == [("began", "right", "cat")]


def test_a_mask_hides_what_is_under_it() -> None:
    image = picture(EMPTY)
    image.pixels[:, 40:] = 255
    bare = Scene()
    bare.show_image(image)
    assert detections(bare) == [("began", "whole", "cat")]
    masked = Scene(masks=(Rectangle(top=0, left=0.25, bottom=1, right=1),))
    masked.show_image(image)  # a quarter black, the rest grey: as bright as a dog
    assert detections(masked) == [("began", "whole", "dog")]


def test_a_short_press_looks_now_and_reports_what_it_saw() -> None:
    scene = Scene()
    scene.show(DOG)
    scene.pins.push("look")
    scene.pins.release("look")
    scene.loop.turn()
    body = scene.bodies[-1]
    assert isinstance(body, Button)
    assert (body.press, body.result) == ("short", "looked")
    assert body.sights[0].present == ["dog"]
    assert body.sights[0].labels[0].label == "dog"


def test_a_press_before_the_first_picture_says_so() -> None:
    scene = Scene()
    scene.pins.push("look")
    scene.pins.release("look")
    scene.loop.turn()
    [body] = scene.bodies
    assert isinstance(body, Button)
    assert body.result == "no_picture"


def test_a_held_press_pauses_and_the_next_one_resumes() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(CAT)
    scene.pins.push("look")
    scene.pins.hold("look")
    scene.loop.turn()
    assert not scene.pins.levels["lamp"]
    scene.wait(1.0)
    assert scene.cameras[-1].is_closed
    assert scene.loop.snapshot.camera == "paused"
    scene.pins.release("look")
    scene.pins.push("look")
    scene.pins.hold("look")
    scene.loop.turn()
    scene.show(CAT)
    assert scene.pins.levels["lamp"]
    results = [body.result for body in scene.bodies if isinstance(body, Button)]
    assert results == ["paused", "resumed"]


def test_a_request_is_answered_between_frames() -> None:
    scene = Scene()
    scene.show(CAT)
    answers: list[Answer] = []
    assert scene.loop.ask(Request("look", answers.append))
    scene.loop.turn()
    [answer] = answers
    assert answer.result == "looked"
    assert answer.sights[0].present == ["cat"]
    assert answer.frame is not None


def test_too_many_requests_are_refused_not_queued_for_ever() -> None:
    scene = Scene()
    answers: list[Answer] = []
    taken = [scene.loop.ask(Request("look", answers.append)) for _ in range(REQUESTS_AT_MOST + 1)]
    assert taken == [True] * REQUESTS_AT_MOST + [False]


def test_stopping_makes_outputs_safe() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(CAT)
    scene.loop.close()
    assert not scene.pins.levels["lamp"]


def test_the_snapshot_names_what_is_present() -> None:
    scene = Scene()
    scene.show(CAT, CAT)
    snapshot = scene.loop.snapshot
    assert snapshot.present == {"whole": ("cat",)}
    assert snapshot.scores["whole"][0][0] == "cat"
    assert snapshot.frames == 2


def absent_cat(after_s: float) -> Rule:
    return Rule(
        name="nobody", output="lamp", target="cat", is_absence=True, after_ns=round(after_s * S)
    )


def test_time_without_sight_is_no_absence() -> None:
    scene = Scene(rules=(absent_cat(60),), patience=Patience(shortest_ns=S))
    scene.wait(120.0)  # the camera takes its time
    scene.show(CAT)
    assert not scene.pins.levels["lamp"]
    scene.show(*[CAT] * 12)
    assert detections(scene) == [("began", "whole", "cat")]
    scene.wait(3600.0)  # and then it fails, while the cat lies there
    scene.show(*[CAT] * 9)
    assert scene.pins.writes == [("lamp", False)]
    scene.show(EMPTY, step_s=50.0)
    assert not scene.pins.levels["lamp"]


def test_absence_counts_anew_after_blindness() -> None:
    scene = Scene(rules=(absent_cat(60),))
    scene.show(EMPTY)
    scene.wait(3600.0)
    scene.show(EMPTY, EMPTY, step_s=30.0)
    assert scene.pins.writes == [("lamp", False)]
    scene.show(EMPTY, step_s=30.0)
    assert scene.pins.levels["lamp"]


def test_absence_begins_nothing_while_something_is_coming() -> None:
    scene = Scene(rules=(absent_cat(0),), patience=Patience(shortest_ns=S))
    scene.show(*[CAT] * 30)
    assert scene.pins.writes == [("lamp", False)]
    scene.show(EMPTY, EMPTY)
    assert scene.pins.levels["lamp"]


def test_a_pin_that_refuses_keeps_no_other_from_its_level() -> None:
    outputs = {"first": OutputConfig(pin=1), "last": OutputConfig(pin=2)}
    rules = [Rule(name=f"{name} on cat", output=name, target="cat") for name in outputs]
    scene = Scene(outputs=outputs, rules=tuple(rules))
    scene.show(CAT)
    assert scene.pins.levels == {"first": True, "last": True}
    scene.pins.refuse("first", TransientError("the pin is taken"))
    scene.show(EMPTY, EMPTY)
    assert scene.pins.levels == {"first": True, "last": False}
    assert scene.loop.snapshot.outputs == {"first": True, "last": False}
    assert "first: the pin is taken" in scene.loop.snapshot.problems["pins"]
    scene.wait(10.0)  # blind: the safe level is tried each turn, too
    assert scene.pins.levels["first"]
    scene.pins.refuse("first", None)
    scene.wait(0.5)
    assert scene.pins.levels == {"first": False, "last": False}
    assert scene.loop.snapshot.problems == {}


def test_a_pin_that_raises_what_no_driver_should_is_no_different() -> None:
    outputs = {"first": OutputConfig(pin=1), "last": OutputConfig(pin=2)}
    rules = [Rule(name=f"{name} on cat", output=name, target="cat") for name in outputs]
    scene = Scene(outputs=outputs, rules=tuple(rules))
    scene.pins.refuse("first", ZeroDivisionError("a mistake in a driver"))
    scene.show(CAT)
    assert scene.pins.levels == {"first": False, "last": True}
    scene.loop.close()
    assert scene.pins.levels == {"first": False, "last": False}


BROKEN = ModelError("model.tflite: failed when invoked")


def test_a_model_that_fails_makes_its_region_blind(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(CAT)
    assert scene.pins.levels["lamp"]
    scene.model_error = BROKEN
    scene.show(*[CAT] * 50)
    assert not scene.pins.levels["lamp"]
    assert detections(scene)[-1] == ("ended", "whole", "cat")
    assert scene.loop.snapshot.problems == {
        "model": "region whole sees nothing: model.tflite: failed when invoked"
    }
    assert [each.levelname for each in caplog.records].count("ERROR") == 1
    scene.model_error = None
    scene.show(CAT)
    assert scene.pins.levels["lamp"]
    assert scene.loop.snapshot.problems == {}


def test_a_mistake_that_ends_the_look_leaves_nothing_on() -> None:
    scene = Scene(rules=(LAMP,))
    scene.show(CAT)
    scene.model_error = ZeroDivisionError("a mistake")
    with pytest.raises(ZeroDivisionError):
        scene.show(CAT)
    scene.loop.turn()
    assert not scene.pins.levels["lamp"]


def test_absence_is_not_taken_from_a_model_that_fails() -> None:
    scene = Scene(rules=(absent_cat(1),))
    scene.model_error = BROKEN
    scene.show(*[EMPTY] * 50)
    assert scene.pins.writes == [("lamp", False)]
    scene.model_error = None
    scene.show(*[EMPTY] * 5)
    assert not scene.pins.levels["lamp"]
    scene.show(*[EMPTY] * 10)
    assert scene.pins.levels["lamp"]


def test_the_gate_remembers_only_what_was_looked_at() -> None:
    scene = Scene(gate=GateSettings(pixel_step=10, share=0.01, look_every_ns=100 * S))
    scene.show(EMPTY, EMPTY)
    scene.model_error = BROKEN
    scene.show(CAT)
    scene.model_error = None
    scene.show(CAT)
    assert detections(scene) == [("began", "whole", "cat")]


def test_a_request_to_look_is_answered_when_the_model_fails() -> None:
    scene = Scene()
    scene.show(CAT)
    scene.model_error = BROKEN
    answers: list[Answer] = []
    scene.loop.ask(Request("look", answers.append))
    scene.loop.turn()
    [answer] = answers
    assert (answer.sights[0].present, answer.sights[0].labels) == ([], [])
    assert "model" in scene.loop.snapshot.problems
