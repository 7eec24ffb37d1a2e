"""The JSON of a list, parted at its objects while it still comes. Pure.

The API server writes a list object by object, and takes a second for 10,000 of them: what is there can be decoded
meanwhile, and no one has to hold the whole text.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from waypost.kit.kubernetes.wire import PAGE, Page

__all__ = ["Parts"]

BLOCK_BYTES = 256 << 10  # so much has come before it is looked at; decoding it holds the loop up for some 0.3 ms
MOST_TRIES = 8  # places at which a block is tried to be cut, from its end backwards
ITEMS = b'"items":['
HINT_BYTES = 200  # of the first object, in which is looked for what each of them begins with


class _Empty(msgspec.Struct, frozen=True):
    """A list whose objects come later."""

    items: list[msgspec.Raw]


_EMPTY = msgspec.json.Decoder(_Empty)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


class Parts:
    """Takes a list's text piece by piece, and gives each object once.

    Nothing is guessed: where the objects begin is where a text that ends there with `]}` is a list without objects, so
    that it is the list's own `items`; and it is cut before a comma only if what is before it, from there, is the inside
    of a JSON array. Then the parser stands between two objects, whatever comes. A text that is written in another way
    (spaces, an object that is larger than all that came) is cut later, or not at all: then `end` gives what is left.
    """

    def __init__(self, block_bytes: int = BLOCK_BYTES) -> None:
        self._block = block_bytes
        self._head: bytes | None = None  # what came before the first object
        self._left = bytearray()
        self._separator = b'},{"'
        self._look_at = block_bytes  # when so much is left

    def feed(self, piece: bytes) -> Sequence[msgspec.Raw]:
        """Take the next piece of any length; return the objects that are whole by now."""
        self._left += piece
        if len(self._left) < self._look_at:
            return ()
        items = self._cut() if self._head is not None or self._begin() else ()
        self._look_at = self._block if items else 2 * len(self._left)  # no text is looked at again and again in vain
        return items

    def end(self) -> Page:
        """Return the page with the objects left. Raises msgspec.DecodeError and UnicodeDecodeError: it was no list."""
        return PAGE.decode((self._head or b"") + self._left)

    def _begin(self) -> bool:
        """Find where the objects begin."""
        at = self._left.find(ITEMS)
        if at < 0:
            return False
        head = bytes(self._left[: at + len(ITEMS)])
        try:
            empty = not _EMPTY.decode(head + b"]}").items
        except (msgspec.DecodeError, UnicodeDecodeError):
            empty = False
        if not empty:
            return False
        self._head = head
        del self._left[: len(head)]
        begin = bytes(self._left[:HINT_BYTES])
        second = begin.find(b":", begin.find(b":") + 1)
        if begin.startswith(b'{"') and second > 0:  # lists within an object have others that begin otherwise
            self._separator = b"}," + begin[: second + 1]
        return True

    def _cut(self) -> Sequence[msgspec.Raw]:
        end = len(self._left)
        for _ in range(MOST_TRIES):
            end = self._left.rfind(self._separator, 0, end)
            if end < 0:
                break
            try:
                items = _RAWS.decode(b"[" + self._left[: end + 1] + b"]")
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            del self._left[: end + 2]
            return items
        return ()
