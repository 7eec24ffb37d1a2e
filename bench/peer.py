"""`peer`: what external-dns' own code takes to write the same records into the same servers, beside Waypost.

Each into a new server: a first sync of `--records` names, an address each; then one name that goes, or comes back, at
a time. External-dns' registry, plan and provider run in a small program of ours (`testbed/servers/go/external-dns`):
its figure is reading, planning and applying, without its source, its interval and its wait after an event. Waypost's is
that of the whole process, from its start or from what Mesos says on, to what somebody who asks the server is told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.cold_sync import IN_FLIGHT, program
from bench.etcd import save
from bench.figures import Figure, Result
from bench.product import Product, Side, master, running, write_manifests
from bench.targets import OWNER, TTL_SECONDS, ZONE, SkyDns, Target, Zone
from bench.tasks import Plain, host
from testbed.cache import program as built
from testbed.install import install_all
from testbed.parts import require

SECONDS = 300.0
CHANGES = 10  # names that go and come back, one after the other
PAUSE_SECONDS = 0.1
TARGETS = (SkyDns, Zone)


class Setting(NamedTuple):
    """A way to run external-dns."""

    name: str
    flags: tuple[str, ...]


TXT = Setting("external-dns, TXT registry", ("--registry=txt",))
CACHED = Setting("external-dns, TXT registry, cached", ("--registry=txt", "--txt-cache-interval=1h"))
BARE = Setting("external-dns, no registry", ("--registry=noop",))  # takes all that is there for its own
STRICT = Setting("external-dns, strictly owned", ("--registry=noop", "--coredns-strictly-owned"))
SETTINGS = {"etcd": (TXT, STRICT, BARE), "BIND": (TXT, BARE)}


class Run(NamedTuple):
    """What one of them took: seconds of the first sync and of each change, and CPU seconds of both."""

    first: float
    changes: list[float]
    first_cpu: float
    change_cpu: float
    parts: str = ""  # of a change: where its time goes

    @property
    def change(self) -> float:
        return statistics.median(self.changes)


async def peer(options: argparse.Namespace) -> Result:
    """One server after the other; of each, all that are compared in turn."""
    for name in ("etcd", "bind"):
        require(name)
    if failed := install_all(["external-dns"]):  # some minutes, the first time
        raise RuntimeError(failed["external-dns"])
    cluster = Plain(options.records, options.records)
    table = [["", "first sync s", "names/s", "CPU s", "one change ms", "CPU ms", "of which ms"]]
    figures: list[Figure] = []
    async with master(cluster) as (player, url):
        with tempfile.TemporaryDirectory(prefix="waypost-bench-") as name:
            for target in TARGETS:
                beside = _Beside(cluster, Path(name) / target.name)
                found = await beside.waypost(target, player, url)
                if target is SkyDns:
                    found |= await beside.raw()
                for setting in SETTINGS[target.name]:
                    found |= await beside.external(target, setting)
                table += [_row(f"{target.name}: {who}", run, cluster.size) for who, run in found.items()]
                figures += _figures(target.name, found)
    return Result(name="peer", command="", figures=figures, table=table)


class _Beside:
    """What both are given, and where a run keeps its files. Each answers who took how long."""

    def __init__(self, cluster: Plain, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        folder.mkdir()
        rows = [(f"{cluster.name(number)}.{ZONE}", host(number), TTL_SECONDS) for number in range(cluster.size)]
        self.desired = folder / "desired.json"
        self.desired.write_text(json.dumps(rows))
        self.batches = folder / "batches"
        self._runs = 0

    def _fresh(self) -> Path:
        self._runs += 1
        return self.folder / str(self._runs)

    async def waypost(self, kind: type[SkyDns | Zone], player: Side, url: str) -> dict[str, Run]:
        async with kind.fresh(self._fresh()) as target:
            config, credentials = target.manifest()
            manifests = write_manifests(
                self._fresh(),
                url,
                target.sink,
                config,
                self.cluster.namespace,
                credentials=credentials,
                not_ready="Withhold",
            )
            async with running(manifests) as product:
                written = await target.written(self.cluster.size, timeout=SECONDS)
                await product.said("settled records=")
                first, cpu = written.last - product.started, product.cpu
                if isinstance(target, SkyDns):
                    save(self.batches, await target.eye.batches())
                run = Run(first, *await self._played(target, product, player, cpu))
        print(f"peer: {kind.name}: Waypost: its writing took {written.last - written.first:.2f} s", flush=True)
        return {"Waypost": run}

    async def _played(
        self, target: Target, product: Product, player: Side, first_cpu: float
    ) -> tuple[list[float], float, float]:
        """Have each change happen in Mesos, and wait until it can be seen."""
        took, before = [], product.cpu
        for _ in range(2 * CHANGES):
            await asyncio.sleep(PAUSE_SECONDS)
            at = time.monotonic() + 0.02
            played = json.loads(await player.ask(json.dumps({"rate": 1, "seconds": 1, "at": at})))
            name = self.cluster.name(self.cluster.event(played["first"]).number)
            while await target.shows(name) != bool(played["first"] % 2):
                if time.monotonic() > at + SECONDS:
                    raise TimeoutError(f"{name} is not as it should be after {SECONDS:.0f} s")
                await asyncio.sleep(0.001)
            took.append(time.monotonic() - at)
        return took, first_cpu, (product.cpu - before) / len(took)

    async def raw(self) -> dict[str, Run]:
        async with SkyDns.fresh(self._fresh()) as target:
            asked = (target.endpoint, self.batches, IN_FLIGHT)
            found = json.loads(await program("bench.programs.raw_etcd", *asked))
        return {"raw client, Waypost's bytes": Run(found["seconds"], [], found["cpu"], 0)}

    async def external(self, kind: type[SkyDns | Zone], setting: Setting) -> dict[str, Run]:
        async with kind.fresh(self._fresh()) as target:
            async with self._program(target, setting) as side:
                first = json.loads(await side.ask(""))
                await self._whole(target)
                changes = [await self._changed(side, at) for at in range(2 * CHANGES)]
            found = {setting.name: _run(first, changes)}
            if setting is TXT:
                async with self._program(target, CACHED) as side:
                    assert _sum(json.loads(await side.ask("")), "create", "update", "delete") == 0
                    found[CACHED.name] = _run(first, [await self._changed(side, at) for at in range(2 * CHANGES)])
            await self._whole(target)
        print(f"peer: {kind.name}: {', '.join(found)}: done", flush=True)
        return found

    @asynccontextmanager
    async def _program(self, target: Target, setting: Setting) -> AsyncIterator[Side]:
        common = (
            f"--domain-filter={ZONE}",
            f"--txt-owner-id={OWNER}",
            "--source=fake",
            "--policy=sync",
            "--log-level=error",
        )
        flags = (*target.flags(), *common, *setting.flags)
        run = (built("external-dns", "external-dns"),)
        side = Side(str(self.desired), *flags, program=run, environment=target.environment())
        try:
            await side.line()
            yield side
        finally:
            side.end()

    async def _changed(self, side: Side, at: int) -> dict[str, Any]:
        """The change that Waypost is given as its at-th."""
        name = self.cluster.name(self.cluster.event(at).number)
        answer: dict[str, Any] = json.loads(await side.ask("" if at % 2 else f"{name}.{ZONE}"))
        assert _sum(answer, "create", "update", "delete") == 1, answer
        return answer

    async def _whole(self, target: Target) -> None:
        there = await target.count()
        assert there == self.cluster.size, f"external-dns wrote {there} of {self.cluster.size}"


def _sum(answer: dict[str, Any], *keys: str) -> float:
    return float(sum(answer[key] for key in keys))


def _run(first: dict[str, Any], changes: Sequence[dict[str, Any]]) -> Run:
    parts = {name: statistics.median(each[name] for each in changes) for name in ("records", "plan", "apply")}
    text = ", ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in parts.items())
    took = [_sum(each, "records", "plan", "apply") for each in changes]
    cpu = statistics.median(each["cpu"] for each in changes)
    return Run(_sum(first, "records", "plan", "apply"), took, first["cpu"], cpu, text)


def _row(who: str, run: Run, size: int) -> list[str]:
    change = [f"{1000 * run.change:.1f}", f"{1000 * run.change_cpu:.1f}"] if run.changes else ["", ""]
    return [who, f"{run.first:.2f}", f"{size / run.first:,.0f}", f"{run.first_cpu:.2f}", *change, run.parts]


def _figures(name: str, found: dict[str, Run]) -> list[Figure]:
    """How many times as fast Waypost is as the fastest setting that leaves others' records alone, and as the bare."""
    owns = {each.name for each in (TXT, CACHED, STRICT)}
    ours, bare = found["Waypost"], found[BARE.name]
    theirs = [run for who, run in found.items() if who in owns]
    first = min(run.first for run in theirs)
    change = min(run.change for run in theirs)
    fast = "times as fast as external-dns"
    return [
        Figure(name=f"first sync, {name}, {fast}", value=first / ours.first, goal=1, sense="least"),
        Figure(name=f"first sync, {name}, {fast} without ownership", value=bare.first / ours.first),
        Figure(name=f"one change, {name}, {fast}", value=change / ours.change, goal=1, sense="least"),
        Figure(name=f"one change, {name}, {fast} without ownership", value=bare.change / ours.change),
    ]
