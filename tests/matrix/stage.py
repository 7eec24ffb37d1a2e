"""What stands before a fault: a target with its history, a proxy before it, the process `waypost run`, and the load."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from testbed.proxy import Proxy
from tests.matrix.judge import faults_of, touched
from tests.matrix.load import Load
from tests.matrix.target import Target
from tests.real.process import Waypost, document
from tests.real_rig import ENVIRONMENT
from tests.rig import hash_byte

SERVICES = 4
CONVERGED_SECONDS = 60.0
HOLDS_SECONDS = 40.0  # a hold whose cause has gone is looked at every ten seconds


class Stage:
    """One cell's own servers and processes."""

    def __init__(self, waypost: Waypost, target: Target, proxy: Proxy) -> None:
        self.waypost = waypost
        self.target = target
        self.proxy = proxy
        self.load = Load(target, SERVICES, self._declare)

    def _declare(self, name: str, instances: list[str]) -> None:
        ports = [{"name": "http", "number": 80}]
        listed = [
            {"id": each, "addresses": [f"10.{hash_byte(each, 1)}.{hash_byte(each, 2)}.7"], "ports": ports}
            for each in instances
        ]
        entry = {"name": "all", "sourceRef": {"name": "machines"}, "service": {"name": name}, "instances": listed}
        spec = {"sources": [entry], "names": [name + self.target.suffix]}
        sinks = [{"name": "out", "sinkRef": {"name": "out"}}]
        self.waypost.write(f"{name}.yaml", document("ServiceRegistration", name, "shop", sinks=sinks, **spec))

    def platform(self) -> None:
        """Write the manifests of source and sink."""
        sink = {"type": self.target.kind, "environment": ENVIRONMENT, **self.target.sink(self.proxy.url)}
        self.waypost.write(
            "platform.yaml",
            document("ServiceSource", "machines", type="static", environment=ENVIRONMENT),
            document("ServiceSink", "out", **sink),
        )

    async def sink(self) -> dict[str, Any]:
        """What the status says of the sink."""
        (found,) = (await self.waypost.status())["sinks"]
        return dict(found)

    async def tells(self, *reasons: str, seconds: float = 60.0) -> None:
        """Wait until the sink's condition has one of these reasons."""

        async def said() -> bool:
            return (await self.sink())["condition"]["reason"] in reasons

        await self.waypost.until(said, f"its status says {' or '.join(reasons)}", seconds)

    async def acknowledged(self, more: int) -> None:
        """Wait until so many more changes were made, and the target has followed some of them."""
        wanted = self.load.changes + more

        async def followed() -> bool:
            return self.load.changes >= wanted

        await self.waypost.until(followed, f"{more} more changes")

    async def converging(self) -> None:
        """Wait until something that came since now is there: what goes on is followed."""
        was = self.load.log.declared.copy()

        async def followed() -> bool:
            try:
                _, there = await self.target.look()
            except (OSError, ValueError, LookupError):
                return False
            return bool(there & (self.load.log.running - was))

        await self.waypost.until(followed, "what comes now is published", CONVERGED_SECONDS)

    async def converged(self) -> None:
        """Wait until the target holds what runs and nothing else of ours."""

        async def same() -> bool:
            try:
                _, there = await self.target.look()
            except (OSError, ValueError, LookupError):
                return False
            return there == self.load.log.running

        await self.waypost.until(same, "the target holds what runs", CONVERGED_SECONDS)
        await self.waypost.settled(seconds=CONVERGED_SECONDS)

    async def verdict(self) -> None:
        """Judge the whole history; nothing may wait, be refused, or be said to be wrong."""
        target, log = self.target, self.load.log
        assert not touched(target.foreign, await target.others())
        found = faults_of(await target.whole_history(), log, target.foreign, target.own)
        assert not found, "\n".join(found[:20])

        async def nothing_waits() -> bool:
            return not (await self.waypost.status())["holds"]

        await self.waypost.until(nothing_waits, "no hold is left", HOLDS_SECONDS)
        sink = await self.sink()
        assert sink["condition"]["ok"], sink
        assert not any(sink[what] for what in ("failed", "conflicting", "held", "pending")), sink


@asynccontextmanager
async def staged(target: Target, folder: Path) -> AsyncIterator[Stage]:
    """Set the stage: all is published, and others' records stand beside it; what was started is ended."""
    await target.start()
    try:
        async with Proxy(target.url) as proxy, Waypost(folder / "waypost") as waypost:
            stage = Stage(waypost, target, proxy)
            stage.platform()
            await waypost.start()
            await waypost.settled(len(stage.load.log.running))
            await target.lay()
            yield stage
    finally:
        await target.server.kill9()
