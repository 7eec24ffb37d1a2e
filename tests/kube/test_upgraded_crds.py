"""CRDs are upgraded under a Waypost that works, and rolled back: what runs is followed meanwhile, nothing is lost."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from testbed.ports import free_port
from testbed.servers import Etcd
from testbed.web import request
from tests.kube.rig import CRDS, Cluster, until
from tests.kube.stage import MERGE, OnKubernetes, Stage, stage
from waypost.adapter import AdapterError
from waypost.settings.schema import NAMES

pytestmark = [pytest.mark.server("kube", "etcd"), pytest.mark.timeout(300)]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
EDITED = [f"s{number}" for number in range(4)]
PACE_SECONDS = 0.05

Definition = dict[str, Any]


def _words(crd: Definition) -> None:
    (version,) = crd["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["description"] = "In other words."
    version["additionalPrinterColumns"].append({"name": "UID", "type": "string", "jsonPath": ".metadata.uid"})


def _field(crd: Definition) -> None:
    (version,) = crd["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["motto"] = {"type": "string"}


def _served(crd: Definition) -> None:
    (version,) = crd["spec"]["versions"]
    crd["spec"]["versions"].append({**copy.deepcopy(version), "name": "v1alpha2", "storage": False})


def _stored(crd: Definition) -> None:
    for version in crd["spec"]["versions"]:
        version["storage"] = not version["storage"]


STEPS: list[tuple[str, Callable[[Definition], None]]] = [
    ("words and a column", _words),
    ("a field", _field),
    ("another version is served", _served),
    ("the other version is stored", _stored),
    ("the first is stored again", _stored),
]


class Load:
    """Registrations are edited, and instances come and go where clients register them; what was taken away is known."""

    def __init__(self, made: Stage, registry: str) -> None:
        self._made = made
        self._registry = registry
        self.wanted: dict[str, set[str]] = {}
        self.taken: set[str] = set()
        self.rounds = 0
        self.ends = False

    async def declare(self) -> None:
        """Declare what is changed, and by whom it is read."""
        grants = [{"namespaces": [self._made.cluster.shop]}]
        config = {"listen": self._registry, "anonymousWrites": True}
        await self._made.cluster.source("clients", type="registry", config=config, grants=grants)
        entry = {"name": "all", "sourceRef": {"name": "clients"}, "service": {"name": "live"}}
        await self._made.register("live", sources=[entry])
        for name in EDITED:
            await self._made.register(name, ["base"])
            self.wanted[name] = {"base"}
        self.wanted["live"] = set()

    def places(self) -> set[str]:
        """Return what is to be published now."""
        return {f"{name}/{each}" for name, instances in self.wanted.items() for each in instances}

    async def run(self) -> None:
        """Change one after the other until told to end."""
        while not self.ends:
            self.rounds += 1
            await self._edit(EDITED[self.rounds % len(EDITED)], f"e{self.rounds}")
            await self._replace()
            await asyncio.sleep(PACE_SECONDS)

    async def _edit(self, name: str, instance: str) -> None:
        gone = self.wanted[name] - {"base"}
        self.taken |= {f"{name}/{each}" for each in gone}
        self.wanted[name] = {"base", instance}
        body = msgspec.json.encode({"spec": self._made.registration(name, ["base", instance])["spec"]})
        path = self._made.cluster.path("serviceregistrations", name, self._made.cluster.shop)
        while True:
            with suppress(AdapterError):  # the API server may refuse for a moment what it is being taught
                await self._made.api.request("PATCH", path, body=body, content_type=MERGE)
                return
            await asyncio.sleep(PACE_SECONDS)

    async def _replace(self) -> None:
        """Let a client register, and another, if there are some, go."""
        url = f"http://{self._registry}/services/live"
        body = {"Host": f"10.9.{self.rounds // 250}.{self.rounds % 250 + 1}", "Port": "80"}
        made = (await request("POST", url, body)).expect(201).json()["ID"]
        self.wanted["live"].add(made)
        if len(self.wanted["live"]) > 3:
            gone = min(self.wanted["live"] - {made})
            self.wanted["live"].discard(gone)
            self.taken.add(f"live/{gone}")
            (await request("DELETE", f"{url}/{gone}")).expect(204)


async def test_crds_that_are_upgraded_and_rolled_back_under_load_lose_nothing(
    own: Cluster, etcd: Etcd, tmp_path: Path
) -> None:
    crds = [each for path in sorted(CRDS.glob("waypost.dev_*")) for each in yaml.safe_load_all(path.read_text())]
    async with stage(own, etcd) as made, OnKubernetes(tmp_path / "a", own, lease=10) as process:
        await made.declare()
        load = Load(made, f"127.0.0.1:{free_port()}")
        await load.declare()
        for number in range(len(STEPS)):
            await made.register(f"gone{number}")
        await process.start()
        base = {*(f"{name}/base" for name in EDITED), *(f"gone{number}/a" for number in range(len(STEPS)))}
        await made.published(base, process)
        first = await made.created()
        working = asyncio.create_task(load.run())
        try:
            for number, (_what, change) in enumerate(STEPS):
                for crd in crds:
                    change(crd)
                await own.kube.apply(*crds)
                await _goes_on(made, process, number)
                await asyncio.to_thread(
                    own.kube.kubectl, "annotate", "sreg", "-A", "--all", "--overwrite", f"step={number}"
                )
        finally:
            load.ends = True
            await working
        assert load.rounds > len(STEPS)
        marks = {f"mark/m{number}" for number in range(len(STEPS))}
        await made.published(load.places() | marks, process, "all is as it was asked for last")
        assert await made.removed() <= load.taken | {f"gone{number}/a" for number in range(len(STEPS))}
        assert {f"{name}/base" for name in EDITED} <= await made.lasted(first)
        assert not await made.holds()
    await _without_crds(own)


async def _goes_on(made: Stage, process: OnKubernetes, number: int) -> None:
    """See that what is declared and deleted now is heard."""
    await made.register("mark", [f"m{each}" for each in range(number + 1)])
    await made.cluster.delete("serviceregistrations", f"gone{number}", made.cluster.shop)

    async def done() -> bool:
        there = await made.records()
        return f"mark/m{number}" in there and f"gone{number}/a" not in there

    await process.until(done, f"what is asked for after step {number} is done", 60)
    await process.until(partial(_object_is_gone, made, f"gone{number}"), "and the object goes", 60)


async def _object_is_gone(made: Stage, name: str) -> bool:
    return await made.cluster.get("serviceregistrations", name, made.cluster.shop) is None


async def _without_crds(own: Cluster) -> None:
    """Delete the CRDs: of a version that was stored once, they cannot be rid in another way."""
    await own.clear()
    for plural, _ in NAMES.values():
        await own.kube.call("DELETE", f"{DEFINITIONS}/{plural}.waypost.dev")

    async def gone(plural: str) -> bool:
        return (await own.kube.api.call("GET", f"{DEFINITIONS}/{plural}.waypost.dev")).status == 404

    for plural, _ in NAMES.values():
        await until(partial(gone, plural), f"{plural} is gone")
