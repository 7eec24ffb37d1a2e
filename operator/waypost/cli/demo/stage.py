"""What a play needs of an orchestrator, and of its manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

__all__ = ["Death", "Stage"]


class Death(msgspec.Struct, frozen=True):
    """An instance that was killed: its port, and the wall-clock seconds at which it ended, as `by` says."""

    port: int
    at: float
    by: str


class Stage(Protocol):
    """Something that runs three instances of `web` and can kill one."""

    title: str

    async def start(self, folder: Path) -> str:
        """Start everything, write the manifests into the folder; return a sentence that says what runs."""

    async def kill_one(self) -> Death:
        """Kill an instance and return when it ended, by the orchestrator's own account."""

    async def stop(self) -> None:
        """End everything that was started."""
