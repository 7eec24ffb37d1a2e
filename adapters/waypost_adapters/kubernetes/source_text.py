"""The JSON of a slice, and in which of its endpoints a newer text differs from it. Pure.

An endpoint is some 200 bytes of JSON, a slice has a hundred and more, and mostly one of them changes. To decode them
all costs more than everything else that an event asks for; to compare them with the text before costs a fraction of it.
What is the same bytes is never looked into: it was decoded when it came. Nothing is guessed:

- `,"endpoints":[` with JSON before it that `]}` makes a whole object is that object's own list. Its first quote follows
  a comma, so it has no backslash: within a string it would end that string, and then no word can follow.
- `Text` knows where each endpoint ends, as the parser said when the text was decoded whole, and that what is behind the
  last one closes the list and the object, and names nothing but ports and the type of addresses.
- A newer text whose list begins with the same bytes, up to a comma between two endpoints, has the same endpoints there:
  a list in JSON is its elements with commas between them, whatever follows. So it is with what both end with, from a
  comma (or the list's end) on. If what is between, in brackets of its own, is a list of endpoints, then the newer text
  is the older one with these in the place of those.

Where any of this is not so, the caller decodes the newer text whole.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

__all__ = ["FIRST", "MOST_BYTES", "Change", "Text", "Texts"]

MOST_BYTES = 32 << 20  # of texts that are kept: of some 150,000 endpoints of 210 bytes

NONE = array("I")

FIRST = b',"endpoints":['


# Endpoints from one place until another are replaced by those in a newer text's bytes from here until there.
Change = tuple[int, int, int, int]


class Text:
    """A slice's JSON in `text`, its endpoints from `begin` on, its end at `stop`.

    `strides` are the bytes of each endpoint with the comma behind it, or the bracket behind the last; empty where they
    are not known or there are none: then nothing can be compared with it.
    """

    __slots__ = ("begin", "stop", "strides", "text")

    def __init__(self, text: bytes, begin: int, stop: int) -> None:
        self.text, self.begin, self.stop = text, begin, stop
        self.strides = NONE

    def compared(self, newer: Text) -> Change | None:
        """Return how a newer text differs; None if it cannot be told. Where it does not, an endpoint replaces itself.

        By halving, each step a comparison in C: first what both begin with, then what both end with.
        """
        strides, text = self.strides, newer.text
        if not strides:
            return None
        old, same = memoryview(self.text), text.startswith
        shift, grown = newer.begin - self.begin, newer.stop - self.stop
        first, other, at = 0, len(strides), self.begin
        while other - first > 1:
            middle = (first + other) >> 1
            there = at + sum(strides[first:middle])
            if same(old[at:there], at + shift):
                first, at = middle, there
            else:
                other = middle
        least = at + shift
        last, until = first + 1, at + strides[first] - 1
        end = until + grown
        if end < least or not same(old[until : self.stop], end):
            last, until = self._same_behind(newer, first + 1, least)
            end = until + grown
        return (first, last, least, end) if last else None

    def _same_behind(self, newer: Text, first: int, least: int) -> tuple[int, int]:
        """Return the place, behind `first`, of the endpoint from whose comma on both are the same; and where that is.

        In the newer text that is not before `least`. Place 0 where there is none.
        """
        old, grown = memoryview(self.text), newer.stop - self.stop
        untils = list(accumulate(self.strides, initial=self.begin - 1))

        def same(place: int) -> bool:
            until = untils[place]
            return until + grown >= least and newer.text.startswith(old[until : self.stop], until + grown)

        differing, last = first, len(self.strides)
        if not same(last):
            return 0, 0
        while last - differing > 1:
            middle = (differing + last) >> 1
            if same(middle):
                last = middle
            else:
                differing = middle
        return last, untils[last]

    def succeed(self, before: Text, change: Change, strides: Sequence[int]) -> None:
        """Know what was known of the text before this one, which is then known no more; `strides` are what came."""
        self.strides, before.strides = before.strides, NONE
        first, last, _, _ = change
        if len(strides) == 1 == last - first:
            self.strides[first] = strides[0]
        else:
            self.strides[first:last] = array("I", strides)


class Holder(Protocol):
    """Whose text is kept or not."""

    @property
    def size(self) -> int:
        """The bytes of text that it keeps."""

    def forget(self) -> None:
        """Keep no text any more."""


class Texts:
    """Bounds the bytes of all texts that are kept: who was not replaced for the longest time forgets its own first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.bytes = 0
        self._most = most_bytes
        self._holders: OrderedDict[tuple[str, str], Holder] = OrderedDict()

    def keep(self, key: tuple[str, str], before: Holder | None, now: Holder) -> None:
        """Let this one keep its text, in the place of who had this key."""
        if before is not None:
            self.bytes -= before.size
        self.bytes += now.size
        self._holders[key] = now
        self._holders.move_to_end(key)
        while self.bytes > self._most:
            _, oldest = self._holders.popitem(last=False)
            self.bytes -= oldest.size
            oldest.forget()

    def drop(self, key: tuple[str, str]) -> None:
        """Take note that who had this key is gone."""
        if (holder := self._holders.pop(key, None)) is not None:
            self.bytes -= holder.size
