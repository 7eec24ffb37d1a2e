"""Two processes, of which one leads: what becomes of the records when it ends, hangs, is cut off, or its elector fails.

The proof is the targets' own: etcd's revisions, Consul's indexes, the zone's journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from testbed.servers import Consul, Etcd
from tests.ha.conftest import PROPERTY
from tests.ha.crew import Crew, crew
from tests.matrix.bind import BindTarget
from tests.matrix.consul import ConsulTarget
from tests.matrix.etcd import EtcdTarget
from tests.real.process import Waypost
from tests.real_rig import until

TTL = 3
Told = Callable[[str, float, float], None]


async def ends_in_order(crew: Crew, told: Told) -> None:
    """SIGTERM: the lease is given back, and another leads at once."""
    former, _ = await crew.leader()
    told("SIGTERM", 0.0, await crew.failover(lambda leader: leader.stop(), 0.0))
    await former.start()
    await _stands_by(crew, former)


async def dies(crew: Crew, told: Told) -> None:
    """`kill -9`: another leads once the lease has run out."""
    former, _ = await crew.leader()
    told("kill -9", crew.lease, await crew.failover(lambda leader: leader.kill9(), crew.lease))
    await former.start()
    await _stands_by(crew, former)


async def hangs_and_wakes_up(crew: Crew, told: Told) -> None:
    """SIGSTOP for longer than the lease: woken up, it writes nothing, though its own manifests ask for more."""
    former, _ = await crew.leader()

    async def stop(leader: Waypost) -> None:
        leader.pause()

    told("SIGSTOP", crew.lease, await crew.failover(stop, crew.lease))
    await _writes_nothing(crew, former, after=former.resume)


async def is_cut_off(crew: Crew, told: Told) -> None:
    """It reaches its targets and not the elector: it stops writing before another begins."""
    former, _ = await crew.leader()
    told(
        "cut off from the elector", crew.lease, await crew.failover(lambda leader: crew.way(leader).hang(), crew.lease)
    )
    await _writes_nothing(crew, former)
    await crew.way(former).heal()
    await _stands_by(crew, former)
    await crew.quiet()


async def elector_restarts(crew: Crew, told: Told) -> None:
    """The elector's server restarts with its state: within a lease's time the term goes on, and nothing is written."""
    former, _ = await crew.leader()
    term = await crew.leading(former)
    before = await crew.positions()
    began = asyncio.get_running_loop().time()
    await crew.elector.restart(kill=True)
    took = asyncio.get_running_loop().time() - began
    await asyncio.sleep(crew.lease)
    leader, _ = await crew.leader()
    if took < TTL / 2:  # else the term may have ended meanwhile
        assert (leader, await crew.leading(leader)) == (former, term), "the term was lost"
        assert await crew.positions() == before, "something was written"
    crew.declare_one_more()
    await crew.published()


async def elector_loses_everything(crew: Crew, told: Told) -> None:
    """The elector's server comes back empty: one leads again, in a term above those before; nobody is locked out."""
    former, _ = await crew.leader()
    term = await crew.leading(former)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await crew.elector.restart(keep_state=False, kill=True)

    async def led_anew() -> bool:
        return any([await crew.leading(each) > term for each in crew.processes])

    await until(led_anew, "one leads in a later term", 60)
    crew.declare_one_more()
    await crew.published()
    told("the elector loses everything", 0.0, loop.time() - began)
    await crew.leader()  # one, and one only


SCENES: list[Callable[[Crew, Told], Awaitable[None]]] = [
    ends_in_order,
    dies,
    hangs_and_wakes_up,
    is_cut_off,
    elector_restarts,
    elector_loses_everything,
]


async def _stands_by(crew: Crew, process: Waypost) -> None:
    async def standing() -> bool:
        said = (await process.status())["leadership"]
        return said["term"] is None and bool(said["leader"])

    await process.until(standing, "it is a standby, and knows who leads")
    leader, _ = await crew.leader()
    told = await process.refused("pause", "etcd")
    assert f"pid {leader.process.pid} at http://127.0.0.1:" in told, told


async def _writes_nothing(crew: Crew, process: Waypost, after: Callable[[], None] = lambda: None) -> None:
    """Give one process alone a reason to write, let it go on, and look at every target's own log."""
    before = await crew.positions()
    crew.declare(process, [*crew.running, "ghost"])
    after()
    await asyncio.sleep(crew.lease + 1)
    assert await crew.positions() == before, "something was written"
    assert not await crew.leading(process)
    crew.declare(process, crew.running)


def teller(kind: str, record: Callable[[str, object], None]) -> Told:
    def tell(what: str, lease: float, took: float) -> None:
        allowed = f"the lease allows it after at most {lease:4.1f} s" if lease else "it is allowed at once"
        record(PROPERTY, f"{kind:6} {what:30} {took:6.2f} s; {allowed}")

    return tell


@pytest.mark.slow
@pytest.mark.server("etcd", "consul", "bind")
@pytest.mark.timeout(240)
async def test_with_etcd_as_elector_another_leads_and_nothing_is_deregistered(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    elector = Etcd(tmp_path / "elector")
    targets = [EtcdTarget(tmp_path / "etcd"), ConsulTarget(tmp_path / "consul"), BindTarget(tmp_path / "bind")]
    tell = teller("etcd", record_property)
    async with crew(
        tmp_path,
        targets,
        elector,
        elector.endpoint,
        "etcd",
        lambda url: {"endpoints": [url], "election": "ha", "ttlSeconds": TTL},
        TTL + 1.0,  # etcd looks twice a second for leases that ran out
    ) as made:
        for scene in SCENES:
            await scene(made, tell)
        await made.nothing_was_deregistered()


@pytest.mark.slow
@pytest.mark.server("etcd", "consul")
@pytest.mark.timeout(240)
async def test_with_consul_as_elector_another_leads_and_nothing_is_deregistered(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    elector = Consul(tmp_path / "elector", settings={"session_ttl_min": "1s"})
    tell = teller("consul", record_property)
    async with crew(
        tmp_path,
        [EtcdTarget(tmp_path / "etcd")],
        elector,
        elector.address,
        "consul",
        lambda url: {"address": url, "election": "ha", "ttlSeconds": TTL - 1},
        2.0 * (TTL - 1),  # Consul ends a session after twice its TTL
    ) as made:
        for scene in SCENES:
            await scene(made, tell)
        await made.nothing_was_deregistered()
