"""What a target's own history proves: a pure reading of its log against the log of what was really removed.

A position is where a target's log stands: which life of the target (a wiped one begins another), and its own number in
that life (etcd's revision, Consul's index, a zone's serial). What stands at a greater position came later.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

Position = tuple[int, int]
Place = str  # NAME/INSTANCE


class Event(msgspec.Struct, frozen=True):
    """A line of a target's log. `place` is "" where the key is no record of an instance; `gone` is a deletion."""

    at: Position
    key: str
    place: Place
    gone: bool


class Foreign(msgspec.Struct, frozen=True):
    """A record that is not ours: what it holds, byte for byte, and the target's own numbers of it."""

    key: str
    content: str
    created: int
    modified: int


class Log(msgspec.Struct):
    """What the load did: each instance that it ever declared, and where the target stood just before it went."""

    declared: set[Place] = msgspec.field(default_factory=set)
    removed: dict[Place, Position] = msgspec.field(default_factory=dict)
    early: list[str] = msgspec.field(default_factory=list)  # what was seen to be gone though it lived

    @property
    def running(self) -> set[Place]:
        """What runs now."""
        return self.declared - self.removed.keys()


def faults_of(history: Sequence[Event], log: Log, foreign: Collection[str], own: str | tuple[str, ...]) -> list[str]:
    """Return what the history proves to be wrong. `foreign`: keys of others; `own`: where our bookkeeping is."""
    found = list(log.early)
    deleted: dict[Place, Position] = {}
    for event in history:
        if event.key in foreign:
            found.append(f"{event.key}: another's record was touched at {event.at}")
        elif not event.place:
            if not event.key.startswith(own):
                found.append(f"{event.key}: written at {event.at}, and nobody knows it")
        elif event.place not in log.declared:
            found.append(f"{event.place}: was never declared, and was written at {event.at}")
        elif event.gone:
            deleted[event.place] = event.at
            removed = log.removed.get(event.place)
            if removed is None:
                found.append(f"{event.place}: lives, and was deregistered at {event.at}")
            elif event.at <= removed:
                found.append(f"{event.place}: was deregistered at {event.at}, and removed after {removed} only")
        elif event.place in deleted and deleted[event.place][0] == event.at[0]:
            found.append(f"{event.place}: deleted at {deleted[event.place]}, and brought back at {event.at}")
    return found


def touched(before: Mapping[str, Foreign], after: Mapping[str, Foreign]) -> list[str]:
    """Return what became of others' records; that nothing did, they prove by their own numbers."""
    return [f"{key}: was {was}, is {after.get(key)}" for key, was in before.items() if after.get(key) != was]
