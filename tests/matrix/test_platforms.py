"""The platform is the victim: its head or its machines fail, or the wire to it; nothing that lives is deregistered.

Judged as the other cells are, by the history of the target, an etcd.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from testbed.proxy import Proxy
from tests.matrix.conftest import PROPERTY
from tests.matrix.etcd import EtcdTarget
from tests.matrix.faults import FROZEN_SECONDS, wire_cut, wire_garbage, wire_hangs, wire_refuses
from tests.matrix.judge import Log, Position, faults_of, touched
from tests.matrix.platforms import Mesos, Platform, Swarm, down_for
from tests.real.process import Waypost, document
from tests.real_rig import ENVIRONMENT

SERVICES = ("s0", "s1", "s2")
EACH = 3
DOWN_SECONDS = 5.0
CONVERGED_SECONDS = 90.0


class Scene:
    """A platform, Waypost, and an etcd that keeps the history."""

    def __init__(self, platform: Platform, target: EtcdTarget, proxy: Proxy, waypost: Waypost) -> None:
        self.platform, self.target, self.proxy, self.waypost = platform, target, proxy, waypost
        self.log = Log()
        self.changes = 0

    def declare(self) -> None:
        """Write the manifests."""
        source = {"environment": ENVIRONMENT, **self.platform.source(self.proxy.url)}
        sink = {"type": "etcd", "environment": ENVIRONMENT, **self.target.sink(self.target.url)}
        entry = {"name": "all", "sourceRef": {"name": "platform"}, **self.platform.chosen()}
        spec = {"sources": [entry], "names": [f"{{service}}{self.target.suffix}"], "drainSeconds": 0}
        self.waypost.write(
            "all.yaml",
            document("ServiceSource", "platform", **source),
            document("ServiceSink", "out", **sink),
            document("ServiceRegistration", "all", "shop", sinks=[{"name": "out", "sinkRef": {"name": "out"}}], **spec),
        )

    def note(self) -> None:
        """Take down all that runs."""
        self.log.declared |= {f"{name}/{each}" for name, ids in self.platform.services.items() for each in ids}

    async def change(self) -> None:
        """Add an instance to a service, see it published, and end another."""
        name = SERVICES[self.changes % len(SERVICES)]
        await self.platform.add(name)
        self.note()
        await self.converged()
        position, _ = await self.target.look()
        gone = f"{name}/{await self.platform.end(name)}"
        self.log.removed[gone] = position
        self.changes += 1

    async def acknowledged(self, more: int) -> None:
        """Make changes: see faults.Stage."""
        for _ in range(more):
            name = SERVICES[self.changes % len(SERVICES)]
            await self.platform.add(name)
            self.note()
            self.changes += 1

    async def tells(self, *_reasons: str) -> None:
        """Wait until the status says that the source cannot be read."""

        async def said() -> bool:
            (source,) = (await self.waypost.status())["sources"]
            return not source["condition"]["ok"]

        await self.waypost.until(said, "its status says that the source cannot be read", 60.0)

    async def converged(self) -> None:
        """Wait until the target holds what runs."""

        async def same() -> bool:
            return (await self.target.look())[1] == self.log.running

        await self.waypost.until(same, f"etcd holds the {len(self.log.running)} that run", CONVERGED_SECONDS)

    async def position(self) -> Position:
        return (await self.target.look())[0]


@asynccontextmanager
async def scene(platform: Platform, folder: Path) -> AsyncIterator[Scene]:
    """Set the stage: all runs and is published."""
    target = EtcdTarget(folder / "etcd")
    await target.start()
    try:
        await platform.start()
        async with Proxy(platform.url or target.url) as proxy, Waypost(folder / "waypost") as waypost:
            made = Scene(platform, target, proxy, waypost)
            for name in SERVICES:
                await platform.add(name, EACH)
            made.note()
            made.declare()
            await waypost.start()
            await made.converged()
            await target.lay()
            yield made
    finally:
        await platform.stop()
        await target.server.kill9()


# --- what fails


async def head_killed(at: Scene) -> None:
    """The master (whose registry is in memory) or the manager: `kill -9`, and back after a while."""
    await down_for(at.platform.head, DOWN_SECONDS)


async def head_frozen(at: Scene) -> None:
    """SIGSTOP for half a minute."""
    await at.platform.head.pause()
    await asyncio.sleep(FROZEN_SECONDS)
    await at.platform.head.resume()


async def head_restarted(at: Scene) -> None:
    """In good order."""
    await at.platform.head.restart()


async def machine_frozen(at: Scene) -> None:
    """An agent, for half a minute: Mesos waits for it longer."""
    assert isinstance(at.platform, Mesos)
    agent = at.platform.cluster.agents[1]
    await agent.pause()
    await asyncio.sleep(FROZEN_SECONDS)
    await agent.resume()


async def machine_killed(at: Scene) -> None:
    """An agent, with what it runs or without; it comes back before Mesos gives it up, and Mesos says what lives."""
    assert isinstance(at.platform, Mesos)
    position = await at.position()
    agent = at.platform.cluster.agents[1]
    await down_for(agent, DOWN_SECONDS)
    await at.platform.cluster.ready()
    for name, tasks in at.platform.tasks.items():
        for task in [each for each in tasks if each.host == agent.host]:
            await at.platform.framework.wait([task], "TASK_RUNNING", "TASK_LOST", "TASK_FAILED", "TASK_KILLED")
            if task.state != "TASK_RUNNING":
                tasks.remove(task)
                gone = at.platform._id(task)
                at.platform.services[name].discard(gone)
                at.log.removed[f"{name}/{gone}"] = position


class Fault(msgspec.Struct, frozen=True):
    name: str
    strike: Callable[[Scene], Awaitable[None]]


HEAD = (Fault("kill -9", head_killed), Fault("frozen 30 s", head_frozen), Fault("restarted", head_restarted))
AGENT = (Fault("agent frozen 30 s", machine_frozen), Fault("agent kill -9", machine_killed))
WIRE = (
    Fault("connections cut", wire_cut),
    Fault("answers hang 30 s", wire_hangs),
    Fault("garbage", wire_garbage),
    Fault("503", wire_refuses),
)
CELLS = [
    *(
        pytest.param(Mesos, fault, marks=pytest.mark.server("mesos", "etcd"), id=f"mesos {fault.name}")
        for fault in (*HEAD, *AGENT, *WIRE)
    ),
    *(
        pytest.param(Swarm, fault, marks=pytest.mark.server("swarm", "etcd"), id=f"swarm {fault.name}")
        for fault in HEAD
    ),
]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("platform", "fault"), CELLS)
async def test_after_a_fault_of_the_platform_all_that_lives_is_registered(
    platform: type[Mesos | Swarm], fault: Fault, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    made = platform(tmp_path / "platform")
    async with scene(made, tmp_path) as at:
        await at.change()
        await fault.strike(at)
        over = asyncio.get_running_loop().time()
        await made.back()
        await at.change()
        await at.converged()
        took = asyncio.get_running_loop().time() - over
        record_property(PROPERTY, f"{made.kind:8} {fault.name:24} {took:6.2f} s, of {at.changes} changes")
        await at.waypost.settled(seconds=60.0)
        assert not touched(at.target.foreign, await at.target.others())
        found = faults_of(await at.target.whole_history(), at.log, at.target.foreign, at.target.own)
        assert not found, "\n".join(found[:20])
        status = await at.waypost.status()
        assert not status["holds"]
        assert status["sources"][0]["condition"]["ok"], status
