"""One region's eyes: which picture they take."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from device.core.bundle import Fit
from device.core.images import WHOLE, Frame, Image
from device.inference.fake_classifier import FakeClassifier
from device.pipeline.look import Region
from tests.device.pipeline.scene import BUNDLE, Scene, picture


@pytest.mark.parametrize(
    ("fit", "side_px", "taken"),
    [
        ("squash", 224, (224, 224)),
        ("squash", 300, (720, 1280)),
        ("crop", 224, (720, 1280)),
    ],
)
def test_the_second_stream_is_taken_only_by_the_bundle_that_it_was_made_for(
    fit: Fit, side_px: int, taken: tuple[int, int]
) -> None:
    given = []

    def look(image: Image) -> Mapping[str, float]:
        given.append(image.size)
        return {}

    wanted = replace(BUNDLE.input, height_px=side_px, width_px=side_px, fit=fit)
    classifier = FakeClassifier(replace(BUNDLE, input=wanted), look)
    region = Region(Scene().plan("whole", WHOLE), classifier)
    small = picture(0, 224, 224)
    region.peek(Frame(sequence=1, captured_ns=1, main=picture(0, 720, 1280), small=small))
    assert given == [taken]
