"""The source: Services, EndpointSlices and Nodes of a cluster, each followed by an informer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar

import msgspec

from waypost.adapter import Changes, Context, Finding, Snapshot, Source
from waypost.kit.failures import first_of
from waypost.kit.kubernetes.access import Access, from_text, of_process
from waypost.kit.kubernetes.api import Api, connect
from waypost.kit.kubernetes.informer import Handler, Informer, Key, Object
from waypost.kit.kubernetes.resource import Resource
from waypost.kit.pace import Pace
from waypost.kit.problems import Problems
from waypost.kit.reach import tried
from waypost_adapters.kubernetes.source_config import SourceConfig
from waypost_adapters.kubernetes.source_services import Node, ServiceRow
from waypost_adapters.kubernetes.source_slices import Slice
from waypost_adapters.kubernetes.source_view import View

__all__ = ["KubernetesSource", "open_source"]

T = TypeVar("T", bound=Object)

READ_SECONDS = 10.0


class Fed(Handler[T], Generic[T]):
    """Puts the objects of one informer into the view; a list after the first makes the whole be told again."""

    def __init__(
        self, kind: str, watch: Watch, put: Callable[[T], None], drop: Callable[[T], None], *, tells: bool
    ) -> None:
        self.listed = asyncio.Event()
        self._kind, self._watch = kind, watch
        self._put, self._drop, self._tells = put, drop, tells

    async def replaced(self, objects: Mapping[Key, T], gone: Sequence[T]) -> None:
        watch = self._watch
        async with watch.taking():
            for last in gone:
                with watch.muted():
                    self._drop(last)
                await watch.pace.breathe()
            for now in list(objects.values()):
                with watch.muted():
                    self._put(now)
                await watch.pace.breathe()
        self.listed.set()

    def put(self, now: T, before: T | None) -> None:
        self._put(now)

    def deleted(self, last: T) -> None:
        self._drop(last)

    def alive(self) -> None:
        if self._tells:
            self._watch.out.current()

    def unreadable(self, key: Key, reason: str) -> None:
        self._watch.view.unreadable(self._kind, key, reason)


class Watch:
    """One call of `watch`: a view, and the informers that fill it. Facts are told once the first lists are."""

    def __init__(self, config: SourceConfig, context: Context, problems: Problems, api: Api, out: Changes) -> None:
        self.out = out
        self.view = View(context.name, config, problems, out)
        self.pace = Pace(context.clock)
        self._api, self._config = api, config
        self._lists = asyncio.Lock()
        self._opened = False

    async def run(self) -> None:
        """List all, then follow. Raises a group of what failed."""
        async with asyncio.TaskGroup() as group:
            async with self.out.snapshot() as snapshot:
                self.view.hold()
                for following, listed in self._informers():
                    group.create_task(following)
                    await listed.wait()  # one after the other: where one is refused, the larger is not read
                async with self._lists:
                    await self._tell(snapshot)
                    self._opened = True
            self.view.release()

    @contextmanager
    def muted(self) -> Iterator[None]:
        """What changes within is told by the complete view that follows."""
        self.view.muted = True
        try:
            yield
        finally:
            self.view.muted = False

    @asynccontextmanager
    async def taking(self) -> AsyncIterator[None]:
        """Take a list in. After the first ones a complete view follows: what a list lacks is absent, not known gone."""
        async with self._lists:
            if not self._opened:
                yield
                return
            self.view.hold()
            yield
            async with self.out.snapshot() as snapshot:
                await self._tell(snapshot)
            self.view.release()

    async def _tell(self, snapshot: Snapshot) -> None:
        for group in self.view.shown():
            if group.shown:
                snapshot.put(self.view.whole(group))
            await self.pace.breathe()

    def _informers(self) -> Iterator[tuple[Coroutine[Any, Any, None], asyncio.Event]]:
        view = self.view
        if self._config.nodes:
            nodes = Fed[Node]("Node", self, view.put_node, view.drop_node, tells=False)
            yield Informer(self._api, Resource("", "v1", "nodes"), Node).follow(nodes), nodes.listed
        for namespace in self._config.namespaces or (None,):
            services = Fed[ServiceRow]("Service", self, view.put_service, view.drop_service, tells=False)
            of = Resource("", "v1", "services", namespace)
            yield Informer(self._api, of, ServiceRow).follow(services), services.listed
        for namespace in self._config.namespaces or (None,):
            slices = Fed[Slice]("EndpointSlice", self, view.put_slice, view.drop_slice, tells=True)
            of = Resource("discovery.k8s.io", "v1", "endpointslices", namespace)
            yield Informer(self._api, of, Slice.of, decode_in=Slice).follow(slices), slices.listed


class KubernetesSource:
    """Connects anew in each watch: a kubeconfig that has changed may lead to another cluster."""

    def __init__(self, config: SourceConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._problems = Problems(context.log, context.metrics, "kubernetes_problems_total")

    async def watch(self, out: Changes) -> None:
        try:
            async with self._connected() as api, asyncio.TaskGroup() as group:
                group.create_task(self._renewed(api), name=f"{self._context.name}: credentials")
                await Watch(self._config, self._context, self._problems, api, out).run()
        except BaseExceptionGroup as group:
            raise first_of(group) from None

    async def _renewed(self, api: Api) -> None:
        """Use new credentials once they are there. Raises AdapterError where they lead to another server."""
        while True:
            await self._context.credentials.changed()
            await api.renew()

    async def examine(self) -> Sequence[Finding]:
        async with self._connected() as api:
            found = [await tried("connect", _version(api))]
            if found[0].status == "ok":
                found += [await tried(f"read {each}", _read(api, each)) for each in _resources(self._config)]
            return found

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Api]:
        context = self._context
        async with connect(access=self._access, clock=context.clock, chance=context.random) as api:
            yield api

    def _access(self) -> Access:
        given = self._context.credentials.get("kubeconfig")
        if given is not None:
            return from_text(given, self._config.context)
        return of_process(context=self._config.context or None)


def _resources(config: SourceConfig) -> Iterator[Resource]:
    if config.nodes:
        yield Resource("", "v1", "nodes")
    for namespace in config.namespaces or (None,):
        yield Resource("", "v1", "services", namespace)
        yield Resource("discovery.k8s.io", "v1", "endpointslices", namespace)


async def _version(api: Api) -> str:
    body = await api.request("GET", "/version", seconds=READ_SECONDS)
    return f"{api.server}: Kubernetes {msgspec.json.decode(body, type=Version).git_version}"


async def _read(api: Api, resource: Resource) -> str:
    await api.request("GET", resource.path(), params={"limit": "1"}, seconds=READ_SECONDS)
    return f"may list {resource}"


class Version(msgspec.Struct, rename="camel"):
    """What `/version` says."""

    git_version: str = ""


@asynccontextmanager
async def open_source(config: SourceConfig, context: Context) -> AsyncIterator[Source]:
    """Open the source; connects when it watches."""
    yield KubernetesSource(config, context)
