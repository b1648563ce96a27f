"""Tests of reading anyone's labels file."""

import os
from pathlib import Path

import pytest

from device.bundles.labels import Layout, layouts, read_lines, rows_of
from device.errors import ModelError


def lines(folder: Path, content: bytes | str) -> tuple[str, ...]:
    path = folder / "labels.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_lines(path)


@pytest.mark.parametrize(
    "content",
    [
        "cat\ndog\nred fox\n",
        "cat\ndog\nred fox",
        "cat\r\ndog\r\nred fox\r\n",
        "\ufeffcat\ndog\nred fox\n\n\n",
        "  cat \n dog\nred   fox\n",
        "0 cat\n1 dog\n2 red fox\n",
        "0: cat\n1: dog\n2: red fox\n",
        "0  cat\n1  dog\n2  red fox\n",
        "0,cat\n1,dog\n2,red fox\n",
        "1 cat\n2 dog\n3 red fox\n",
        "2 red fox\n0 cat\n1 dog\n",
        "0\tcat\n1\tdog\n2\tred fox\n",
    ],
)
def test_every_common_form_gives_the_same_labels(tmp_path: Path, content: str) -> None:
    assert lines(tmp_path, content) == ("cat", "dog", "red fox")


def test_utf16_with_its_mark_is_read(tmp_path: Path) -> None:
    assert lines(tmp_path, "Käuzchen\nAmsel\n".encode("utf-16")) == ("Käuzchen", "Amsel")


def test_numbers_that_are_no_row_belong_to_the_labels(tmp_path: Path) -> None:
    assert lines(tmp_path, "7 up\n3 musketeers\n") == ("7 up", "3 musketeers")


def test_bad_files_say_what_is_wanted(tmp_path: Path) -> None:
    for content, message in (
        (b"", "no labels"),
        (b"\xff\xfa\xfb", "UTF-8"),
        (b"a\0b", "zero byte"),
    ):
        with pytest.raises(ModelError, match=message):
            lines(tmp_path, content)
    with pytest.raises(ModelError, match="no such file"):
        read_lines(tmp_path / "absent.txt")
    with pytest.raises(ModelError, match="a folder"):
        read_lines(tmp_path)


def test_a_first_background_row_is_hidden_where_the_model_has_it() -> None:
    [layout] = layouts(("background", "cat", "dog"), 3, "labels.txt")
    assert layout == Layout(("background", "cat", "dog"), True)


def test_a_background_line_goes_where_the_model_has_none() -> None:
    [layout] = layouts(("background", "cat", "dog"), 2, "labels.txt")
    assert (layout.labels, layout.has_background) == (("cat", "dog"), False)
    [layout] = layouts(("cat", "dog", "background"), 2, "labels.txt")
    assert (layout.labels, layout.has_background) == (("cat", "dog"), False)


def test_a_background_row_comes_where_the_labels_have_none_first_or_else_last() -> None:
    first, last = layouts(("cat", "dog"), 3, "labels.txt")
    assert (first.labels, first.has_background) == (("background", "cat", "dog"), True)
    assert (last.labels, last.has_background) == (("cat", "dog", "background"), False)


def test_a_last_background_row_stays_where_the_model_has_it() -> None:
    [layout] = layouts(("cat", "dog", "background"), 3, "labels.txt")
    assert (layout.labels, layout.has_background) == (("cat", "dog", "background"), False)
    assert "last label is background" in layout.note


def test_equal_labels_are_told_apart_and_empty_ones_get_a_name() -> None:
    found = layouts(("crane", "cat", "crane", ""), 4, "labels.txt")
    assert found[0].labels == ("crane", "cat", "crane (2)", "unnamed 3")


def test_it_is_said_how_many_labels_were_renamed_and_why() -> None:
    layout = layouts(("crane", "cat", "crane", "crane", "", "dog"), 6, "labels.txt")[0]
    assert '2 renamed, such as "crane (2)", because the same name stands' in layout.note
    assert '1 without a name in the file called "unnamed 4"' in layout.note
    assert layouts(("crane", "cat"), 2, "labels.txt")[0].note == ""


def test_labels_that_are_mostly_repeats_are_refused() -> None:
    for lines in (("cat",) * 1000, ("cat", "dog", "cat", "cat", "dog"), ("cat", "", "", "", "")):
        with pytest.raises(ModelError, match="different ones; want a name of its own"):
            layouts(lines, len(lines), "labels.txt")
    assert layouts(("cat", "dog", "cat", "dog"), 4, "labels.txt")


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ModelError, match="not a regular file"):
            read_lines(path)


def test_empty_lines_go_where_the_count_fits_without_them() -> None:
    assert layouts(("cat", "", "dog"), 2, "labels.txt")[0].labels == ("cat", "dog")


def test_another_number_of_labels_is_refused_with_both_numbers() -> None:
    with pytest.raises(ModelError, match=r"gives 9 scores, but labels\.txt has 3 labels"):
        layouts(("a", "b", "c"), 9, "labels.txt")


IMAGENET = Layout(
    ("background", "tench, Tinca tinca", "crane", "crane (2)", "tabby, tabby cat"), True
)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("tench, Tinca tinca", [1]),
        ("Tinca Tinca", [1]),
        ("tabby", [4]),
        ("TABBY CAT", [4]),
        ("crane", [2, 3]),
    ],
)
def test_a_label_is_known_by_its_whole_name_or_a_synonym(name: str, rows: list[int]) -> None:
    assert rows_of(name, IMAGENET) == rows


def test_an_unknown_label_is_answered_with_a_near_one() -> None:
    with pytest.raises(ModelError, match=r'no label "tabbi".*did you mean "tabby"'):
        rows_of("tabbi", IMAGENET)
    with pytest.raises(ModelError):
        rows_of("background", IMAGENET)
