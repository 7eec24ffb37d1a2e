"""YAML is read strictly, within bounds, and every value knows its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.settings.documents import MAX_DOCUMENT, Unreadable, compose, locate, split, value

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029\ufeff\x85"),
    max_size=20,
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_json_is_read_as_it_is(what: Any) -> None:
    assert value(compose(json.dumps(what, ensure_ascii=False))) == what


@given(
    st.lists(
        st.sampled_from(["a: 1\n", "b:\n- x\n- y\n", "c: |\n  text\n  --- no marker\n", "# nothing\n", "\n"]),
        max_size=6,
    )
)
def test_documents_are_divided_where_yaml_divides_them(parts: list[str]) -> None:
    text = "---\n".join(parts)
    found = list(split(text))
    assert [chunk.removeprefix("---\n") for _, chunk in found] == [
        part for part in parts if part not in ("# nothing\n", "\n")
    ]
    lines = text.splitlines(keepends=True)
    for line, chunk in found:
        assert "".join(lines[line:]).startswith(chunk)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on", "on"), ("no", "no"), ("1:30", "1:30"), ("2024-01-02", "2024-01-02"), ("0x1f", "0x1f"), ("010", 10),
        ("1.5", 1.5), ("1e3", 1000.0), (".", "."), ("-", [None]), ("true", True), ("'true'", "true"), ("!!str 5", "5"),
        ("~", None), ("9" * 19, "9" * 19), ("1.2.3.4", "1.2.3.4"), ("{1: a}", {"1": "a"}), ("[&a x, *a]", ["x", "x"]),
    ],
)  # fmt: skip
def test_a_scalar_is_what_it_looks_like(text: str, expected: Any) -> None:
    assert value(compose(text)) == expected


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("[" * 100_000, 1, 32, "more than 32 levels deep"),
        ("a: " + "[" * 5_000 + "]" * 5_000, 1, 34, "more than 32 levels deep"),
        ("a: &a [*a]", 1, 4, "more than 32 levels deep; an alias must not hold itself"),
        ("a: 1\nb: 2\na: 3", 3, 1, "the key `a` is here a second time; the first is at line 1"),
        ("a: &a {b: 1}\nc: {<<: *a}", 2, 5, "merge keys (`<<`) are not read here; write the fields out"),
        ("a: !run x", 1, 4, "the tag `!run` is not read here; write the value plainly"),
        ("? [a]\n: 1", 1, 3, "a key must be text"),
        ('"a\\x07": 1', 1, 1, "a key must not have control characters"),
        ("a: 1\n...\nb: 2", 3, 1, "not YAML: did not find expected <document start>"),
        ("a:\n\t- 1", 2, 1, "not YAML: a tab; YAML is indented with spaces"),
        ("a: `b", 1, 4, "not YAML: while scanning for the next token, found character that cannot start any token"),
        ("a: *b", 1, 4, "not YAML: found undefined alias"),
        ("a: \x00", 1, 1, "a character that YAML does not allow: U+0000"),
        ("x" * (MAX_DOCUMENT + 1), 1, 1, "the document has 1,048,577 characters; 1,048,576 is the most"),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_with_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(Unreadable) as caught:
        value(compose(text))
    assert (caught.value.line, caught.value.column, str(caught.value)) == (line, column, message)


def test_what_aliases_stand_for_is_counted_as_often_as_it_stands() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(Unreadable, match="more than 200,000 values, aliases counted"):
        value(compose("\n".join(lines)))


def test_a_value_knows_its_place_and_an_absent_one_its_holders() -> None:
    node = compose("a:\n  b:\n  - c: 1\n  - d: 2\n")
    assert locate(node, ("a", "b", 1, "d")) == (4, 5)
    assert locate(node, ("a", "b", 1)) == (4, 5)
    assert locate(node, ("a", "b", 1, "absent")) == (4, 5)
    assert locate(node, ("a", "absent", 1)) == (1, 1)
    assert locate(node, ()) == (1, 1)
