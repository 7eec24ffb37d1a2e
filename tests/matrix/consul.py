"""A Consul. Its proof is Raft's index: a record that was deleted and made anew has another CreateIndex than before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.servers import Consul
from tests.matrix.judge import Event, Foreign, Place, Position
from tests.matrix.target import LOOK_SECONDS, OTHERS, Target
from tests.real_rig import ConsulDriver, Kept


class ConsulTarget(Target):
    """A Consul; what happened between two looks is read off the records' own indexes."""

    kind = "consul"
    own = "waypost/"
    server: Consul

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.server = Consul(folder)
        self.driver = ConsulDriver(self.server)
        self.suffix = self.driver.suffix
        self._seen: dict[Place, int] = {}  # CreateIndex of each record at the last look
        self._events: list[Event] = []

    @property
    def url(self) -> str:
        return self.server.address

    def sink(self, url: str) -> Mapping[str, Any]:
        return {"ownerID": self.driver.owner(), "config": self.driver.config(url)}

    async def start(self) -> None:
        await self.server.start()

    async def look(self) -> tuple[Position, set[Place]]:
        async with asyncio.timeout(LOOK_SECONDS):
            records = [kept for kept in await self.driver.records() if kept.key not in self.foreign]
            indexes = await self.driver.revision()  # a deletion moves a service's index, too
        found = {f"{kept.name}/{kept.instance}": kept for kept in records}
        at = (self.life, max(indexes.values(), default=0))
        self._note(at, found)
        return at, set(found)

    def _note(self, at: Position, found: Mapping[Place, Kept]) -> None:
        for place, created in self._seen.items():
            kept = found.get(place)
            if kept is None:
                self._events.append(Event(at, place, place, gone=True))
            elif kept.created != created:
                self._events.append(Event((self.life, kept.created - 1), place, place, gone=True))
        for place, kept in found.items():
            if self._seen.get(place) != kept.created:
                self._events.append(Event((self.life, kept.created), place, place, gone=False))
        self._seen = {place: kept.created for place, kept in found.items()}

    async def lay(self) -> None:
        records = sorted(await self.driver.records(), key=lambda kept: kept.key)
        for number, kept in enumerate(records[:OTHERS]):
            node, _, ident = kept.key.partition("/")
            other = kept.content.replace(self.driver.owner(), "somebody-else")
            await self._lay(f"{node}/{ident}-other{number}", kept, other)
            await self.driver.foreign(f"hand-made/{ident}-hand{number}", kept.name)
            self.foreign[f"hand-made/{ident}-hand{number}"] = Foreign("", "", 0, 0)
        self.foreign = await self.others()

    async def _lay(self, key: str, kept: Kept, content: str) -> None:
        service, _ = json.loads(content)
        await self.driver.write(kept, content=json.dumps([service, []]), key=key)
        self.foreign[key] = Foreign("", "", 0, 0)

    async def others(self) -> dict[str, Foreign]:
        return {
            kept.key: Foreign(kept.key, kept.content, kept.created, kept.modified)
            for kept in await self.driver.records()
            if kept.key in self.foreign
        }

    async def history(self) -> list[Event]:
        await self.look()
        return list(self._events)

    async def wipe(self) -> None:
        await super().wipe()
        self._seen, self._events = {}, []
