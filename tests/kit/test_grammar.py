"""The grammar of names: what may stand in it, and the laws of expansion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.kit.grammar import METADATA, NAMES, GrammarError, MissingLabel, parse

PLAIN = st.text(st.characters(exclude_characters="{}"), max_size=20)
LABEL = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,10}[A-Za-z0-9])?", fullmatch=True)
DEFAULT = st.text(st.characters(exclude_characters="{}'"), max_size=10)
VALUES = dict.fromkeys(METADATA, "value")

PIECE = st.one_of(
    PLAIN.map(lambda text: ("text", text, "")),
    st.sampled_from(sorted(NAMES)).map(lambda field: ("field", field, "")),
    st.tuples(st.just("label"), LABEL, DEFAULT),
)


@given(st.lists(PIECE, min_size=1), st.dictionaries(LABEL, st.text(max_size=10)), st.dictionaries(LABEL, st.text()))
def test_a_text_expands_to_its_pieces(
    pieces: list[tuple[str, str, str]], first: dict[str, str], second: dict[str, str]
) -> None:
    values = {field: f"<{field}>" for field in NAMES}
    text, expected = "", ""
    for kind, content, default in pieces:
        if kind == "text":
            text, expected = text + content, expected + content
        elif kind == "field":
            text, expected = text + f"{{{content}}}", expected + values[content]
        else:
            text += f"{{label:{content}|'{default}'}}"
            expected += first.get(content, second.get(content, default))
    template = parse(text, NAMES)
    assert template.expand(values, [first, second]) == expected
    assert template.text == text
    assert template.fields == {content for kind, content, _ in pieces if kind == "field"}


@given(st.text())
def test_a_label_s_value_is_inserted_as_it_is(value: str) -> None:
    assert parse("a-{label:x}-b", NAMES).expand(VALUES, [{"x": value}]) == f"a-{value}-b"


@given(st.text())
def test_any_text_is_parsed_or_refused_in_words(text: str) -> None:
    try:
        template = parse(text, NAMES)
    except GrammarError:
        return
    assert template.fields <= NAMES
    assert "".join(part for part in template.parts if isinstance(part, str)).count("{") == 0


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "a{b",
        "{{service}}",
        "{}",
        "{Service}",
        "{service }",
        "{instance.id}",
        "{label:}",
        "{label:x|y}",
        "{label:x|'it''s'}",
        "{label:-x}",
        "{service!r}",
        "{service.__class__}",
        "{0}",
        "{service:>10}",
    ],
)
def test_nothing_else_is_a_placeholder_in_names(text: str) -> None:
    with pytest.raises(GrammarError):
        parse(text, NAMES)


def test_metadata_also_knows_the_instance() -> None:
    assert parse("{instance.id}@{instance.zone}", METADATA).fields == {"instance.id", "instance.zone"}


def test_a_missing_label_says_how_to_give_a_default() -> None:
    with pytest.raises(MissingLabel, match="label `x` is absent; give a default"):
        parse("{label:x}", NAMES).expand(VALUES, [{}])


def test_the_first_mapping_that_has_the_label_wins() -> None:
    assert parse("{label:x}", NAMES).expand(VALUES, [{}, {"x": ""}, {"x": "late"}]) == ""
