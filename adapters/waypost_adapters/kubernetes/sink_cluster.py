"""Requests to the API server, for this sink: Services, EndpointSlices, stamps, and what is asked without being done.

Nothing is created over what is there (POST), nor changed or deleted but in the version that was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Self

import msgspec

from waypost.adapter import AdapterError, Context
from waypost.kit.answers import Unanswered
from waypost.kit.kubernetes.access import Access
from waypost.kit.kubernetes.api import Api, connect
from waypost.kit.kubernetes.errors import ApiError
from waypost.kit.kubernetes.resource import Resource
from waypost_adapters.kubernetes.sink_objects import MANAGER, OWNER, SERVICE_NAME, Meta
from waypost_adapters.kubernetes.sink_stamp import STAMP, Stamp, read, stamp_name

__all__ = ["CONFIG_MAPS", "SERVICES", "SLICES", "Cluster", "Entry", "is_denied", "is_uncertain"]

SERVICES = Resource("", "v1", "services")
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices")
CONFIG_MAPS = Resource("", "v1", "configmaps")
NODES = Resource("", "v1", "nodes")
SERVICE_CIDRS = Resource("networking.k8s.io", "v1", "servicecidrs")
AT_ONCE = 12  # writes
PAGE = 50  # a slice of a hundred endpoints has some 25 kB
POLICY = "waypost-fence"


class _ListMeta(msgspec.Struct, rename={"token": "continue"}):
    token: str = ""


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _CidrSpec(msgspec.Struct, rename="camel"):
    cidrs: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")


class _Cidrs(msgspec.Struct):
    spec: _CidrSpec = msgspec.field(default_factory=_CidrSpec)


_page = msgspec.json.Decoder(_Page).decode
_cidrs = msgspec.json.Decoder(_Cidrs).decode


def is_uncertain(error: AdapterError) -> bool:
    """Whether it is not known if what was asked is done."""
    return isinstance(error, Unanswered) or (isinstance(error, ApiError) and error.status in {500, 504})


def is_denied(error: AdapterError) -> bool:
    """Whether the admission policy refused it."""
    return isinstance(error, ApiError) and error.status in {403, 422} and POLICY in error.message


class Entry:
    """The way in, sought when it is first needed: a sink opens, and renders, where there is none yet."""

    def __init__(self, access: Callable[[], Access], context: Context) -> None:
        self._access = access
        self._context = context
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._api: Api | None = None

    async def api(self) -> Api:
        """Return the API. Raises AdapterError where no way in can be read."""
        if self._api is None:
            async with self._lock:
                if self._api is None:
                    context = self._context
                    connecting = connect(access=self._access, clock=context.clock, chance=context.random)
                    self._api = await self._stack.enter_async_context(connecting)
        return self._api

    async def __aenter__(self) -> Self:
        """Connect to nothing."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close what was opened."""
        await self._stack.aclose()


class Cluster:
    """One API server, asked within a time-out."""

    def __init__(self, entry: Entry, owner: str, seconds: float) -> None:
        self._entry = entry
        self._owner = owner
        self._seconds = seconds
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def get(self, resource: Resource, namespace: str, name: str) -> bytes | None:
        """Return an object; None where it is not there."""
        try:
            return await self._request("GET", resource.path(name, namespace=namespace))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def pages(self, resource: Resource, namespace: str, selector: str = "") -> AsyncIterator[list[msgspec.Raw]]:
        """Yield the objects of a collection, of one version. Raises AdapterError where it is not complete."""
        params = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        path = resource.path(namespace=namespace) if namespace else resource.path()
        while True:
            body = await self._request("GET", path, params)
            try:
                page = _page(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise AdapterError(f"GET {path}: the answer is no list of the API: {error}") from None
            yield page.items or []
            if not page.metadata.token:
                return
            params = {**params, "continue": page.metadata.token}

    def ours(self, resource: Resource, namespace: str) -> AsyncIterator[list[msgspec.Raw]]:
        """Yield the objects that say that they are this owner's."""
        return self.pages(resource, namespace, f"{OWNER}={self._owner}")

    def slices_of(self, namespace: str, service: str) -> AsyncIterator[list[msgspec.Raw]]:
        """Yield all slices of a Service, whoever's they are."""
        return self.pages(SLICES, namespace, f"{SERVICE_NAME}={service}")

    # --- writing

    async def create(self, resource: Resource, namespace: str, body: bytes, *, dry: bool = False) -> bytes:
        """Create what is not there, and return it; ApiError 409 where it is, 404 where the namespace is not."""
        return await self._write("POST", resource.path(namespace=namespace), body, dry=dry)

    async def update(self, resource: Resource, namespace: str, name: str, body: bytes) -> bytes:
        """Change what is there in the version that the body names, and return it; ApiError 409: another, 404: gone."""
        return await self._write("PUT", resource.path(name, namespace=namespace), body)

    async def delete(self, resource: Resource, namespace: str, meta: Meta) -> None:
        """Delete what is there as it was read; ApiError 409 where it is otherwise, 404 gone."""
        body = msgspec.json.encode(
            {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version},
                "propagationPolicy": "Background",
            }
        )
        async with self._gate:
            await self._request("DELETE", resource.path(meta.name, namespace=namespace), body=body)

    async def _write(self, method: str, path: str, body: bytes, *, dry: bool = False) -> bytes:
        params: Mapping[str, str] = {"fieldManager": MANAGER} | ({"dryRun": "All"} if dry else {})
        async with self._gate:
            return await self._request(method, path, params, body)

    async def _request(
        self, method: str, path: str, params: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> bytes:
        api = await self._entry.api()
        return await api.request(method, path, params=params, body=body, seconds=self._seconds)

    # --- stamps

    async def stamp(self, namespace: str) -> Stamp | None:
        """Return this owner's stamp in a namespace."""
        raw = await self.get(CONFIG_MAPS, namespace, stamp_name(self._owner))
        return None if raw is None else read(raw)

    async def stamps(self, namespace: str) -> list[Stamp]:
        """Return all owners' stamps in a namespace."""
        return [read(raw) async for page in self.pages(CONFIG_MAPS, namespace, STAMP) for raw in page]

    # --- the cluster's own networks

    async def networks(self) -> tuple[list[str], list[str]]:
        """Return the networks of Services and Pods, and what could not be asked."""
        found: list[str] = []
        unknown: list[str] = []
        for resource in (SERVICE_CIDRS, NODES):
            try:
                async for page in self.pages(resource, ""):
                    for raw in page:
                        spec = _cidrs(raw).spec
                        found += (*spec.cidrs, *spec.pod_cidrs)
            except ApiError as error:
                if error.status not in {403, 404}:
                    raise
                unknown.append(f"{resource} ({error.status} {error.reason})")
        return found, unknown
