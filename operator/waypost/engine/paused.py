"""Keeps across restarts which sinks a person paused: a small file in the state folder, replaced in one step."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

__all__ = ["PausedFile"]

log = logging.getLogger(__name__)


class PausedFile:
    """The file of one installation."""

    def __init__(self, state_dir: Path) -> None:
        """Nothing is read yet."""
        self._path = state_dir / "paused.json"

    def load(self) -> list[str]:
        """Return the names; a file that cannot be read is said, and nothing is paused."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[str])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as error:
            log.error("paused_file=%s error=%r effect='no sink is paused'", self._path, str(error))
            return []

    def save(self, names: Iterable[str]) -> None:
        """Keep the names. Raises OSError where they cannot be kept."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(sorted(names)))
        temporary.replace(self._path)
