"""What a person released: kept in the state folder, for as long as it stands there nothing that it covers is written.

What is ours of it loses its mark and stays as it is; see `plan`. A small file, replaced in one step.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

__all__ = ["Release", "Releases"]

log = logging.getLogger(__name__)


class Release(msgspec.Struct, frozen=True, order=True, rename="camel"):
    """What is released: all that fits each part that is given; where none is, everything."""

    registration: str = ""
    name: str = ""
    sink: str = ""

    def __str__(self) -> str:
        """Return it for people, as the command has it."""
        parts = [self.registration] if self.registration else []
        parts += [f"--name {self.name}"] if self.name else []
        parts += [f"--sink {self.sink}"] if self.sink else []
        return " ".join(parts) or "--all"


class Releases:
    """The releases of one installation."""

    def __init__(self, state_dir: Path) -> None:
        """Read what is kept. A file that cannot be read stops us: else what was released would be written again."""
        self._path = state_dir / "released.json"
        try:
            self.given = set(msgspec.json.decode(self._path.read_bytes(), type=list[Release]))
        except FileNotFoundError:
            self.given = set()

    def covers(self, sink: str, registration: str) -> Release | None:
        """Return a release that covers all that a registration has in a sink."""
        return min((r for r in self._of(sink, registration) if not r.name), default=None)

    def names(self, sink: str, registration: str) -> frozenset[str]:
        """Return the names in a sink that are released of a registration."""
        return frozenset(r.name for r in self._of(sink, registration) if r.name) if self.given else frozenset()

    def _of(self, sink: str, registration: str) -> Iterable[Release]:
        for release in self.given:
            if release.sink in {"", sink} and release.registration in {"", registration}:
                yield release

    def change(self, release: Release, *, undo: bool) -> bool:
        """Add a release or take it back; say whether that changes anything. Raises OSError: then nothing changes."""
        if undo != (release in self.given):
            return False
        self.replace(self.given ^ {release})
        return True

    def replace(self, wanted: set[Release]) -> None:
        """Have these as all releases. Raises OSError: then nothing changes."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(sorted(wanted)))
        temporary.replace(self._path)
        self.given = wanted
