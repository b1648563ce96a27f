"""Real models of other people's, made into bundles and asked what they see.

The answers are known: the pictures show what their names say, and two runtimes, or the plain
interpreter on the plainest path, must agree.
"""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from device.assembly import open_classifier, open_runtime
from device.bundles.make import Made, MakeRequest, make_bundle
from device.bundles.store import FolderStore
from device.core.bundle import Bundle
from device.core.scores import best_groups, best_labels
from device.errors import ModelError
from device.picture_files import read_picture
from tests.bundles_made import try_here

TOLERANCE = 8 / 256
"""Between kernels."""

SEEN = {
    "mobilenet_v2_1.0_224_quant": {
        "cat.bmp": "Egyptian cat",
        "cat_720p.jpg": "Egyptian cat",
        "bird.bmp": "chickadee",
        "parrot.jpg": "macaw",
        "sunflower.bmp": "daisy",
        "grace_hopper.bmp": "military uniform",
    },
    "tf2_mobilenet_v2_1.0_224_ptq": {
        "cat.bmp": "Egyptian cat",
        "bird.bmp": "chickadee",
        "parrot.jpg": "macaw",
        "sunflower.bmp": "daisy",
        "grace_hopper.bmp": "military uniform",
    },
    "mobilenet_v1_0.25_128_quant": {
        "bird.bmp": "chickadee",
        "parrot.jpg": "macaw",
        "sunflower.bmp": "daisy",
    },
    "mobilenet_v2_1.0_224_inat_bird_quant": {
        "bird.bmp": "Poecile atricapillus (Black-capped Chickadee)",
        "owl.jpg": "Athene cunicularia (Burrowing Owl)",
        "parrot.jpg": "Ara macao (Scarlet Macaw)",
        "cat.bmp": "background",
    },
}


def make(testdata: Path, folder: Path, name: str) -> Bundle:
    return make_noted(testdata, folder, name).bundle


def make_noted(testdata: Path, folder: Path, name: str) -> Made:
    labels = "inat_bird_labels.txt" if "inat" in name else "imagenet_labels.txt"
    request = MakeRequest(
        tflite=testdata / "models" / f"{name}.tflite",
        labels=testdata / "labels" / labels,
        output=folder / "made",
    )
    return make_bundle(request, try_here, FolderStore(None).find("imagenet"))


def plainest_answer(testdata: Path, bundle: Bundle, picture: str) -> NDArray[np.float64]:
    """Pillow, the pixels as they are, the file's own numbers: no code of ours but the runtime."""
    network = open_runtime().load(Path(bundle.folder) / bundle.variants["cpu"], threads=1)
    size = (bundle.input.width_px, bundle.input.height_px)
    image = PIL.Image.open(testdata / "images" / picture).convert("RGB")
    pixels = np.asarray(image.resize(size, PIL.Image.Resampling.BILINEAR))
    [raw] = network.run(pixels[np.newaxis])
    output = network.outputs[0]
    values: NDArray[np.float64] = (raw[0].astype(np.float64) - output.zero_point) * output.scale
    return values


@pytest.mark.parametrize("name", SEEN)
def test_a_foreign_model_sees_what_the_pictures_show(
    testdata: Path, tmp_path: Path, name: str
) -> None:
    bundle = make(testdata, tmp_path, name)
    classifier = open_classifier(bundle, open_runtime(), threads=2)
    for picture, label in SEEN[name].items():
        scores = classifier.classify(read_picture(testdata / "images" / picture))
        assert best_labels(bundle, scores, 1)[0].name == label, picture
        plain = plainest_answer(testdata, bundle, picture)
        assert np.abs(scores.values - plain).max() <= TOLERANCE, picture


def test_an_imagenet_model_gets_the_groups_that_people_ask_for(
    testdata: Path, tmp_path: Path
) -> None:
    bundle = make(testdata, tmp_path, "mobilenet_v2_1.0_224_quant")
    classifier = open_classifier(bundle, open_runtime(), threads=2)
    for picture, group in (("cat.bmp", "cat"), ("owl.jpg", "bird"), ("parrot.jpg", "bird")):
        scores = classifier.classify(read_picture(testdata / "images" / picture))
        assert best_groups(bundle, scores, 1)[0].name == group


def test_known_pictures_prove_an_imagenet_model_in_passing(testdata: Path, tmp_path: Path) -> None:
    made = make_noted(testdata, tmp_path, "mobilenet_v2_1.0_224_quant")
    assert any("it recognises 4 of the embedded bundle's 4" in note for note in made.notes)


def test_labels_in_another_order_are_doubted(testdata: Path, tmp_path: Path) -> None:
    lines = (testdata / "labels" / "imagenet_labels.txt").read_text().splitlines()
    turned = tmp_path / "turned.txt"
    turned.write_text("\n".join(lines[500:] + lines[:500]))
    request = MakeRequest(
        tflite=testdata / "models" / "mobilenet_v2_1.0_224_quant.tflite",
        labels=turned,
        output=tmp_path / "made",
    )
    made = make_bundle(request, try_here, FolderStore(None).find("imagenet"))
    assert any("labels or its input range may be wrong" in note for note in made.notes)
    assert made.bundle.groups == {}


BAD = {
    "model_invoking_error": "unresolved custom op: fake-op-double",
    "mobilenet_v1_1.0_224_quant_embedding_extractor": "ends in AVERAGE_POOL_2D",
    "mobilenet_v1_0.25_128_quant_edgetpu": "as --edgetpu",
}


@pytest.mark.parametrize("name", BAD)
def test_a_foreign_model_that_is_no_classifier_is_refused(
    testdata: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ModelError, match=BAD[name]):
        make(testdata, tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_feature_extractor_is_refused_with_as_many_labels_as_it_has_numbers(
    testdata: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"thing {row}" for row in range(1024)))
    request = MakeRequest(
        tflite=testdata / "models" / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite",
        labels=labels,
        output=tmp_path / "made",
    )
    with pytest.raises(ModelError, match=r"ends in AVERAGE_POOL_2D.*want a classifier"):
        make_bundle(request, try_here, None)


def test_the_edge_tpu_file_of_another_model_is_refused(testdata: Path, tmp_path: Path) -> None:
    models = testdata / "models"
    request = MakeRequest(
        tflite=models / "mobilenet_v1_0.25_128_quant.tflite",
        edgetpu=models / "mobilenet_v1_1.0_224_quant_embedding_extractor_edgetpu.tflite",
        labels=testdata / "labels" / "imagenet_labels.txt",
        output=tmp_path / "made",
    )
    told = (
        r"^mobilenet_v1_1\.0_224_quant_embedding_extractor_edgetpu\.tflite: another model than the "
        r"CPU's: it takes \[1, 224, 224, 3\] uint8 and gives 1024 scores, the CPU's takes "
        r"\[1, 128, 128, 3\] uint8 and gives 1001 scores; want"
    )
    with pytest.raises(ModelError, match=told):
        make_bundle(request, try_here, None)
    assert list(tmp_path.iterdir()) == []


def test_an_edge_tpu_pair_becomes_one_bundle(testdata: Path, tmp_path: Path) -> None:
    models = testdata / "models"
    request = MakeRequest(
        tflite=models / "mobilenet_v1_0.25_128_quant.tflite",
        edgetpu=models / "mobilenet_v1_0.25_128_quant_edgetpu.tflite",
        labels=testdata / "labels" / "imagenet_labels.txt",
        output=tmp_path / "made",
    )
    assert set(make_bundle(request, try_here, None).bundle.variants) == {"cpu", "edgetpu"}
