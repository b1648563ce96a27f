"""A classifier whose scores are a plain function of the image, for the loop's tests."""

from collections.abc import Callable, Mapping

import numpy as np

from device.core.bundle import Bundle
from device.core.images import Image
from device.core.scores import Scores

INFERENCE_NS = 2_000_000


class FakeClassifier:
    """`look` names what is in the image; labels that it does not name score 0."""

    def __init__(self, bundle: Bundle, look: Callable[[Image], Mapping[str, float]]) -> None:
        self.bundle = bundle
        self._look = look
        self.seen = 0

    def classify(self, image: Image) -> Scores:
        """Raises what `look` raises, such as ModelError."""
        self.seen += 1
        found = self._look(image)
        unknown = set(found) - set(self.bundle.labels)
        if unknown:
            raise ValueError(f"bundle {self.bundle.name} has no label {sorted(unknown)}")
        values = np.array([found.get(label, 0.0) for label in self.bundle.labels], np.float32)
        return Scores(values, INFERENCE_NS)
