"""A list's text parted while it comes: the same objects as of the whole text, whatever is in them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.kit.kubernetes.parts import Parts
from waypost.kit.kubernetes.wire import PAGE, Page

HOSTILE = st.sampled_from(
    ['"items":[', '},{"', "]}", "\\", '\\"', "{", "[", "ü", "\x00", '},{"kind":"A","metadata":', ""]
)
TEXTS = st.one_of(HOSTILE, st.text(max_size=6), st.lists(HOSTILE, max_size=4).map("".join))
KEYS = st.sampled_from(["items", "kind", "metadata", "a"]) | TEXTS
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)
ALIKE = OBJECTS.map(lambda more: {"kind": "A", "metadata": {"name": "x"}, **more})  # as the API server writes them
HEADS = st.permutations(["kind", "metadata", "items", "other"])


def written(order: list[str], objects: list[Any], other: Any, *, spaces: bool) -> bytes:
    parts = {"kind": "List", "metadata": {"resourceVersion": "7", "continue": "c"}, "items": objects, "other": other}
    separators = (", ", ": ") if spaces else (",", ":")
    return json.dumps({key: parts[key] for key in order}, separators=separators, ensure_ascii=False).encode()


def fed(text: bytes, lengths: list[int], block: int) -> tuple[list[Any], list[Any], Page]:
    """What came before the end, all that came, and the last page."""
    parts, at = Parts(block), 0
    early: list[Any] = []
    for length in [*lengths, len(text)]:
        early += map(msgspec.json.decode, parts.feed(text[at : at + length]))
        at += length
    last = parts.end()
    return early, early + [msgspec.json.decode(raw) for raw in last.items or ()], last


@given(
    HEADS,
    st.lists(ALIKE | OBJECTS, max_size=8),
    VALUES,
    st.booleans(),
    st.lists(st.integers(1, 40), max_size=60),
    st.integers(1, 200),
)
def test_the_same_objects_come_as_of_the_whole_text(
    order: list[str], objects: list[Any], other: Any, spaces: bool, lengths: list[int], block: int
) -> None:
    text = written(order, objects, other, spaces=spaces)
    _, found, last = fed(text, lengths, block)
    whole = PAGE.decode(text)
    assert found == [msgspec.json.decode(raw) for raw in whole.items or ()]
    assert last.metadata == whole.metadata


def managed(at: int) -> dict[str, Any]:
    """A custom resource, whose own lists begin almost as it does."""
    meta = {"name": f"r-{at}", "managedFields": [{"apiVersion": "waypost.dev/v1", "manager": m} for m in range(40)]}
    status = {"conditions": [{"type": t, "message": '"},{"'} for t in range(40)]}
    return {"apiVersion": "waypost.dev/v1", "kind": "R", "metadata": meta, "status": status}


def builtin(at: int) -> dict[str, Any]:
    """An object of a kind whose list names the kind for all."""
    ports = [{"name": "http", "port": 80}, {"name": "metrics", "port": 81}]
    return {"metadata": {"name": f"s-{at}", "labels": {"metadata": "x"}}, "endpoints": [], "ports": ports}


@pytest.mark.parametrize("made", [managed, builtin])
@pytest.mark.parametrize("order", [["kind", "items", "metadata", "other"], ["kind", "metadata", "other", "items"]])
def test_nearly_all_objects_of_a_real_list_come_before_its_end(made: Any, order: list[str]) -> None:
    objects = [made(at) for at in range(1000)]
    text = written(order, objects, None, spaces=False)
    early, found, last = fed(text, [1000] * (len(text) // 1000), 10_000)
    assert found == objects
    assert len(early) > 950
    assert last.metadata.resource_version == "7"


def test_a_list_within_the_list_is_not_taken_for_it() -> None:
    inner = [{"kind": "A", "name": f"inner-{at}"} for at in range(100)]
    outer = [{"name": f"outer-{at}"} for at in range(100)]
    text = written(["other", "items", "metadata", "kind"], outer, {"items": inner}, spaces=False)
    assert fed(text, [100] * (len(text) // 100), 300)[1] == outer


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"null", b"<html>", b'{"items":[{"a":1},{"a":2}', b'{"items":[{"a":1},{"a":2}]}']
)
def test_what_is_no_list_with_a_version_is_refused_at_its_end(text: bytes) -> None:
    parts = Parts(1)
    for at in range(len(text)):
        parts.feed(text[at : at + 1])
    with pytest.raises(msgspec.DecodeError):
        parts.end()


def test_a_text_that_cannot_be_parted_is_not_looked_at_again_for_every_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(100)
    looks = 0
    cut = parts._cut  # how often, cannot be seen from outside

    def counted() -> Any:
        nonlocal looks
        looks += 1
        return cut()

    monkeypatch.setattr(parts, "_cut", counted)
    parts.feed(b'{"metadata":{},"items":[{"a":1},{"a":"' + b"x" * 100)
    for _ in range(10_000):
        parts.feed(b"x" * 10)
    assert 1 < looks < 20
