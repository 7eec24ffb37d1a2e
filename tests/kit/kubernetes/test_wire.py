"""Lines of a watch, however their bytes come, and where in a line an object's JSON is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.kit.answers import Stream, Unanswered
from waypost.kit.kubernetes import api
from waypost.kit.kubernetes.wire import event, located


class Pieces:
    """A stream of these chunks."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = chunks

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def lines(chunks: Sequence[bytes]) -> list[bytes]:
    async def read() -> list[bytes]:
        return [line async for line in api._lines(cast("Stream", Pieces(chunks)))]

    return asyncio.run(read())


@given(st.lists(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"{}\n"])).map(b"".join)))
def test_lines_are_the_same_however_they_are_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = [line + b"\n" for line in whole.split(b"\n")[:-1] if line]
    assert lines([chunk for chunk in chunks if chunk]) == expected


def test_a_line_that_comes_alone_is_not_copied() -> None:
    line = b'{"type":"ADDED","object":{}}\n'
    assert lines([line])[0] is line


def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST_LINE_BYTES", 5)
    assert lines([b"abc", b"de\n", b"abcde"]) == [b"abcde\n"]
    with pytest.raises(Unanswered):
        lines([b"abc", b"def"])


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"])
@pytest.mark.parametrize("spaced", [False, True])
def test_an_object_is_found_in_its_line(kind: str, end: bytes, *, spaced: bool) -> None:
    object: dict[str, Any] = {"metadata": {"name": "a}"}, "x": "}\n"}
    line = msgspec.json.encode({"type": kind, "object": object})
    line = (line.replace(b'":', b'": ') if spaced else line) + end
    found, text, start, stop = located(line)
    assert (found, msgspec.json.decode(text[start:stop])) == (kind, object)
    assert (text is line) == (not spaced and kind in {"ADDED", "MODIFIED", "DELETED"})
    assert event(line) == (kind, memoryview(text)[start:stop])


@pytest.mark.parametrize("line", [b"", b"[]", b'{"type":"ADDED"}', b'{"type":1,"object":{}}', b"x\n"])
def test_what_is_no_event_raises(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        located(line)
