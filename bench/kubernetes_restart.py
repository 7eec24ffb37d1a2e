"""`kubernetes-restart`: an operator that is started where everything is as it should be, and one edit after that.

Real API server, real etcd for the sink, the operator under its own rights with an empty state folder, as in a new pod.
Beside it the least that anybody could do: the same objects listed in one answer and decoded by msgspec.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.etcd import Eye, fresh_etcd
from bench.figures import Figure, Result
from bench.kubernetes_cluster import LEASES, REGISTRATIONS, Cluster, Counted, asked_for, counted, listed, writes
from bench.product import Product, started
from testbed.servers.kubernetes import Kubernetes
from testbed.web import request
from waypost.cli import state
from waypost.kit.kubernetes.api import Api, connect

EDITS = 20
LOOK_SECONDS = 0.05
READY_SECONDS = 600.0
CALM_SECONDS = 20.0  # for so long nothing more may be written: whatever is likely to pass is waited for for 15 at most
EDIT_CALM_SECONDS = 5.0
BETWEEN_SECONDS = 0.5
TOLD_SECONDS = 10.0  # a list of all is dear


class Start(NamedTuple):
    """Seconds since the process was begun: it listens, has read the manifests, and all is as wanted."""

    listens: float
    read: float
    ready: float


class Edits(NamedTuple):
    """Of one edit: requests (the edit's own and the Lease's left out), milliseconds, milliseconds of CPU."""

    requests: Counted
    latency: float
    cpu: float


class Admin:
    """The admin server of a process."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "state" / state.ADDRESS_FILE

    @property
    def listens(self) -> bool:
        return self._file.exists()

    async def status(self, **query: Any) -> dict[str, Any] | None:
        """What it says of itself; None where it does not listen yet."""
        if not self.listens:
            return None
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        answer = await request("GET", f"{self._file.read_text().strip()}/v1/status?{asked}", timeout=30)
        found: dict[str, Any] = answer.expect().json()
        return found

    async def ready(self) -> int:
        """How many registrations say that they are ready."""
        count, after = 0, ""
        while True:
            found = await self.status(**({"after": after} if after else {}))
            assert found is not None
            for each in found["registrations"]:
                count += any(c["type"] == "Ready" and c["status"] == "True" for c in each["status"]["conditions"])
            if not found.get("after"):
                return count
            after = found["after"]


class Stage:
    """What stays while operators come and go."""

    def __init__(self, cluster: Cluster, api: Api, eye: Eye, folder: Path) -> None:
        self.cluster, self.api, self.eye = cluster, api, eye
        self._folder = folder
        self._runs = 0

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[tuple[Product, Start]]:
        """Begin an operator in a folder of its own, and wait until all are ready."""
        self._runs += 1
        folder = self._folder / f"run-{self._runs}"
        folder.mkdir()
        async with started(folder, *asked_for(self.cluster.kubeconfig)) as product:
            admin = Admin(folder)
            start = await self._ready(product, admin)
            if (ready := await admin.ready()) != self.cluster.size:
                raise RuntimeError(f"it is settled, but {ready} registrations are ready of {self.cluster.size}")
            yield product, start

    async def _ready(self, product: Product, admin: Admin) -> Start:
        """Wait for what its log says: to be asked how it stands, again and again, would cost it a tenth of its time."""
        listens = read = 0.0
        while time.monotonic() - product.started < READY_SECONDS and product.process.poll() is None:
            now, told = time.monotonic() - product.started, product.log.read_text()
            listens = listens or (now if admin.listens else 0.0)
            read = read or (now if f" registrations={self.cluster.size} " in told else 0.0)
            if " settled records=" in told:
                found = await admin.status(limit=1)
                if read and found is not None and found["settled"] and all(sink["loaded"] for sink in found["sinks"]):
                    if (records := found["sinks"][0]["records"]) == self.cluster.size:
                        return Start(listens, read, now)
                    raise RuntimeError(f"it is settled with {records} records")
            await asyncio.sleep(LOOK_SECONDS)
        raise TimeoutError(f"it is not ready; its log ends: {product.log.read_text()[-2000:]}")

    async def calm(self, seconds: float) -> Counted:
        """Wait until nothing was written for so long; what the API server had counted then."""
        before, since = await counted(self.api), time.monotonic()
        while time.monotonic() - since < seconds:
            await asyncio.sleep(1)
            now = await counted(self.api)
            if writes(now - before):
                since = time.monotonic()
            before = now
        return before

    async def all_told(self) -> None:
        """Wait until all objects say that they are ready, in the generation that they have.

        The operator has to run: on a busy machine it may be silent for longer than `calm` waits, and have more to say.
        """
        deadline = time.monotonic() + READY_SECONDS
        while True:
            found = await listed(self.api)
            if (ready := sum(each.ready for each in found)) == self.cluster.size:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{ready} registrations of {len(found)} say in their status that they are ready")
            await asyncio.sleep(TOLD_SECONDS)

    async def raw(self) -> tuple[float, float]:
        """Seconds, and seconds of CPU, of the list alone."""
        began, cpu = time.monotonic(), time.process_time()
        found = await listed(self.api)
        ended = time.monotonic() - began, time.process_time() - cpu
        assert len(found) == self.cluster.size
        return ended

    async def edits(self, product: Product) -> Edits:
        """Edit some registrations, one after the other."""
        before, cpu = await self.calm(EDIT_CALM_SECONDS), product.cpu
        latencies = []
        number = min(EDITS, self.cluster.size)
        for at in range(number):
            revision, began = await self.eye.revision(), time.monotonic()
            await self.cluster.edit(self.api, at)
            while await self.eye.revision() == revision:
                if time.monotonic() - began > 60:
                    raise TimeoutError("an edit did not reach the sink")
                await asyncio.sleep(0.002)
            latencies.append((time.monotonic() - began) * 1000)
            await asyncio.sleep(BETWEEN_SECONDS)
        between = await self.calm(EDIT_CALM_SECONDS) - before
        spent = (product.cpu - cpu) * 1000 / number
        between["PATCH", str(REGISTRATIONS)] -= number
        by_it = Counter({at: count for at, count in between.items() if count > 0 and at[1] not in {LEASES, ""}})
        return Edits(by_it, statistics.median(latencies), spent)


async def kubernetes_restart(options: argparse.Namespace) -> Result:
    """So many registrations of one instance each, restarted some times; then some are edited."""
    starts, raws, restarts, sizes = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as made:
        folder = Path(made)
        async with (
            Kubernetes(folder / "kubernetes", controllers=False) as kube,
            fresh_etcd(folder / "target") as etcd,
            Eye(etcd) as eye,
            connect(kube.kubeconfig) as api,
        ):
            cluster = Cluster(kube, options.instances, etcd.endpoint)
            await cluster.make()
            stage = Stage(cluster, api, eye, folder)
            begun = await counted(api)
            async with stage.operator() as (_, first):
                await stage.calm(CALM_SECONDS)
                await stage.all_told()
                first_writes = writes(await stage.calm(EDIT_CALM_SECONDS) - begun)
            for _ in range(options.rounds):
                raws.append(await stage.raw())
                before, revision = await counted(api), await eye.revision()
                async with stage.operator() as (product, start):
                    starts.append(start)
                    restarts.append((await stage.calm(CALM_SECONDS) - before, await eye.revision() - revision))
                    sizes.append((product.rss, product.peak))
            async with stage.operator() as (product, _):
                edits = await stage.edits(product)
                await stage.all_told()
    written = sum((writes(between) for between, _ in restarts), Counter())
    listens, read, ready = (statistics.median(column) for column in zip(*starts, strict=True))
    raw, raw_cpu = (statistics.median(column) for column in zip(*raws, strict=True))
    rss, peak = (max(column) for column in zip(*sizes, strict=True))
    number = min(EDITS, options.instances)
    told = json.dumps({f"{verb} {resource}": count for (verb, resource), count in sorted(written.items())})
    if written:
        print(f"kubernetes-restart: written by restarts: {told}", flush=True)
    return Result(
        name="kubernetes-restart",
        command="",
        table=_table(restarts[-1][0], edits.requests, first_writes, number),
        figures=[
            Figure(name="a restart, until all are ready", value=ready, unit="s", goal=5),
            Figure(name="… until it listens", value=listens, unit="s"),
            Figure(name="… until the registrations are read", value=read, unit="s"),
            Figure(
                name=f"writes of {options.rounds} restarts, the Lease's left out", value=sum(written.values()), goal=0
            ),
            Figure(name="writes to the sink of a restart", value=max(count for _, count in restarts)),
            Figure(name="raw list of the same objects", value=raw, unit="s"),
            Figure(name="… CPU of it", value=raw_cpu, unit="s"),
            Figure(name="memory", value=rss / 1e6, unit="MB"),
            Figure(name="peak memory", value=peak / 1e6, unit="MB"),
            Figure(name="API requests a change", value=sum(edits.requests.values()) / number),
            Figure(
                name="a change, from before the edit until it is in the sink, median", value=edits.latency, unit="ms"
            ),
            Figure(name="CPU a change", value=edits.cpu, unit="ms"),
            Figure(name="the first start, until all are ready", value=first.ready, unit="s"),
        ],
    )


def _table(restart: Counted, edits: Counted, first: Counted, number: int) -> list[list[str]]:
    """Requests by verb and resource."""
    rows = [["requests", "first start (writes)", "a restart", f"{number} edits"]]
    shown = {at for at in restart if at[1] not in {LEASES, ""}} | set(edits) | set(first)
    ordered = sorted(shown, key=lambda each: (each[1], each[0]))
    return rows + [[" ".join(at), *(f"{of[at]:,}" for of in (first, restart, edits))] for at in ordered]
