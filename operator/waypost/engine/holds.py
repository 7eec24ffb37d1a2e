"""What waits for a person.

Immutable sets of (publication, instance) pairs, each with its cause, and what was decided of them.

A hold's set never changes. While it is undecided, a set that has grown takes its place at most every ten seconds; after
a decision only what is new makes another. Approval lets exactly those pairs pass that the hold names, for a time, and
for what it says of them: who lets an instance be rewritten has not let it be withdrawn, or a record of somebody else be
taken over, and one that was withdrawn and has come back is not covered any more. Kept as one JSON file a hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from waypost.engine.policy import HoldCause
from waypost.model import PublicationKey

__all__ = ["Hold", "Holds", "Pair", "pair_hash"]

Pair = tuple[PublicationKey, str]
Decision = Literal["", "Approve", "Reject"]

log = logging.getLogger(__name__)

REPLACE_SECONDS = 10.0
CLOCK_SECONDS = 60.0  # a clock that is set back by no more than this is a clock that is being put right
SAMPLE = 10


class Hold(msgspec.Struct):
    """One hold, as it is kept and shown. `pairs` are the sorted 8-byte hashes, in hex."""

    name: str
    digest: str
    sink: str
    cause: HoldCause
    source: str
    removals: int
    changes: int
    of: int
    sample: list[str]
    pairs: list[str]
    created_time: float
    decision: Decision = ""
    reason: str = ""
    decided_time: float | None = None
    expires_seconds: int = 900

    def expired(self, wall: float) -> bool:
        """Say whether the decision no longer holds: its time is over, or the clock was set back before it."""
        if self.decided_time is None:
            return False
        return not self.decided_time - CLOCK_SECONDS <= wall < self.decided_time + self.expires_seconds


def pair_hash(pair: Pair, *, removal: bool, takeover: bool = False) -> str:
    """Return 8 bytes, in hex, that name a pair and what is to become of it, in every process alike."""
    key, instance = pair
    service = key.service
    kind = "takeover" if takeover else "removal" if removal else "change"
    parts = [key.registration, key.entry, service.source, service.namespace, service.name, instance, kind]
    text = "\0".join(parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Holds:
    """All holds of one installation, kept in a folder."""

    def __init__(self, folder: Path, wall: Callable[[], float]) -> None:
        """Read what the folder has; a file that cannot be read is left there and not counted."""
        self._folder = folder
        self._wall = wall
        self.holds: dict[str, Hold] = {}
        self._waiting: dict[
            tuple[str, str, str], dict[Pair, tuple[str, bool, str]]
        ] = {}  # (sink, cause, source) → pair → (hash, removal, what else a person should know)
        self._shown: dict[tuple[str, str, str], str] = {}
        self._sets: dict[str, set[str]] = {}  # what a hold still covers
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.json")):
            try:
                hold = msgspec.json.decode(path.read_bytes(), type=Hold)
            except (msgspec.MsgspecError, OSError) as error:
                told = f"it cannot be read, and no decision in it counts ({error}); what waits is held anew"
                log.warning("hold=%s error=%r", path.name, told)
                continue
            self.holds[hold.name] = hold
            if not hold.decision:
                self._shown[hold.sink, hold.cause, hold.source] = hold.name

    # --- for the plan

    def decision(self, sink: str, pair: Pair, *, removal: bool, takeover: bool = False) -> Decision:
        """Return what a person decided of a pair's withdrawal (else: its rewriting), as far as it still holds.

        `takeover`: of taking over a record that is the same and nobody's.
        """
        decided = [h for h in self.holds.values() if h.decision and h.sink == sink and not h.expired(self._wall())]
        if not decided:
            return ""
        name = pair_hash(pair, removal=removal, takeover=takeover)
        latest = max((h for h in decided if name in self._set(h)), key=lambda h: h.decided_time or 0, default=None)
        return latest.decision if latest else ""

    def withdrawn(self, sink: str, pair: Pair) -> None:
        """Take note that a pair was withdrawn: an approval covers it no more, should it come back."""
        self._used(sink, pair, removal=True)

    def taken_over(self, sink: str, pair: Pair) -> None:
        """Take note that all of a pair was taken over: an approval covers it no more, should it be let go again."""
        self._used(sink, pair, takeover=True)

    def _used(self, sink: str, pair: Pair, *, removal: bool = False, takeover: bool = False) -> None:
        decided = [h for h in self.holds.values() if h.decision and h.sink == sink]
        if decided:
            name = pair_hash(pair, removal=removal, takeover=takeover)
            for hold in decided:
                self._set(hold).discard(name)

    def wait(self, sink: str, cause: HoldCause, pair: Pair, *, removal: bool, about: str = "") -> None:
        """Take note that a pair waits; `about` is for the sample."""
        group = (sink, cause, pair[0].service.source)
        for other, pairs in self._waiting.items():
            if other != group and other[0] == sink:
                pairs.pop(pair, None)
        mine = self._waiting.setdefault(group, {})
        if (known := mine.get(pair)) is None or known[1] != removal:
            mine[pair] = pair_hash(pair, removal=removal, takeover=cause == "Takeover"), removal, about

    def release(self, sink: str, pair: Pair) -> None:
        """Take note that a pair waits no more: it passed, or its cause is gone."""
        for group, pairs in self._waiting.items():
            if group[0] == sink:
                pairs.pop(pair, None)

    def waiting(self, sink: str) -> list[Pair]:
        """Return the pairs of a sink that wait now."""
        return [pair for group, pairs in self._waiting.items() if group[0] == sink for pair in pairs]

    def waits(self, sink: str, pair: Pair) -> str | None:
        """Say for which cause a pair waits now; None where it does not."""
        return next((group[1] for group, pairs in self._waiting.items() if group[0] == sink and pair in pairs), None)

    def anything_waits(self, sink: str) -> bool:
        """Say whether any pair of the sink waits."""
        return any(pairs for group, pairs in self._waiting.items() if group[0] == sink)

    # --- as people see them

    def show(
        self, of: Callable[[str], int], planned: Callable[[str, str], bool] = lambda _sink, _source: True
    ) -> list[Hold]:
        """Bring the holds in line with what waits; return those that are new.

        `of(sink)` is how many pairs the sink owns. `planned(sink, source)` says whether all that could wait has been
        asked for: until then a hold from before a restart is shown as it was.
        """
        now = self._wall()
        for group, name in list(self._shown.items()):
            hold = self.holds.get(name)
            if group not in self._waiting and hold is not None and planned(group[0], group[2]):
                self._forget(hold)
                del self._shown[group]
        for hold in [h for h in self.holds.values() if h.expired(now)]:
            self._forget(hold)
        new = []
        for group, pairs in self._waiting.items():
            shown = self.holds.get(self._shown.get(group, ""))
            if not pairs:
                if shown is not None and not shown.decision:
                    self._forget(shown)
                    self._shown.pop(group, None)
                continue
            decided = {p for h in self.holds.values() if h.decision and h.sink == group[0] for p in self._set(h)}
            hashes = {name for name, *_ in pairs.values()} - decided
            if not hashes or (shown is not None and not shown.decision and hashes <= self._set(shown)):
                continue
            if shown is not None and not shown.decision:
                if now - shown.created_time < REPLACE_SECONDS:
                    continue
                self._forget(shown)
            new.append(self._make(group, pairs, hashes, of(group[0]), now))
        return new

    def due(self) -> float | None:
        """Return the wall time at which `show` may have something new, None where nothing waits unseen."""
        times = [h.created_time + REPLACE_SECONDS for h in self.holds.values() if not h.decision]
        return min(times, default=None)

    def forget_sink(self, sink: str) -> None:
        """Stop waiting for anything in a sink that is no longer declared."""
        for group in [group for group in self._waiting if group[0] == sink]:
            del self._waiting[group]
            self._shown.pop(group, None)
        for hold in [hold for hold in self.holds.values() if hold.sink == sink and not hold.decision]:
            self._forget(hold)

    def decide(
        self, name: str, decision: Literal["Approve", "Reject"], reason: str, expires_seconds: int = 900
    ) -> Hold:
        """Take a person's decision; KeyError where there is no such hold."""
        hold = self.holds[name]
        hold.decision, hold.reason, hold.decided_time, hold.expires_seconds = (
            decision,
            reason,
            self._wall(),
            expires_seconds,
        )
        self._save(hold)
        for group, shown in list(self._shown.items()):
            if shown == name:
                del self._shown[group]
        return hold

    # --- from leader to leader

    def decided(self) -> list[Hold]:
        """Return the holds whose decision still holds."""
        now = self._wall()
        return [hold for hold in self.holds.values() if hold.decision and not hold.expired(now)]

    def take_up(self, content: bytes) -> None:
        """Take a decision that another leader was told, in place of what is known here of that hold."""
        try:
            hold = msgspec.json.decode(content, type=Hold)
        except msgspec.MsgspecError as error:
            log.warning("hold=? error=%r effect='a decision that another leader was told is not known'", str(error))
            return
        known = self.holds.get(hold.name)
        if known is not None and known.decided_time == hold.decided_time:
            return
        self.holds[hold.name] = hold
        self._sets.pop(hold.name, None)
        self._save(hold)
        for group, shown in list(self._shown.items()):
            if shown == hold.name:
                del self._shown[group]

    # --- kept elsewhere too

    def adopt(self, hold: Hold) -> bool:
        """Take a hold that another process of this installation made; False where its set is not what its digest says.

        One that is known stays as it is.
        """
        if hold.digest != _digest(hold.sink, hold.cause, hold.source, hold.pairs):
            return False
        if hold.name not in self.holds:
            self.holds[hold.name] = hold
            if not hold.decision:
                self._shown[hold.sink, hold.cause, hold.source] = hold.name
            self._save(hold)
        return True

    def drop(self, name: str) -> None:
        """Forget a hold and what was decided; what still waits makes another."""
        if (hold := self.holds.get(name)) is not None:
            self._forget(hold)
            self._shown = {group: shown for group, shown in self._shown.items() if shown != name}

    # --- inside

    def _set(self, hold: Hold) -> set[str]:
        if (found := self._sets.get(hold.name)) is None:
            found = self._sets[hold.name] = set(hold.pairs)
        return found

    def _make(
        self,
        group: tuple[str, str, str],
        pairs: dict[Pair, tuple[str, bool, str]],
        hashes: Iterable[str],
        of: int,
        now: float,
    ) -> Hold:
        sink, cause, source = group
        names = sorted(hashes)
        kinds = {name: removal for name, removal, _ in pairs.values()}
        removals = sum(kinds[name] for name in names)
        digest = _digest(sink, cause, source, names)
        chosen = set(names)
        sample = sorted(
            f"{key} instance {instance}{f': {about}' if about else ''}"
            for (key, instance), (name, _, about) in pairs.items()
            if name in chosen
        )
        hold = Hold(
            name=f"{sink}-{digest.removeprefix('sha256-')[:8]}",
            digest=digest,
            sink=sink,
            cause=cause,  # type: ignore[arg-type]
            source=source,
            removals=removals,
            changes=len(names) - removals,
            of=of,
            sample=sample[:SAMPLE],
            pairs=names,
            created_time=now,
        )
        self.holds[hold.name] = hold
        self._sets.pop(hold.name, None)
        self._shown[group] = hold.name
        self._save(hold)
        return hold

    def _forget(self, hold: Hold) -> None:
        self.holds.pop(hold.name, None)
        self._sets.pop(hold.name, None)
        with contextlib.suppress(OSError):
            (self._folder / f"{hold.name}.json").unlink(missing_ok=True)

    def _save(self, hold: Hold) -> None:
        path = self._folder / f"{hold.name}.json"
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(hold), indent=1))
            temporary.replace(path)
        except OSError:  # it holds on in memory; after a restart it is made anew
            log.exception("hold=%s file=%s", hold.name, path)


def _digest(sink: str, cause: str, source: str, names: Iterable[str]) -> str:
    digest = hashlib.sha256("".join([sink, cause, source, *names]).encode()).hexdigest()
    return f"sha256-{digest}"
