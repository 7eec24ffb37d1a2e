"""An etcd, whose history is etcd's own: every revision of every key."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from testbed.servers import Etcd
from testbed.web import request
from tests.matrix.judge import Event, Foreign, Place, Position
from tests.matrix.target import LOOK_SECONDS, OTHERS, Target
from tests.real_rig import EtcdDriver, Kept, _b64, _events, _text

SPACE = 16 << 20  # bytes that etcd may use
JUNK = "/junk/"


class EtcdTarget(Target):
    """An etcd; its history is that of all keys, since a revision."""

    kind = "etcd"
    server: Etcd
    driver: EtcdDriver

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.server = Etcd(folder, flags=[f"--quota-backend-bytes={SPACE}"])
        self._since = 1

    @property
    def url(self) -> str:
        return self.server.endpoint

    def sink(self, url: str) -> Mapping[str, Any]:
        return {"ownerID": self.driver.owner(), "config": self.driver.config(url)}

    async def start(self) -> None:
        await self.server.start()
        self.driver = await EtcdDriver.made(self.server)
        self.suffix = self.driver.suffix
        self.own = f"{self.driver.prefix}/.waypost/owners/{self.driver.owner()}", JUNK

    async def _all(self) -> Any:
        asked = {"key": _b64("\0"), "range_end": _b64("\0")}
        return (await request("POST", f"{self.url}/v3/kv/range", asked, timeout=LOOK_SECONDS)).expect().json()

    async def look(self) -> tuple[Position, set[Place]]:
        answer = await self._all()
        keys = {_text(kv["key"]) for kv in answer.get("kvs", [])} - self.foreign.keys()
        return (self.life, int(answer["header"]["revision"])), {place for key in keys if (place := self._place(key))}

    def _place(self, key: str) -> Place:
        root = f"{self.driver.prefix}/"
        if not key.startswith(root) or not self.driver._is_record(key):
            return ""
        _, _, name, instance = key.removeprefix(root).split("/")
        return f"{self.driver.plain(name)}/{instance.partition('@')[0]}"

    async def lay(self) -> None:
        records = sorted(await self.driver.records(), key=lambda kept: kept.key)
        for number, kept in enumerate(records[:OTHERS]):
            owned = msgspec.json.encode({**json.loads(kept.content), "owner": "somebody-else"}).decode()
            await self._put(_beside(kept, f"other{number}"), owned)
            await self._put(_beside(kept, f"hand{number}"), f"by hand {number}")
        await self._put("/elsewhere/record", "of no one's business")
        self.foreign = await self.others()
        self._since = max(each.modified for each in self.foreign.values())

    async def _put(self, key: str, value: str) -> None:
        await self.server.put(key, value)
        self.foreign[key] = Foreign(key, value, 0, 0)

    async def others(self) -> dict[str, Foreign]:
        found = {}
        for kv in (await self._all()).get("kvs", []):
            key, value = _text(kv["key"]), _text(kv.get("value", ""))
            if key in self.foreign:
                found[key] = Foreign(key, value, int(kv["create_revision"]), int(kv["mod_revision"]))
        return found

    async def fill(self) -> None:
        """Use up etcd's space."""
        with contextlib.suppress(ValueError):  # it says so
            for number in range(2 * SPACE >> 20):
                await self.server.put(f"{JUNK}{number}", "x" * (1 << 20))

    async def empty(self) -> None:
        """Make room. What is compacted is read before."""
        await self.server.call("kv/deleterange", {"key": _b64(JUNK), "range_end": _b64("/junk0")})
        last = int((await self._all())["header"]["revision"])
        self._before += await asyncio.to_thread(self._read, self._since, last)
        self._since = last
        await self.server.call("kv/compaction", {"revision": str(last), "physical": True})
        await self.server.call("maintenance/defragment", {})
        raised = await self.server.call("maintenance/alarm", {"action": "GET"})
        for alarm in raised["alarms"]:
            await self.server.call("maintenance/alarm", {**alarm, "action": "DEACTIVATE"})

    async def history(self) -> list[Event]:
        last = int((await self._all())["header"]["revision"])
        return await asyncio.to_thread(self._read, self._since if not self.life else 1, last)

    def _read(self, since: int, last: int) -> list[Event]:
        """Read etcd's log of all keys after a revision, up to one that is known to be there."""
        parts = urlsplit(self.server.endpoint)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        wanted = {"key": _b64("\0"), "range_end": _b64("\0"), "start_revision": str(since + 1)}
        events: list[Event] = []
        at = since
        try:
            connection.request("POST", "/v3/watch", json.dumps({"create_request": wanted}))
            with connection.getresponse() as answer:
                while at < last:
                    for each in _events(json.loads(answer.readline())["result"]):
                        at = each.revision
                        place = self._place(each.key)
                        events.append(Event((self.life, at), each.key, place, each.value is None))
        finally:
            connection.close()
        return events


def _beside(kept: Kept, instance: str) -> str:
    before, _, last = kept.key.rpartition("/")
    return f"{before}/{instance}@{last.partition('@')[2]}"
