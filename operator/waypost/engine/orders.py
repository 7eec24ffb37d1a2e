"""What people tell a running engine: a hold decided, a sink paused, records released.

Each is kept before it holds, so that a restart does not forget it. How the next leader learns of it is `succession`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from waypost.engine.holds import Hold, Holds
    from waypost.engine.paused import PausedFile
    from waypost.engine.reconcile import Reconciler
    from waypost.engine.releases import Release, Releases

__all__ = ["Orders"]

log = logging.getLogger(__name__)


class Orders:
    """Takes them, one at a time."""

    def __init__(
        self,
        holds: Holds,
        releases: Releases,
        paused_file: PausedFile,
        reconciler: Reconciler,
        *,
        sinks: Callable[[], Collection[str]],
        begin_anew: Callable[[Collection[str]], None],
        begun_anew: Callable[[], Awaitable[None]],
        on_decision: Callable[[], None],
    ) -> None:
        """Read which sinks are paused.

        `sinks` are those that are declared. `begin_anew` has some of them run as their mode is then, soon;
        `begun_anew` returns when they do.
        """
        self.holds = holds
        self.releases = releases
        self.paused: set[str] = set(paused_file.load())  # sinks that a person paused
        self._paused_file = paused_file
        self._reconciler = reconciler
        self._sinks = sinks
        self._begin_anew = begin_anew
        self._begun_anew = begun_anew
        self._on_decision = on_decision

    # --- holds

    def decide(
        self, name: str, decision: Literal["Approve", "Reject"], reason: str = "", expires_seconds: int = 900
    ) -> Hold:
        """Take a person's decision on a hold; KeyError where there is none of that name."""
        hold = self.holds.decide(name, decision, reason, expires_seconds)
        log.warning("hold=%s decision=%s reason=%r", name, decision, reason)
        target = self._reconciler.targets.get(hold.sink)
        if target is not None:
            target.mark_pairs(self.holds.waiting(hold.sink))
        self._on_decision()
        return hold

    def take_decision(self, content: bytes) -> None:
        """Take a decision on a hold that another leader was told."""
        self.holds.take_up(content)
        self._on_decision()

    # --- paused sinks

    def set_paused(self, name: str, paused: bool) -> None:  # noqa: FBT001 - what is wanted, not how
        """Pause a sink (nothing is read or written) or let it go on; kept across restarts.

        KeyError: there is none. OSError: it cannot be kept, and does not happen.
        """
        if name not in self._sinks():
            raise KeyError(name)
        if paused == (name in self.paused):
            return
        wanted = self.paused ^ {name}
        self._paused_file.save(wanted)  # first: what cannot be kept does not happen
        self.paused = wanted
        log.warning("sink=%s paused=%s", name, paused)
        self._begin_anew({name})

    async def replace_paused(self, paused: set[str]) -> None:
        """Have these sinks paused and no others, and return when they are. Where it cannot be kept, it holds anyway."""
        changed, self.paused = self.paused ^ paused, paused
        if not changed:
            return
        try:
            self._paused_file.save(paused)
        except OSError:
            log.exception("paused=%r effect='it holds until this process ends'", sorted(paused))
        self._begin_anew(changed & self._reconciler.targets.keys())
        await self._begun_anew()

    # --- releases

    def release(self, release: Release, *, undo: bool = False) -> bool:
        """Leave in the sinks what a release covers, ours no more, or ask for it again; say whether that is news.

        Kept across restarts. OSError: it cannot be kept, and does not happen.
        """
        if undo:
            meant = {given for given in self.releases.given if self._same(given, release)}
            if not meant:
                return False
            self.releases.replace(self.releases.given - meant)
        elif not self.releases.change(release, undo=False):
            return False
        log.warning("release=%r undo=%s", str(release), undo)
        for name, target in self._reconciler.targets.items():
            if release.sink in {"", name}:
                shown = [key for sink, key in self._reconciler.showings if sink == name]
                for key in (*shown, *target.ledger.shelves):
                    if release.registration in {"", key.registration}:
                        target.mark(key, None)
        return True

    def _same(self, one: Release, other: Release) -> bool:
        """Say whether two releases mean the same: their names are one in each sink that they are about."""
        if one == other:
            return True
        targets = [t for name, t in self._reconciler.targets.items() if one.sink in {"", name}]
        return (
            (one.registration, one.sink, bool(one.name)) == (other.registration, other.sink, bool(other.name))
            and bool(targets)
            and all(target.names.canonical(one.name) == target.names.canonical(other.name) for target in targets)
        )

    def covered(self, release: Release) -> dict[str, int]:
        """Return how many records in each sink a release covers, by the publications that have them."""
        found = {}
        for name, target in self._reconciler.targets.items():
            if release.sink in {"", name}:
                found[name] = sum(
                    shelf.records()
                    for key, shelf in target.ledger.shelves.items()
                    if release.registration in {"", key.registration}
                    and (not release.name or target.names.canonical(release.name) in target.names.left.get(key, ()))
                )
        return found
