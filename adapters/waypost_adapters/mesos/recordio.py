r"""RecordIO, the framing of Mesos' event streams: `<decimal length>\n<that many bytes>`, again and again.

A record may come in many pieces or many records in one; a record is handed on piece by piece, so that none is ever
held whole here.
"""

from __future__ import annotations

from collections.abc import Iterator

from waypost.adapter import AdapterError

__all__ = ["Records"]

MOST_DIGITS = 12


class Records:
    """Splits a stream into pieces of records."""

    def __init__(self) -> None:
        self._left = 0  # bytes of the present record still to come
        self._length = b""  # digits of the next record's length so far

    def feed(self, data: bytes) -> Iterator[tuple[memoryview, bool]]:
        """Yield (piece, whether the record ends with it); raises AdapterError where this is no such stream.

        An empty record yields one empty piece. To be iterated to its end before the next call.
        """
        view = memoryview(data)
        at = 0
        while at < len(view):
            if not self._left:
                at = self._read_length(data, at)
                if at < 0:
                    return
                if not self._left:
                    yield view[at:at], True
                continue
            piece = view[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            yield piece, not self._left

    def _read_length(self, data: bytes, at: int) -> int:
        """Take the length at `at`; return where the record begins, or -1 where the length's end has not come."""
        end = data.find(b"\n", at, at + MOST_DIGITS + 1)
        self._length += data[at : end if end >= 0 else min(len(data), at + MOST_DIGITS + 1)]
        if len(self._length) > MOST_DIGITS or (self._length and not self._length.isdigit()):
            raise AdapterError("the event stream is broken: where a record's length is due, there is something else")
        if end < 0:
            return -1
        if not self._length:
            raise AdapterError("the event stream is broken: a record without its length")
        self._left, self._length = int(self._length), b""
        return end + 1
