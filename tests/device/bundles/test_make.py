"""Tests of building a bundle out of anyone's model."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.assembly import open_classifier, open_runtime
from device.bundles.check import check_bundle
from device.bundles.make import Made, MakeRequest, bundle_name, make_bundle
from device.bundles.manifest import read_bundle
from device.bundles.store import FolderStore
from device.core.images import Rgb
from device.core.scores import best_labels
from device.errors import ModelError, OutputError, PictureError
from tests.bundles_made import try_here, write_bundle, write_pictures
from tests.models_made import COLOURS, LABELS, Recipe, make_model, picture_of


class Workshop:
    """A folder with a model, its labels and pictures of what it knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "made" / "colours"
        self.pictures = write_pictures(folder / "pictures")

    def request(self, recipe: Recipe, labels: Sequence[str] = LABELS) -> MakeRequest:
        model, names = self.folder / "colours.tflite", self.folder / "names.txt"
        model.write_bytes(make_model(recipe))
        names.write_text("\n".join(labels) + "\n", encoding="utf-8")
        return MakeRequest(tflite=model, labels=names, output=self.output)

    def goldens(self, *colours: str) -> tuple[tuple[Path, str], ...]:
        return tuple((self.pictures[each], each) for each in colours)

    def left_behind(self) -> list[str]:
        parent = self.output.parent
        return [each.name for each in parent.iterdir()] if parent.is_dir() else []


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def make(request: MakeRequest) -> Made:
    return make_bundle(request, try_here, embedded=None)


def seen(made: Made, colour: str) -> tuple[str, float]:
    classifier = open_classifier(made.bundle, open_runtime(), threads=1)
    scores = classifier.classify(Rgb(np.asarray(picture_of(colour))))
    best = best_labels(made.bundle, scores, 1)[0]
    return best.name, best.score


def assert_right(made: Made) -> None:
    """It names every colour, and is sure."""
    for colour in COLOURS:
        name, score = seen(made, colour)
        assert name == colour
        assert score > 0.6
    assert check_bundle(Path(made.bundle.folder), try_here, "auto", 1).is_ok
    assert read_bundle(Path(made.bundle.folder)).sha256 == made.bundle.sha256


RECIPES = {
    "uint8": Recipe(number="uint8"),
    "int8": Recipe(number="int8"),
    "float with metadata": Recipe(number="float32", normalization=(127.5, 127.5)),
    "int8 with metadata": Recipe(number="int8", normalization=(127.5, 127.5)),
    "uint8 with idle metadata": Recipe(number="uint8", normalization=(0.0, 1.0)),
    "float around int8": Recipe(number="float32", quantized_inside=True),
    "uint8 sigmoid": Recipe(number="uint8", end="sigmoid"),
    "int8 logits": Recipe(number="int8", end="logits"),
    "wide": Recipe(number="uint8", size_px=(6, 12)),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_model_whose_file_tells_its_range_needs_no_golden_picture(
    shop: Workshop, recipe: Recipe
) -> None:
    assert_right(make(shop.request(recipe)))
    assert shop.left_behind() == ["colours"]


@pytest.mark.parametrize("is_range_0_255", [False, True])
def test_golden_pictures_tell_the_range_of_a_float_model(
    shop: Workshop, is_range_0_255: bool
) -> None:
    request = shop.request(Recipe(number="float32", is_range_0_255=is_range_0_255))
    made = make(replace(request, goldens=shop.goldens("dark", "bright", "red")))
    assert_right(made)
    wanted = "0..255" if is_range_0_255 else "-1..1"
    assert any(note.startswith(f"input range: {wanted}; it recognises") for note in made.notes)


def test_without_any_evidence_the_range_is_a_guess_and_called_one(shop: Workshop) -> None:
    made = make(shop.request(Recipe(number="float32")))
    assert any("a guess" in note and "--input-range" in note for note in made.notes)
    assert "a guess" in (Path(made.bundle.folder) / "model.toml").read_text()


def test_known_pictures_that_no_range_recognises_are_no_reason_for_one(
    shop: Workshop, tmp_path: Path
) -> None:
    """The names of the pictures are known, but the labels are shuffled."""
    shuffled = ["green", "dark", "red", "bright", "blue"]
    changes = {'label = "red"': 'label = "dark"', 'group = "coloured"\n': ""}
    embedded = read_bundle(write_bundle(tmp_path / "shuffled", changes))
    embedded = replace(embedded, goldens=embedded.goldens * 2)
    made = make_bundle(shop.request(Recipe(number="float32"), shuffled), try_here, embedded)
    [note] = [note for note in made.notes if note.startswith("input range")]
    assert "a guess" in note
    assert "recognises" not in note


@pytest.mark.parametrize("is_quantized", [False, True])
def test_a_model_that_ends_in_features_is_refused(shop: Workshop, is_quantized: bool) -> None:
    """A dequantize behind does not hide it."""
    recipe = Recipe(number="float32", end="relu", quantized_inside=is_quantized)
    with pytest.raises(ModelError, match=r"^colours\.tflite: a feature extractor: it ends in RELU"):
        make(shop.request(recipe))
    assert shop.left_behind() == []


def test_renamed_labels_are_told_and_kept_in_the_bundle(shop: Workshop) -> None:
    made = make(shop.request(Recipe(), ["red", "green", "red", "dark", "bright"]))
    assert any(note.startswith('labels: 1 renamed, such as "red (2)"') for note in made.notes)
    with pytest.raises(ModelError, match=r"names\.txt has 5 labels, but only 1 different"):
        make(replace(shop.request(Recipe(), ["red"] * 5), force=True))


def test_messages_name_the_persons_files_and_not_our_copies(shop: Workshop) -> None:
    request = shop.request(Recipe())
    model = request.tflite.rename(shop.folder / "My Model.tflite")
    request = replace(request, tflite=model)
    empty = shop.folder / "empty.png"
    empty.touch()
    good = shop.goldens("red")
    bad = [
        (replace(request, goldens=((empty, "red"),)), f"{empty}: an empty file"),
        (replace(request, goldens=(*good, (empty, "red"))), f"{empty}: an empty file"),
        (
            replace(request, goldens=(*good, (shop.pictures["dark"], "blue"))),
            "golden picture dark.png: the model does not see",
        ),
        (replace(request, licence=""), "colours/model.toml:8: licence: got ''"),
    ]
    for each, told in bad:
        with pytest.raises((ModelError, PictureError)) as caught:
            make(each)
        assert str(caught.value).startswith(told)
        assert ".colours-" not in str(caught.value)
    model.write_bytes(make_model(Recipe(custom_operator="fake")))
    with pytest.raises(ModelError) as caught:
        make(request)
    assert "My Model.tflite" in str(caught.value)
    assert "My-Model" not in str(caught.value)


def test_a_golden_picture_that_is_no_regular_file_is_not_copied(shop: Workshop) -> None:
    os.mkfifo(shop.folder / "pipe.png")
    for path in (shop.folder / "pipe.png", Path(os.devnull)):
        with pytest.raises(PictureError, match="not a regular file"):
            make(replace(shop.request(Recipe()), goldens=((path, "red"),)))


def test_the_range_may_be_asked_for(shop: Workshop) -> None:
    request = shop.request(Recipe(number="float32", is_range_0_255=True))
    assert_right(make(replace(request, input_range="0..255")))


@pytest.mark.parametrize("background", ["first", "last"])
@pytest.mark.parametrize("has_line", [False, True])
def test_a_background_row_is_found_on_either_end_with_or_without_its_label(
    shop: Workshop, background: str, has_line: bool
) -> None:
    is_first = background == "first"
    recipe = Recipe(background="first" if is_first else "last")
    lines = ["background", *LABELS] if is_first else [*LABELS, "background"]
    request = shop.request(recipe, lines if has_line else LABELS)
    made = make(replace(request, goldens=shop.goldens("red", "dark")))
    assert_right(made)
    assert made.bundle.has_background == is_first


def test_a_background_label_without_its_row_is_left_out(shop: Workshop) -> None:
    assert_right(make(shop.request(Recipe(), ["background", *LABELS])))


def test_scores_are_what_the_models_end_makes_them(shop: Workshop) -> None:
    kinds = {"softmax": ("exclusive", "none"), "sigmoid": ("independent", "none")}
    kinds["logits"] = ("exclusive", "softmax")
    for end, wanted in kinds.items():
        recipe = Recipe(end=end)  # type: ignore[arg-type]
        made = make(replace(shop.request(recipe), force=True))
        assert (made.bundle.scores, made.bundle.activation) == wanted


def test_golden_pictures_are_copied_with_a_safe_share_of_their_score(shop: Workshop) -> None:
    made = make(replace(shop.request(Recipe()), goldens=shop.goldens("red", "blue")))
    first, second = made.bundle.goldens
    assert (first.label, second.label) == ("red", "blue")
    assert 0.5 <= first.least_score <= 0.6
    assert (Path(made.bundle.folder) / first.picture).is_file()


def test_a_golden_picture_that_shows_something_else_ends_it(shop: Workshop) -> None:
    request = shop.request(Recipe())
    wrong = ((shop.pictures["red"], "blue"),)
    with pytest.raises(ModelError, match=r'does not see "blue" but: red 1\.00'):
        make(replace(request, goldens=wrong))
    assert shop.left_behind() == []


def test_a_golden_label_that_there_is_not_ends_it(shop: Workshop) -> None:
    request = replace(shop.request(Recipe()), goldens=((shop.pictures["red"], "rad"),))
    with pytest.raises(ModelError, match='no label "rad"'):
        make(request)


def test_a_golden_picture_that_cannot_be_read_ends_it(shop: Workshop) -> None:
    request = shop.request(Recipe())
    text = shop.folder / "text.png"
    text.write_text("no picture")
    with pytest.raises(PictureError, match="not a picture"):
        make(replace(request, goldens=((text, "red"),)))
    with pytest.raises(PictureError, match="no such golden picture"):
        make(replace(request, goldens=((shop.folder / "absent.png", "red"),)))


def test_bad_models_are_refused_by_their_own_name_and_leave_nothing(shop: Workshop) -> None:
    request = shop.request(Recipe())
    whole = request.tflite.read_bytes()
    bad = {
        "an empty file": b"",
        "not a TFLite model": b"garbage " * 100,
        "cut or damaged|cannot load|ended": whole[: len(whole) // 2],
        "unresolved custom op: fake": make_model(Recipe(custom_operator="fake")),
        "as --edgetpu": make_model(Recipe(custom_operator="edgetpu-custom-op")),
        "2 outputs": make_model(Recipe(extra_output=True)),
    }
    for message, content in bad.items():
        request.tflite.write_bytes(content)
        with pytest.raises(ModelError, match=message) as caught:
            make(request)
        if "outputs" not in message:
            assert "colours.tflite" in str(caught.value)
        assert shop.left_behind() == []


def test_another_number_of_labels_is_refused(shop: Workshop) -> None:
    with pytest.raises(ModelError, match=r"gives 5 scores, but names\.txt has 3 labels"):
        make(shop.request(Recipe(), ["a", "b", "c"]))
    with pytest.raises(ModelError, match="may be a feature extractor"):
        make(shop.request(Recipe(end="logits"), ["a", "b", "c"]))


def test_what_stands_at_the_output_is_safe_without_force(shop: Workshop) -> None:
    request = shop.request(Recipe())
    make(request)
    with pytest.raises(OutputError, match="--force"):
        make(request)
    make(replace(request, force=True, name="second"))
    assert read_bundle(shop.output).name == "second"
    other = shop.folder / "letters"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="other things"):
        make(replace(request, output=other, force=True))
    assert (other / "letter.txt").read_text() == "dear"


def test_an_empty_folder_is_taken(shop: Workshop) -> None:
    shop.output.mkdir(parents=True)
    make(shop.request(Recipe()))
    assert (shop.output / "model.toml").is_file()


def test_a_failed_make_leaves_the_old_bundle(shop: Workshop) -> None:
    request = shop.request(Recipe())
    old = make(request).bundle.sha256
    with pytest.raises(ModelError):
        make(replace(request, force=True, goldens=((shop.pictures["red"], "blue"),)))
    assert read_bundle(shop.output).sha256 == old
    assert shop.left_behind() == ["colours"]


def test_an_edge_tpu_file_goes_beside_the_cpus(shop: Workshop) -> None:
    request = shop.request(Recipe())
    compiled = shop.folder / "colours_edgetpu.tflite"
    compiled.write_bytes(make_model(Recipe(custom_operator="edgetpu-custom-op")))
    made = make(replace(request, edgetpu=compiled))
    assert made.bundle.variants == {"cpu": "colours.tflite", "edgetpu": "colours_edgetpu.tflite"}
    with pytest.raises(ModelError, match="not compiled for an Edge TPU"):
        make(replace(request, edgetpu=request.tflite, force=True))
    compiled.write_bytes(make_model(Recipe(custom_operator="edgetpu-custom-op", size_px=(9, 8))))
    with pytest.raises(ModelError, match=r"^colours_edgetpu\.tflite: another model than the CPU's"):
        make(replace(request, edgetpu=compiled, force=True))


def test_labels_and_texts_may_hold_any_character(shop: Workshop) -> None:
    labels = ['say "red"', "grün\\", "blå = blue", "[dark]", "bright # not"]
    request = replace(shop.request(Recipe(), labels), source='a "friend"\n', licence="MIT")
    golden = ((shop.pictures["red"], 'say "red"'),)
    made = make(replace(request, goldens=golden))
    assert made.bundle.labels == tuple(labels)
    assert made.bundle.goldens[0].label == 'say "red"'
    assert made.bundle.source == 'a "friend"\n'


def test_a_model_of_the_same_things_as_the_embedded_one_gets_its_groups(
    shop: Workshop, tmp_path: Path
) -> None:
    embedded = read_bundle(write_bundle(tmp_path / "embedded"))
    lines = ["Red, rouge", "green", "Blue, bleu", "dark", "bright"]
    request = replace(shop.request(Recipe(), lines), goldens=((shop.pictures["blue"], "coloured"),))
    made = make_bundle(request, try_here, embedded)
    assert made.bundle.groups["coloured"].labels == ("Red, rouge", "green", "Blue, bleu")
    assert made.bundle.goldens[0].group == "coloured"


def test_a_name_is_made_out_of_any_text() -> None:
    assert bundle_name("MobileNet v2 (1.0)") == "mobilenet-v2-1-0"
    assert bundle_name("...") == "model"


def test_the_embedded_bundles_pictures_tell_where_the_labels_are_imagenets() -> None:
    bundle = FolderStore(None).find("imagenet")
    assert all(golden.label in bundle.labels for golden in bundle.goldens if golden.label)
