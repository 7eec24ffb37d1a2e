"""Telling our own writes from others' in a watch: by the versions they made, and by the objects they deleted."""

from __future__ import annotations

__all__ = ["OwnWrites"]

MOST = 10_000  # of each; beyond, our own writes are shown as others', which costs a look and loses nothing


class OwnWrites:
    """Versions made, and objects deleted, by this sink while somebody watches."""

    def __init__(self) -> None:
        self.watched = False
        self._made: set[str] = set()
        self._deleted: set[str] = set()

    def made(self, version: str) -> None:
        """Note that this version is ours."""
        self._note(self._made, version)

    def deleted(self, uid: str) -> None:
        """Note that this object is deleted by us."""
        self._note(self._deleted, uid)

    def _note(self, noted: set[str], text: str) -> None:
        if self.watched:
            if len(noted) >= MOST:
                noted.clear()
            noted.add(text)

    def take(self, version: str) -> bool:
        """Say whether a version is ours; each is asked for once."""
        if version in self._made:
            self._made.discard(version)
            return True
        return False

    def took(self, uid: str) -> bool:
        """Say whether an object that is gone was deleted by us; each is asked for once."""
        if uid in self._deleted:
            self._deleted.discard(uid)
            return True
        return False
