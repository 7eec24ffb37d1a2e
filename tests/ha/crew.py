"""Two processes `waypost run` of one installation, each with a way of its own to the elector, and their targets."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from testbed.process import Server
from testbed.proxy import Proxy
from tests.matrix.target import Target
from tests.real.process import Waypost, document
from tests.real_rig import ENVIRONMENT, until

LATE_SECONDS = 20.0  # of a busy machine: what is measured is printed
QUIET_SECONDS = 2.0
NAME = "web"
FIRST = [f"i{number}" for number in range(6)]


class Crew:
    """What a test of failovers acts on. `lease` is how long after a leader's sudden death nobody may lead."""

    def __init__(self, folder: Path, targets: Sequence[Target], elector: Server, url: str, lease: float) -> None:
        self.targets = targets
        self.elector = elector
        self.lease = lease
        self.processes = [Waypost(folder / name) for name in "ab"]
        self.ways = [Proxy(url) for _ in self.processes]
        self.running = list(FIRST)  # instances, declared to both
        self._fresh = itertools.count()

    def configure(self, process: Waypost, way: Proxy, kind: str, config: Callable[[str], Mapping[str, Any]]) -> None:
        """Write the process's manifests and its elector's file."""
        file = process.manifests.parent / "elector.yaml"
        file.write_text(yaml.safe_dump({"config": dict(config(way.url))}))
        process.options = ["--elector", kind, "--elector-config", str(file)]
        sinks = [
            document("ServiceSink", each.kind, type=each.kind, environment=ENVIRONMENT, **each.sink(each.url))
            for each in self.targets
        ]
        source = document("ServiceSource", "machines", type="static", environment=ENVIRONMENT)
        process.write("platform.yaml", source, *sinks)
        self.declare(process, self.running)

    def declare(self, process: Waypost, instances: Sequence[str]) -> None:
        """Write to one process's manifests what runs."""
        ports = [{"name": "http", "number": 80}]
        listed = [
            {"id": each, "addresses": [f"10.1.{place // 250}.{place % 250 + 1}"], "ports": ports}
            for place, each in enumerate(instances)
        ]
        entry = {"name": "all", "sourceRef": {"name": "machines"}, "service": {"name": NAME}, "instances": listed}
        sinks = [
            {"name": each.kind, "sinkRef": {"name": each.kind}, "names": [NAME + each.suffix]} for each in self.targets
        ]
        process.write("web.yaml", document("ServiceRegistration", NAME, "shop", sources=[entry], sinks=sinks))

    def declare_one_more(self) -> str:
        """Write to both processes' manifests that one more instance runs."""
        made = f"n{next(self._fresh)}"
        self.running.append(made)
        for process in self.processes:
            self.declare(process, self.running)
        return made

    # --- who leads

    async def leading(self, process: Waypost) -> int:
        """Return the term in which a process leads, 0 where it does not, or does not answer."""
        try:
            async with asyncio.timeout(2):
                return int((await process.status())["leadership"]["term"] or 0)
        except (OSError, ValueError, KeyError):
            return 0

    async def leader(self) -> tuple[Waypost, Waypost]:
        """Wait until one leads; return it and the other."""
        found: list[Waypost] = []

        async def led() -> bool:
            found[:] = [each for each in self.processes if each.alive and await self.leading(each)]
            return bool(found)

        await until(led, "one leads", 60)
        assert len(found) == 1, "two lead"
        return found[0], next(each for each in self.processes if each is not found[0])

    def way(self, process: Waypost) -> Proxy:
        """Return the process's way to the elector."""
        return self.ways[self.processes.index(process)]

    # --- what is there

    async def positions(self) -> list[Any]:
        """Return where each target's own log stands."""
        return [(await each.look())[0] for each in self.targets]

    async def published(self, seconds: float = 60.0) -> None:
        """Wait until every target holds what runs."""

        async def there() -> bool:
            wanted = {f"{NAME}/{each}" for each in self.running}
            return all([(await each.look())[1] == wanted for each in self.targets])

        await until(
            there, f"all of {self.running} is in every target; {[p.told()[-1500:] for p in self.processes]}", seconds
        )

    async def quiet(self) -> None:
        """Check that nothing is written anywhere for a while, by the targets' own logs."""
        before = await self.positions()
        await asyncio.sleep(QUIET_SECONDS)
        assert await self.positions() == before, "something was written"

    # --- failovers

    async def failover(self, strike: Callable[[Waypost], Awaitable[None]], allowed: float) -> float:
        """Strike the leader; return the seconds until what was declared then is in every target.

        `allowed` is how many may pass before anybody else may lead.
        """
        former, other = await self.leader()
        term = await self.leading(former)
        began = time.monotonic()
        await strike(former)
        self.declare_one_more()

        async def taken() -> bool:
            return await self.leading(other) > term

        await other.until(taken, "the standby leads", allowed + LATE_SECONDS)
        await self.published(LATE_SECONDS)
        return time.monotonic() - began

    async def nothing_was_deregistered(self) -> None:
        """Check every target's whole history: only what was declared was written, and nothing ever went."""
        for target in self.targets:
            events = [event for event in await target.whole_history() if event.place]
            assert not [event for event in events if event.gone], (target.kind, events)
            assert {event.place for event in events} == {f"{NAME}/{each}" for each in self.running}, target.kind


@asynccontextmanager
async def crew(
    folder: Path,
    targets: Sequence[Target],
    elector: Server,
    url: str,
    kind: str,
    config: Callable[[str], Mapping[str, Any]],
    lease: float,
) -> AsyncIterator[Crew]:
    """Start everything; one process leads and all is published. What was started is ended."""
    async with AsyncExitStack() as stack:
        for server in (elector, *(each.server for each in targets)):
            stack.push_async_callback(server.kill9)
        await asyncio.gather(elector.start(), *(each.start() for each in targets))
        made = Crew(folder, targets, elector, url, lease)
        for process, way in zip(made.processes, made.ways, strict=True):
            await stack.enter_async_context(way)
            await stack.enter_async_context(process)
            made.configure(process, way, kind, config)
        await asyncio.gather(*(each.start() for each in made.processes))
        await made.published()
        yield made
