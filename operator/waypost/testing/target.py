"""A pretended target's data: records of several owners, their stamps, and a log of every write, the proof in tests.

It is what a server would be: it compares fences and owners itself, in the write. Sinks that share one are
installations, or successive leaders, that write to the same place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec

from waypost.adapter import APPLIED, Change, Fence, Fenced, Mark, NotClaimed, Outcome, PermanentError
from waypost.kit.ownership import Ownership
from waypost.testing import layout

__all__ = ["SharedTarget", "Stamp", "Write", "owner_of"]


class Stamp(msgspec.Struct, frozen=True):
    """Who writes here, for which environment, and how often leadership and generation changed."""

    environment: str
    owner: str
    fence: Fence


class Write(msgspec.Struct, frozen=True):
    """One line of the log. `old` None: created; `new` None: deleted. `by` is the owner that wrote, "" for others."""

    time: float
    by: str
    key: str
    old: bytes | None
    new: bytes | None
    fence: Fence | None = None

    @property
    def epoch(self) -> int | None:
        """The epoch under which it was written."""
        return None if self.fence is None else self.fence.epoch


class _Owned(msgspec.Struct):
    ownership: dict[str, str]


_decoder = msgspec.json.Decoder(_Owned)


@lru_cache(maxsize=65_536)
def owner_of(content: bytes) -> Ownership | None:
    """Return whose a record is; None for one that does not say so in our form."""
    try:
        return Ownership.decode(_decoder.decode(content).ownership)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _refused(there: bytes | None, change: Change, owner: str) -> Outcome | None:
    """Say why what is there is not touched; None where it may be."""
    if there is None or ((whose := owner_of(there)) is not None and whose.owner == owner):
        return None
    if whose is None and change.adopt and change.record is not None and layout.same(there, change.record.content):
        return Outcome("identical", f"{len(there)} bytes") if change.adopt == "ask" else None
    who = "somebody who does not say so" if whose is None else f"owner `{whose.owner}`"
    return Outcome("conflict", f"the record there belongs to {who}")


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # a test that prepares data before its loop runs
        return 0.0


class SharedTarget:
    """Records by key, stamps by owner, and the log. Everything happens at once: no method waits."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.stamps: dict[str, Stamp] = {}
        self.log: list[Write] = []
        self.refused = 0
        self._marks: list[Mark] = []

    # --- as the server of a sink

    def claim(self, environment: str, owner: str, past: int) -> Fence:
        """Set the owner's epoch above the stamp's and `past`. Raises PermanentError for another environment."""
        for stamp in self.stamps.values():
            if stamp.environment != environment:
                raise PermanentError(
                    f"the target belongs to environment `{stamp.environment}` (stamp of owner `{stamp.owner}`), "
                    f"this sink to `{environment}`: nothing is written until the manifest names the right target"
                )
        had = self.stamps.get(owner)
        fence = Fence(max(had.fence.epoch if had else 0, past) + 1)
        self.stamps[owner] = Stamp(environment, owner, fence)
        return fence

    def advance(self, owner: str, fence: Fence) -> Fence:
        """Set the generation one higher. Raises Fenced or NotClaimed."""
        self.superseded(owner, fence)
        stamp = self.stamps[owner]
        higher = Fence(stamp.fence.epoch, stamp.fence.generation + 1)
        self.stamps[owner] = Stamp(stamp.environment, owner, higher)
        return higher

    def superseded(self, owner: str, fence: Fence) -> bool:
        """Compare a fence with the stamp: true where its generation is past. Raises Fenced or NotClaimed."""
        stamp = self.stamps.get(owner)
        if stamp is None or stamp.fence < fence:
            self.refused += 1
            raise NotClaimed(f"the stamp of `{owner}` is {'absent' if stamp is None else 'older than ours'}")
        if stamp.fence.epoch > fence.epoch:
            self.refused += 1
            raise Fenced(f"epoch {stamp.fence.epoch} rules for `{owner}`, ours was {fence.epoch}")
        return stamp.fence.generation > fence.generation

    def write(self, batch: Iterable[Change], owner: str, fence: Fence | None) -> dict[str, Outcome]:
        """Write a batch in one step, comparing fence and owners. Raises Fenced or NotClaimed: nothing was written."""
        if fence is not None and self.superseded(owner, fence):
            self.refused += 1
            return {change.key: Outcome("superseded", f"generation {fence.generation} is past") for change in batch}
        outcomes: dict[str, Outcome] = {}
        for change in batch:
            there = self.records.get(change.key)
            if (refused := _refused(there, change, owner)) is not None:
                outcomes[change.key] = refused
                continue
            content = None if change.record is None else change.record.content
            if change.release and there is not None:
                content = layout.released(there)
            self.set(change.key, content, by=owner, fence=fence)
            outcomes[change.key] = APPLIED
        return outcomes

    # --- as others, and fate

    def set(self, key: str, content: bytes | None, *, by: str = "", fence: Fence | None = None) -> None:
        """Write a record as anybody may; None deletes. All is logged, except a deletion of nothing."""
        old = self.records.get(key)
        if content is None:
            if old is None:
                return
            del self.records[key]
        else:
            self.records[key] = content
        self.log.append(Write(_now(), by, key, old, content, fence))
        self._tell([key])

    def lose(self, *, records: bool = True, stamps: bool = True) -> None:
        """Lose data as a server does that comes back empty. It is no write: the log stays."""
        if records:
            self.records.clear()
        if stamps:
            self.stamps.clear()
        self._tell(None)

    def save(self) -> tuple[dict[str, bytes], dict[str, Stamp]]:
        """Return a backup."""
        return dict(self.records), dict(self.stamps)

    def restore(self, backup: tuple[dict[str, bytes], dict[str, Stamp]]) -> None:
        """Go back to a backup, stamps included."""
        self.records, self.stamps = dict(backup[0]), dict(backup[1])
        self._tell(None)

    # --- as one who can be watched

    def subscribe(self, mark: Mark) -> Callable[[], None]:
        """Call `mark` with the keys of each write from now on, None where all may differ; returns what ends it."""
        self._marks.append(mark)
        return lambda: self._marks.remove(mark)

    def _tell(self, keys: list[str] | None) -> None:
        for mark in tuple(self._marks):
            mark(keys)

    def owned(self, owner: str) -> dict[str, bytes]:
        """Return the records of an owner."""
        return {
            key: content
            for key, content in sorted(self.records.items())
            if (whose := owner_of(content)) is not None and whose.owner == owner
        }
