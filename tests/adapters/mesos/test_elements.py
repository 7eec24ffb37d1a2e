"""A document read as it comes gives the same as one read whole, wherever it is cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waypost.adapter import AdapterError
from waypost_adapters.mesos.elements import Broken, Elements, end_by_msgspec, end_by_scanning

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
NAMES = st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=5
)
ARRAYS = st.lists(VALUES, max_size=4)
DOCUMENTS = st.recursive(
    st.dictionaries(NAMES, SCALARS | ARRAYS, max_size=3),
    lambda inner: st.dictionaries(NAMES, inner | ARRAYS | SCALARS, max_size=3),
    max_leaves=4,
)
CALM = settings(suppress_health_check=[HealthCheck.too_slow])  # machines are busy at times


def flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """The elements of arrays and the scalar fields of a document, in their order."""
    if isinstance(value, dict):
        return [found for key, field in value.items() for found in flat(field, key)]
    return [(name, element) for element in value] if isinstance(value, list) else [(name, value)]


class All(dict[str, Any]):
    """Wants every name."""

    def get(self, key: str, default: Any = None) -> Any:
        return msgspec.json.Decoder(Any)


def read(text: bytes, cuts: list[int], *, slow: bool = False) -> list[tuple[str, Any]]:
    elements = Elements(All())
    if slow:
        elements._end = end_by_scanning
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    found = [each for start, end in pairwise(places) for each in elements.feed(text[start:end])]
    assert elements.done
    return found


@CALM
@given(DOCUMENTS, st.lists(st.integers(0, 10_000), max_size=8), st.booleans(), st.sampled_from([None, 1, 3]))
def test_wherever_it_is_cut_it_gives_what_the_whole_has(
    document: dict[str, Any], cuts: list[int], slow: bool, indent: int | None
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=bool(len(cuts) % 2)).encode()
    assert read(text, cuts, slow=slow) == flat(document)


def test_it_may_come_byte_by_byte() -> None:
    text = b'{"a": [1.5, "}],{\\"[", {"b": [[1]]}, []], "c": {"d": -2e3, "e": {}, "f": []}, "g": null}'
    expected = [("a", 1.5), ("a", '}],{"['), ("a", {"b": [[1]]}), ("a", []), ("d", -2000.0), ("g", None)]
    assert read(text, list(range(len(text)))) == expected
    assert read(text, list(range(len(text))), slow=True) == expected


@CALM
@given(VALUES, st.sampled_from([b",", b"]", b"}", b" ,", b"\n}"]))
def test_both_ways_find_the_same_end(value: Any, after: bytes) -> None:
    text = json.dumps(value).encode()
    fast, slow = end_by_msgspec(text + after, 0), end_by_scanning(text + after, 0)
    assert slow == len(text)
    assert text + b" " * (fast - slow) == (text + after)[:fast].replace(b"\n", b" ")


def test_msgspec_still_words_its_failures_so_that_the_quick_way_is_taken() -> None:
    assert Elements({})._end is end_by_msgspec


def test_an_element_of_another_form_fails_alone() -> None:
    elements = Elements({"a": msgspec.json.Decoder(int)})
    found = [value for _, value in elements.feed(b'{"a": [1, "two", {"x": tru}, 4], "b": [true]}')]
    assert [isinstance(value, Broken) for value in found] == [False, True, True, False]
    assert elements.done


@pytest.mark.parametrize(
    "text",
    [
        b"]",
        b"{]",
        b'{"a" 1}',
        b'{"a":1 "b":2}',
        b"{a:1}",
        b'{"a":[1}',
        b'{"a":}',
        b'{"a":1}}',
        b"\x00\xff",
        b"{,}",
        b'{"\xff": 1}',
    ],
)
def test_what_is_no_json_raises(text: bytes) -> None:
    with pytest.raises(AdapterError, match="not JSON"):
        list(Elements({}).feed(text + b"  "))


def test_a_document_that_ends_too_early_is_not_done() -> None:
    whole = b'{"a": [{"b": 1}, {"b": "x"}], "c": 12}'
    for end in range(len(whole)):
        elements = Elements({})
        list(elements.feed(whole[:end]))
        assert not elements.done


def test_an_endless_element_is_refused() -> None:
    elements = Elements({})
    list(elements.feed(b'{"a": ["'))
    for _ in range(3):
        list(elements.feed(b"x" * (1 << 20)))
    with pytest.raises(AdapterError, match="more than 4194304 bytes"):
        list(elements.feed(b"x" * (1 << 20)))


def test_objects_without_end_inside_each_other_are_refused() -> None:
    with pytest.raises(AdapterError, match="inside each other"):
        list(Elements({}).feed(b'{"a":' * 100))


def test_a_key_without_end_is_refused() -> None:
    with pytest.raises(AdapterError, match="key of more than"):
        list(Elements({}).feed(b'{"' + b"x" * 5000))
