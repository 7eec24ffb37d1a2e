"""Two processes on one cluster, one leads by the Lease: what becomes of the records when it ends, hangs or is cut off.

The proof is etcd's own: a key's `create_revision` says that it was never deleted in between.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from testbed.proxy import Proxy
from testbed.servers import Etcd
from tests.kube.rig import Cluster, always, until
from tests.kube.stage import OnKubernetes

SECONDS = 3
LATE_SECONDS = 30.0  # of a busy machine; what is measured is printed
PORTS = [{"name": "http", "number": 80}]


class Pair:
    """Two processes, an etcd that they publish to, and a registration that grows."""

    def __init__(self, cluster: Cluster, etcd: Etcd, folder: Path, token: str) -> None:
        self.cluster = cluster
        self.ways = [Proxy(cluster.kube.url) for _ in "ab"]  # of each to the API server
        self.etcd = etcd
        self.prefix = f"/waypost/{cluster.home}"
        self.processes = [
            OnKubernetes(
                folder / name,
                cluster,
                kubeconfig=cluster.kube.write_kubeconfig(
                    f"{cluster.home}-{name}", token, server=f"https://127.0.0.1:{way.port}"
                ),
                lease=SECONDS,
            )
            for name, way in zip("ab", self.ways, strict=True)
        ]
        self.instances: list[str] = []

    def way(self, process: OnKubernetes) -> Proxy:
        """Return a process's way to the API server."""
        return self.ways[self.processes.index(process)]

    async def declare(self) -> None:
        await self.cluster.source("machines", type="static")
        config = {"endpoints": [self.etcd.endpoint], "layout": "json", "prefix": self.prefix}
        await self.cluster.sink("etcd", type="etcd", ownerID=self.cluster.home, config=config)
        await self.one_more()

    async def one_more(self) -> None:
        self.instances.append(f"i{len(self.instances)}")
        listed = [
            {"id": each, "addresses": [f"10.1.0.{n + 1}"], "ports": PORTS} for n, each in enumerate(self.instances)
        ]
        entry = {"name": "all", "sourceRef": {"name": "machines"}, "service": {"name": "web"}, "instances": listed}
        await self.cluster.register("web", sources=[entry], sinks=[{"name": "etcd", "sinkRef": {"name": "etcd"}}])

    async def records(self) -> dict[str, int]:
        """Return the records' keys, each with the revision that created it."""
        found = await self.etcd.call("kv/range", {"key": _b64(self.prefix + "/"), "range_end": _b64(self.prefix + "0")})
        kept = {_text(each["key"]): int(each["create_revision"]) for each in found.get("kvs", [])}
        return {key: created for key, created in kept.items() if "/.waypost/" not in key}

    async def published(self) -> None:
        async def there() -> bool:
            return len(await self.records()) == len(self.instances)

        told = [each.told()[-1500:] for each in self.processes if each.log.exists()]
        await until(there, f"{self.instances} are published; {told}")

    async def leader(self) -> tuple[OnKubernetes, OnKubernetes]:
        async def led() -> list[OnKubernetes]:
            return [each for each in self.processes if each.alive and await each.leads()]

        (found,) = await until(led, "one leads")
        return found, next(each for each in self.processes if each is not found)

    async def failover(self, strike: Callable[[OnKubernetes], Awaitable[None]]) -> tuple[OnKubernetes, float]:
        """Strike the leader; return it, and the seconds until what was declared then is published."""
        former, other = await self.leader()
        term = await former.leads()
        began = time.monotonic()
        await strike(former)
        await self.one_more()

        async def taken() -> bool:
            return await other.leads() > term

        await other.until(taken, "the standby leads", SECONDS + LATE_SECONDS)
        await self.published()
        return former, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_another_leads_and_nothing_is_deregistered(
    cluster: Cluster, etcd: Etcd, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    def told(line: str) -> None:
        record_property("failover", line)
        print(line)

    pair = Pair(cluster, etcd, tmp_path, await cluster.kube.token(cluster.home, "waypost"))
    await pair.declare()
    async with AsyncExitStack() as stack:
        for way in pair.ways:
            await stack.enter_async_context(way)
        for each in pair.processes:
            await stack.enter_async_context(each)
            await each.start()
        await pair.published()
        first = await pair.records()

        former, took = await pair.failover(lambda leader: leader.stop())
        told(f"Lease  SIGTERM {took:26.2f} s; it is allowed at once")
        await former.start()
        former, took = await pair.failover(lambda leader: leader.kill9())
        told(f"Lease  kill -9 {took:26.2f} s; the lease allows it after at most {SECONDS} s")
        await former.start()

        former, took = await pair.failover(lambda leader: pair.way(leader).hang())
        told(f"Lease  cut off {took:26.2f} s; the lease allows it after at most {SECONDS} s")
        await _waits_for_its_turn(pair, former)

        async def pause(leader: OnKubernetes) -> None:
            leader.pause()

        former, took = await pair.failover(pause)
        told(f"Lease  SIGSTOP {took:26.2f} s; the lease allows it after at most {SECONDS} s")
        await _is_quiet(pair, former)
        now = await pair.records()
        assert {key: now[key] for key in first} == first, "a record was deleted in between"


async def _waits_for_its_turn(pair: Pair, former: OnKubernetes) -> None:
    """Leave the one that is cut off alone with its target: what is lost there it puts back once it leads again."""
    other = next(each for each in pair.processes if each is not former)
    await other.kill9()
    assert not await former.leads()
    before = await pair.records()
    lost = max(before, key=lambda key: before[key])
    await pair.etcd.delete(lost)
    await always(lambda: _lacks(pair, lost), SECONDS + 2.0, "it does not write")
    await pair.way(former).heal()
    await pair.published()
    assert await former.leads()
    await other.start()


async def _lacks(pair: Pair, key: str) -> bool:
    return key not in await pair.records()


async def _is_quiet(pair: Pair, former: OnKubernetes) -> None:
    """Wake the paused leader; see that it writes neither into the target nor a status."""
    await until(pair.cluster.ready, "the registration says that it is ready")
    await asyncio.sleep(2)
    records, written = await pair.records(), await _version(pair)
    former.resume()
    await asyncio.sleep(SECONDS + 1)
    assert await pair.records() == records
    assert await _version(pair) == written
    assert not await former.leads()


async def _version(pair: Pair) -> Any:
    found = await pair.cluster.get("serviceregistrations", "web", pair.cluster.shop)
    return found["metadata"]["resourceVersion"] if found is not None else None


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
