from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.local_pubsub.filters import FILTER_BYTES_AT_MOST, FilterError, parse_filter

Expected = Callable[[Mapping[str, str]], bool]

TESTS: dict[str, Expected] = {
    "attributes:a": lambda m: "a" in m,
    'attributes.a = "1"': lambda m: m.get("a") == "1",
    'attributes.a != "1"': lambda m: m.get("a") != "1",
    'hasPrefix(attributes.b, "x")': lambda m: m.get("b", "").startswith("x"),
    'attributes."b" = "xy"': lambda m: m.get("b") == "xy",
}

attributes = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "2", "x", "xy"]))

Case = tuple[str, Expected]


def negated(case: Case) -> Case:
    text, expected = case
    return f"NOT ({text})", lambda m: not expected(m)


def joined(cases: tuple[str, list[Case]]) -> Case:
    word, parts = cases
    fold = all if word == "AND" else any
    text = f" {word} ".join(f"({part})" for part, _ in parts)
    return text, lambda m: fold(expected(m) for _, expected in parts)


cases = st.recursive(
    st.sampled_from(sorted(TESTS.items())),
    lambda inner: st.one_of(
        inner.map(negated),
        st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)).map(
            joined
        ),
    ),
    max_leaves=5,
).filter(lambda case: len(case[0].encode()) <= FILTER_BYTES_AT_MOST)


@given(case=cases, message=attributes)
def test_a_filter_means_what_it_says(case: Case, message: dict[str, str]) -> None:
    text, expected = case
    assert parse_filter(text)(message) == expected(message)


@given(text=st.text(max_size=80), message=attributes)
def test_any_text_is_a_filter_or_a_filter_error(text: str, message: dict[str, str]) -> None:
    try:
        passes = parse_filter(text)
    except FilterError:
        return
    assert passes(message) in (True, False)


words = st.sampled_from(
    ["attributes", ".", ":", "a", '"x"', "=", "!=", "(", ")", "AND", "OR", "NOT", "hasPrefix", ","]
)


@given(parts=st.lists(words, max_size=30), message=attributes)
def test_any_heap_of_words_is_a_filter_or_a_filter_error(
    parts: list[str], message: dict[str, str]
) -> None:
    try:
        passes = parse_filter(" ".join(parts))
    except FilterError:
        return
    assert passes(message) in (True, False)


@given(value=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_every_value_can_be_asked_for(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    passes = parse_filter(f'attributes.a = "{quoted}"')
    assert passes({"a": value})
    assert not passes({"a": f"{value}!"})
    assert not passes({})


def test_an_empty_filter_lets_everything_through() -> None:
    assert parse_filter("")({})
    assert parse_filter("  \n")({"a": "1"})


def test_escapes_are_understood() -> None:
    passes = parse_filter(r'attributes.a = "\x41\u00e4\101\n\"\\"')
    assert passes({"a": 'AäA\n"\\'})


def test_not_binds_to_the_nearest_term() -> None:
    passes = parse_filter("NOT attributes:a AND attributes:b")
    assert passes({"b": ""})
    assert not passes({"a": "", "b": ""})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("attributes:a AND attributes:b OR attributes:c", "parentheses"),
        ("attributes.a = 1", "double quotes"),
        ('attributes.a == "1"', "double quotes"),
        ('attributes.a < "1"', "want a filter's word"),
        ("attributes:a and attributes:b", "want AND, OR or the end"),
        ("(attributes:a", "closing parenthesis"),
        ("attributes:a)", "want AND, OR or the end"),
        ('data = "x"', "want attributes"),
        ("attributes:", "the end at 11; want the key"),
        ("attributes:AND", "want the key"),
        ("attributes.a", "want = or !="),
        ('attributes.a = "\\q"', "escape"),
        ('attributes.a = "\\ud800"', "Unicode"),
        ('attributes.a = "open', "want a filter's word"),
        ("NOT", "the end"),
        (f"attributes:{'a' * 300}", "at most 256"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(FilterError, match=words.replace(".", r"\.")):
        parse_filter(text)


def test_the_deepest_filter_is_parsed() -> None:
    depth = (FILTER_BYTES_AT_MOST - len("attributes:a")) // 2
    assert parse_filter("(" * depth + "attributes:a" + ")" * depth)({"a": ""})
