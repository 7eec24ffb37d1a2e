"""What says when this process leads, and what the next leader is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol, runtime_checkable

import msgspec

__all__ = [
    "Elector",
    "Informed",
    "Keeping",
    "Leader",
    "Lost",
    "Term",
]


class Term(msgspec.Struct, frozen=True):
    """A leadership: its number grows with each one; `until` is on the clock's monotonic seconds."""

    number: int
    until: float


class Lost(msgspec.Struct, frozen=True):
    """The leadership ended."""

    reason: str = ""


class Leader(msgspec.Struct, frozen=True):
    """Who leads: what its context's `name` said, and the number of its term."""

    name: str
    number: int


@runtime_checkable
class Elector(Protocol):
    """Says when this process leads.

    The context's `name` is how this process is called for people (host, process, where it may be asked); it may say
    more later than at first. What tells candidates apart is random, never the name.

    The end of `open`'s block gives back at once what is held. It ends when nothing more is written.

    It may also be `Informed` and `Keeping`.
    """

    def terms(self) -> AsyncIterator[Term | Lost]:
        """Yield a Term when won and each time it is prolonged, Lost when it ended.

        A new term has a higher number than any that was ever heard of here, whatever the other side forgot. `until`
        counts from before the request that won or prolonged it, and lies before the earliest moment at which another
        may win: a term of which nothing more is heard ends by itself. Called again after it raised or was closed, it
        goes on: with the term that is still held, if there is one.
        """


@runtime_checkable
class Informed(Protocol):
    """An opened elector that knows who leads."""

    def leader(self) -> Leader | None:
        """Return who leads, be it this process, as far as was heard; None: nobody, or not known. Asks nobody."""


@runtime_checkable
class Keeping(Protocol):
    """An opened elector that keeps small values beside its lease: the leader writes them, the next one reads them.

    What is kept outlives terms. `largest` is how many bytes a value may have.
    """

    largest: int

    async def recall(self) -> Mapping[str, bytes]:
        """Return all values by their names (letters, digits and `._#-`). Raises AdapterError where not all are had."""

    async def keep(self, name: str, value: bytes | None) -> None:
        """Write a value, or delete it (None), where this process leads: compared in the write itself.

        Raises Fenced where it does not (nothing is written), another AdapterError where it may not have been written.
        """
