"""The elements of a list that is read again and again: each decoded by itself, and only when it has changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from waypost.kit.problems import Problems

__all__ = ["Rows"]


class Identified(Protocol):
    """A struct that has an id."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Identified)


class Rows(Generic[T]):
    """Elements of one kind, by id, as the last list had them, in its order: `found`.

    An element whose bytes are as before stays the same object, at a tenth of the cost. One that is not of the form
    wanted fails alone: it stays as it last was, or is left out where it was never known, and a problem is told (reason:
    `kind`). Of an element 100 bytes are kept beside the object.
    """

    def __init__(self, wanted: type[T], problems: Problems, kind: str) -> None:
        """`wanted` is a struct with a field `id`, whatever that is called in JSON."""
        self._decode = msgspec.json.Decoder(wanted).decode
        self._problems, self._kind = problems, kind
        fields = msgspec.structs.fields(cast("type[msgspec.Struct]", wanted))
        self._named = msgspec.json.Decoder(dict[str, Any])
        self._key = next(field.encode_name for field in fields if field.name == "id")
        self._seen: dict[int, T] = {}  # by the hash of the bytes, which is another in each process
        self.found: dict[str, T] = {}

    def read(self, answer: Iterable[msgspec.Raw]) -> None:
        """Take a whole list; of an id that comes twice the later wins."""
        seen: dict[int, T] = {}
        found: dict[str, T] = {}
        for raw in answer:
            text = bytes(raw)
            digest = hash(text)
            element = self._seen.get(digest) or self._new(text)
            if element is not None:
                seen[digest] = found[element.id] = element
        self._seen, self.found = seen, found

    def _new(self, text: bytes) -> T | None:
        try:
            return self._decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reason = str(error)
        try:
            name = str(self._named.decode(text).get(self._key, ""))
        except (msgspec.DecodeError, UnicodeDecodeError):
            name = ""
        kept = self.found.get(name)
        became = "it stays as it was" if kept is not None else "it is left out"
        self._problems.tell(self._kind, name, f"not of the form expected ({reason}); {became}")
        return kept
