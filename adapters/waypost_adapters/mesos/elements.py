"""A large JSON document read as it comes: the elements of its arrays one by one, none of it decoded in one long call.

Objects are descended into, arrays are walked element by element, and an element is taken whole: as the struct that is
wanted of that array, or passed over. What ends where is found by msgspec, which reads ten times faster than anything
written in Python: decoding a value that more text follows fails, and the failure names the byte at which the value
ended. That is a hint only: what is taken is then decoded by itself, which proves it; and where msgspec words its
failures otherwise, a slow scanner finds the same end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any

import msgspec

from waypost.adapter import AdapterError

__all__ = ["Broken", "Elements", "end_by_msgspec", "end_by_scanning"]

MOST_BYTES = 4 << 20  # of one element
MOST_KEY = 4096  # bytes
MOST_DEPTH = 16  # of objects around the elements
INCOMPLETE = -1

_RAW: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)
_TEXT = msgspec.json.Decoder(str)
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_SPACE = re.compile(rb"[ \t\r\n]*")
_KEY = re.compile(rb'("(?:[^"\\]++|\\.)*+")[ \t\r\n]*:', re.DOTALL)
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["{}\[\]]', re.DOTALL)
_SCALAR = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[-+.0-9A-Za-z]++', re.DOTALL)


class Broken(msgspec.Struct, frozen=True):
    """An element that is not of the form wanted of it."""

    reason: str


class _Due(Enum):
    """What may come next."""

    VALUE = auto()  # of the document or of a field
    FIRST_KEY = auto()  # or the object's end
    KEY = auto()
    FIRST_ELEMENT = auto()  # or the array's end
    ELEMENT = auto()
    NEXT = auto()  # a comma or the end of what is open
    NOTHING = auto()


class Elements:
    """Bytes go in, (name, value) come out: the name of an array with each element of it, or of a field with its scalar.

    `wanted` says which, by name, and how each is decoded. What is not of its form is yielded as Broken; a document that
    is not JSON raises AdapterError. Bytes may be cut anywhere.
    """

    def __init__(self, wanted: Mapping[str, msgspec.json.Decoder[Any]]) -> None:
        self._wanted = wanted
        self._end = end_by_msgspec if end_by_msgspec(b"{},", 0) == 2 else end_by_scanning
        self._rest = b""
        self._due = _Due.VALUE
        self._depth = 0  # of open objects
        self._in_array = False
        self._name = ""

    @property
    def done(self) -> bool:
        """Whether the document has come whole."""
        return self._due is _Due.NOTHING

    def feed(self, data: bytes | memoryview) -> Iterator[tuple[str, Any]]:
        """Yield what has come whole. To be iterated to its end before the next call; to pause between two is fine."""
        text = b"".join((self._rest, data))
        self._rest = b""
        at = _past_space(text, 0)
        while at < len(text):
            whole = self._due is _Due.ELEMENT or (self._due is _Due.VALUE and text[at] not in b"{[")
            after = self._end(text, at) if whole else self._step(text, at)
            if after == INCOMPLETE:
                self._keep(text[at:])
                return
            if whole:
                if (decoder := self._wanted.get(self._name)) is not None:
                    yield self._name, _decoded(decoder, memoryview(text)[at:after])
                self._due = _Due.NEXT if self._depth or self._in_array else _Due.NOTHING
            at = _past_space(text, after)

    def _step(self, text: bytes, at: int) -> int:
        """Take one bracket, comma or key; return where to go on, or INCOMPLETE."""
        due, found = self._due, text[at : at + 1]
        if due is _Due.VALUE:
            self._open(found == b"[")
        elif due is _Due.NEXT and found == b",":
            self._due = _Due.ELEMENT if self._in_array else _Due.KEY
        elif due in {_Due.NEXT, _Due.FIRST_ELEMENT if self._in_array else _Due.FIRST_KEY} and found == self._closing:
            self._close()
        elif due is _Due.FIRST_ELEMENT:
            self._due = _Due.ELEMENT
            return at
        elif due in {_Due.KEY, _Due.FIRST_KEY}:
            return self._key(text, at)
        else:
            raise _malformed(f"{found!r} where it cannot stand")
        return at + 1

    @property
    def _closing(self) -> bytes:
        return b"]" if self._in_array else b"}"

    def _open(self, array: bool) -> None:  # noqa: FBT001 - which of two brackets
        if array:
            self._in_array, self._due = True, _Due.FIRST_ELEMENT
            return
        if self._depth == MOST_DEPTH:
            raise _malformed(f"more than {MOST_DEPTH} objects inside each other")
        self._depth, self._due = self._depth + 1, _Due.FIRST_KEY

    def _close(self) -> None:
        if self._in_array:
            self._in_array = False
        else:
            self._depth -= 1
        self._due = _Due.NEXT if self._depth else _Due.NOTHING

    def _key(self, text: bytes, at: int) -> int:
        if text[at] != 0x22:
            raise _malformed("no key where one is due")
        if match := _KEY.match(text, at):
            try:
                self._name, self._due = _TEXT.decode(match[1]), _Due.VALUE
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise _malformed("a key that is no text") from None
            return match.end()
        if (key := _SCALAR.match(text, at)) is not None and _past_space(text, key.end()) < len(text):
            raise _malformed("a key without its colon")
        if len(text) - at > MOST_KEY:
            raise _malformed(f"a key of more than {MOST_KEY} bytes")
        return INCOMPLETE

    def _keep(self, rest: bytes) -> None:
        if len(rest) > MOST_BYTES:
            raise AdapterError(
                f"the answer holds an element of more than {MOST_BYTES} bytes; it is not read any further"
            )
        self._rest = rest


def _past_space(text: bytes, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()


def end_by_msgspec(text: bytes, at: int) -> int:
    """Return where the value that begins at `at` ends; INCOMPLETE also where nothing follows it.

    Raises AdapterError where there is no value.
    """
    try:
        _RAW.decode(memoryview(text)[at:])
    except msgspec.DecodeError as error:
        if match := _TRAILING.search(str(error)):
            return at + int(match[1]) - 1  # it counts the byte that should not be there
        if "truncated" in str(error):
            return INCOMPLETE
        return end_by_scanning(text, at)  # a number cut short looks like none; what is broken fails where it is decoded
    return INCOMPLETE


def end_by_scanning(text: bytes, at: int) -> int:
    """Return the same by matching brackets; what is between them is not looked at."""
    if text[at] not in b"{[":
        match = _SCALAR.match(text, at)
        if match is None and text[at] != 0x22:
            raise _malformed("a value that is none")
        return match.end() if match is not None and match.end() < len(text) else INCOMPLETE
    depth = 0
    for token in _TOKEN.finditer(text, at):
        byte = text[token.start()]
        if byte in b"{[":
            depth += 1
        elif byte in b"}]":
            depth -= 1
            if not depth:
                return token.end() if token.end() < len(text) else INCOMPLETE
        elif token.end() == token.start() + 1:
            return INCOMPLETE  # a string without its end
    return INCOMPLETE


def _decoded(decoder: msgspec.json.Decoder[Any], text: memoryview) -> Any:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Broken(str(error))


def _malformed(what: str) -> AdapterError:
    return AdapterError(f"the answer is not JSON: {what}")
