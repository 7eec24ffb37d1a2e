"""Keeps what is spent of a sink's budget across restarts.

A small file a sink, replaced in one step before what it counts is written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from waypost.engine.policy import Policy

__all__ = ["SpentFile"]

log = logging.getLogger(__name__)


class _Line(msgspec.Struct, array_like=True):
    at: float  # wall seconds
    scopes: tuple[tuple[str, ...], ...]
    count: int


class SpentFile:
    """The file of one sink."""

    def __init__(self, path: Path, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        """Nothing is read yet."""
        self._path = path
        self._monotonic = monotonic
        self._wall = wall
        self._saved: object = None  # what the file says, and how far wall and monotonic time were apart
        self.content = b""  # the same, to be kept elsewhere too

    def load(self, policy: Policy) -> bool:
        """Put back what was spent; False where that is not known (no file, or one that cannot be read)."""
        try:
            lines = msgspec.json.decode(self._path.read_bytes(), type=list[_Line])
        except FileNotFoundError:
            return False
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("budget_file=%s error=%r", self._path, str(error))
            return False
        wall = self._wall()
        policy.restore(self._monotonic(), [(max(0.0, wall - line.at), line.scopes, line.count) for line in lines])
        return True

    def save(self, policy: Policy) -> None:
        """Keep what is spent now, where the file does not say so already.

        A file that cannot be written is said, and the window counts on in memory.
        """
        now, wall = self._monotonic(), self._wall()
        spent = policy.spent(now)
        if (says := (spent, round(wall - now))) == self._saved:
            return
        lines = [_Line(wall - now + at, scopes, count) for at, scopes, count in spent]
        temporary = self._path.with_suffix(".tmp")
        self.content = msgspec.json.encode(lines)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(self.content)
            temporary.replace(self._path)
            self._saved = says
        except OSError:
            log.exception("budget_file=%s", self._path)

    def take_up(self, policy: Policy, content: bytes | None) -> bool:
        """Count what another leader has kept, in place of what was counted here; False where that is not known."""
        try:
            lines = msgspec.json.decode(content or b"", type=list[_Line])
        except msgspec.MsgspecError:
            return False
        wall = self._wall()
        policy.forget_spent()
        policy.restore(self._monotonic(), [(max(0.0, wall - line.at), line.scopes, line.count) for line in lines])
        return True
