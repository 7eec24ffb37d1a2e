"""Targets whose own history can be read afterwards, past every proxy.

`look` is quick and says where the log stands; `history` is all that ever happened to ours since `begin`, over all lives
of the target.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from testbed.process import Server
from tests.matrix.judge import Event, Foreign, Place, Position

LOOK_SECONDS = 1.0
OTHERS = 3


class Target(abc.ABC):
    """A target that this test has for itself."""

    kind: str
    server: Server
    own: str | tuple[str, ...]  # what the keys of our own bookkeeping begin with
    suffix = ""  # of every name that is published here

    def __init__(self) -> None:
        self.life = 0
        self.foreign: dict[str, Foreign] = {}
        self._before: list[Event] = []  # of former lives

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where it is reached directly."""

    @abc.abstractmethod
    def sink(self, url: str) -> Mapping[str, Any]:
        """The spec of a ServiceSink that writes here, by way of a proxy at `url`."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Start it for the first time."""

    @abc.abstractmethod
    async def look(self) -> tuple[Position, set[Place]]:
        """Where its log stands, and what is there. Raises OSError, ValueError or LookupError while it is down."""

    @abc.abstractmethod
    async def lay(self) -> None:
        """Lay others' records beside ours, once ours are there: by hand, and of another owner."""

    @abc.abstractmethod
    async def others(self) -> dict[str, Foreign]:
        """What is in them now."""

    @abc.abstractmethod
    async def history(self) -> list[Event]:
        """All that happened in this life since others' records were laid (in a later one: since it began)."""

    async def whole_history(self) -> list[Event]:
        """All lives."""
        return [*self._before, *await self.history()]

    async def wipe(self) -> None:
        """Lose all state, others' records too, as with a new disk. Its history until then is read before that."""
        await self.server.kill9()
        await self.server.start()
        self._before += await self.history()
        await self.server.kill9()
        self.life += 1
        self.foreign = {}
        await self.server.restart(keep_state=False, kill=True)
