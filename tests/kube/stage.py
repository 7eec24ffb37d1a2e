"""`waypost run --kubernetes` as processes, and an etcd that they publish to: its own log is the proof.

A key's `created` says that it was never deleted in between, its `modified` that it was not written again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from testbed.servers import Etcd
from tests.kube.rig import EVERY, Cluster
from tests.real.process import Waypost
from tests.real_rig import EtcdDriver, Kept
from waypost.kit.clock import LoopClock
from waypost.kit.kubernetes.api import Api, connect
from waypost.kit.kubernetes.errors import ApiError
from waypost.kube.finalizers import FINALIZER
from waypost.settings.schema import NAMES

HOLDS = NAMES["ServiceHold"][0]
PORTS = [{"name": "http", "number": 80}]
MERGE = "application/merge-patch+json"
AT_ONCE = 16
PAGE = 500


class OnKubernetes(Waypost):
    """A process that is asked for by custom resources. `lease` is how many seconds its Lease lasts."""

    def __init__(self, folder: Path, cluster: Cluster, *, kubeconfig: Path | None = None, lease: int = 3) -> None:
        super().__init__(folder)
        self._home = cluster.home
        self._kubeconfig = kubeconfig or cluster.kubeconfig
        self._lease = lease

    def asked_for(self) -> list[str]:
        return [
            *("--kubernetes", "--kubeconfig", str(self._kubeconfig), "--namespace", self._home),
            *("--lease-seconds", str(self._lease)),
        ]

    async def leads(self) -> int:
        """Return the term in which it leads, 0 where it does not, or does not answer."""
        try:
            async with asyncio.timeout(2):
                return int((await self.status())["leadership"]["term"] or 0)
        except (OSError, ValueError, KeyError):
            return 0


class Stage:
    """One test's part of a cluster and of an etcd."""

    def __init__(self, cluster: Cluster, driver: EtcdDriver, api: Api) -> None:
        self.cluster = cluster
        self.driver = driver
        self.api = api  # an admin's, over few connections

    async def declare(self, *, url: str | None = None, **safety: Any) -> None:
        """Declare a source `machines` whose instances registrations write, and a sink `etcd`."""
        await self.cluster.source("machines", type="static")
        more: dict[str, Any] = {"safety": safety} if safety else {}
        config = self.driver.config(url)
        await self.cluster.sink("etcd", type="etcd", ownerID=self.driver.owner(), config=config, **more)

    def registration(self, name: str, instances: Iterable[str] = ("a",), **spec: Any) -> dict[str, Any]:
        """Return a registration of so many machines under its own name."""
        listed = [
            {"id": each, "addresses": [f"10.1.{number // 250}.{number % 250 + 1}"], "ports": PORTS}
            for number, each in enumerate(instances)
        ]
        entry = {"name": "all", "sourceRef": {"name": "machines"}, "instances": listed}
        sinks = [{"name": "etcd", "sinkRef": {"name": "etcd"}}]
        return self.cluster.registration(name, **{"sources": [entry], "sinks": sinks, **spec})

    async def register(self, name: str, instances: Iterable[str] = ("a",), **spec: Any) -> None:
        """Declare it."""
        await self.cluster.put("serviceregistrations", self.registration(name, instances, **spec))

    async def register_many(self, names: Sequence[str], labels: Mapping[str, str] | None = None) -> None:
        """Make all of them, with one machine each."""
        path = self.cluster.path("serviceregistrations", namespace=self.cluster.shop)
        left = iter(names)

        async def some() -> None:
            for name in left:
                made = self.registration(name)
                made["metadata"]["labels"] = dict(labels or {})
                await self.api.request("POST", path, body=json.dumps(made).encode())

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    async def listed(self) -> list[dict[str, Any]]:
        """Return all registrations."""
        found: list[dict[str, Any]] = []
        path = self.cluster.path("serviceregistrations", namespace=self.cluster.shop)
        params = {"limit": str(PAGE)}
        while True:
            page = await self._read(path, params)
            found += page["items"]
            if not (token := page["metadata"].get("continue")):
                return found
            params["continue"] = token

    async def _read(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Read something, also from an API server that has only just begun."""
        while True:
            try:
                return json.loads(await self.api.request("GET", path, params=params))
            except ApiError as error:
                if error.status != 429:
                    raise
            await asyncio.sleep(EVERY)

    async def have_finalizers(self, *names: str) -> bool:
        """Say whether these, or without names all that there are, have Waypost's finalizer."""
        found = {each["metadata"]["name"]: each["metadata"] for each in await self.listed()}
        wanted = names or found
        return all(name in found and FINALIZER in found[name].get("finalizers", ()) for name in wanted)

    async def holds(self, cause: str = "") -> list[dict[str, Any]]:
        """Return the holds that have their set and that nobody has decided."""
        items = (await self._read(self.cluster.path(HOLDS)))["items"]
        whole = [each for each in items if each.get("status", {}).get("pairs") and "decision" not in each["spec"]]
        return [each for each in whole if cause in {"", each["status"]["cause"]}]

    async def approve(self, hold: Mapping[str, Any]) -> None:
        """Decide a hold by what a person would write into it."""
        spec = {"decision": "Approve", "reason": "CHG-4711"}
        await self.cluster.patch(HOLDS, hold["metadata"]["name"], {"spec": spec})

    # --- what etcd says

    async def records(self) -> dict[str, Kept]:
        """Return what is published, by name and instance."""
        return {each.place: each for each in await self.driver.records()}

    async def created(self) -> dict[str, int]:
        """Return the revision that made each record."""
        return {place: each.created for place, each in (await self.records()).items()}

    async def lasted(self, since: Mapping[str, int]) -> set[str]:
        """Return what has been there all the time since `created` said this."""
        return {place for place, revision in (await self.created()).items() if since.get(place) == revision}

    async def removed(self) -> set[str]:
        """Return the names and instances of all that was ever deleted, as etcd's log has it."""
        gone = (event.key.split("/")[-2:] for event in await self.driver.log() if event.value is None)
        return {f"{self.driver.plain(name)}/{instance.partition('@')[0]}" for name, instance in gone}

    async def published(self, places: Iterable[str], process: Waypost, what: str = "", seconds: float = 60.0) -> None:
        """Wait until exactly these are there."""
        wanted = set(places)

        async def there() -> bool:
            return set(await self.records()) == wanted

        await process.until(there, what or f"{sorted(wanted)[:10]} are published", seconds)


@asynccontextmanager
async def stage(cluster: Cluster, etcd: Etcd) -> AsyncIterator[Stage]:
    """Give a stage of which nothing is declared."""
    async with connect(cluster.kube.kubeconfig, clock=LoopClock()) as api:
        yield Stage(cluster, await EtcdDriver.made(etcd), api)
