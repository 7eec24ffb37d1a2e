"""What a Waypost does that leaves a cluster: stops its pods, reads what is asked for, lets registrations wait no more.

Nothing here writes to a sink.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import msgspec

from waypost.adapter import AdapterError, Clock
from waypost.kit.kubernetes.api import Api
from waypost.kit.kubernetes.errors import ApiError
from waypost.kit.kubernetes.resource import Resource
from waypost.kube.book import Book
from waypost.kube.crds import Definitions, resource_of
from waypost.kube.feed import ResourceFeed
from waypost.kube.finalizers import FINALIZER
from waypost.kube.objects import Item
from waypost.kube.secrets import KubernetesCredentials, SecretStore
from waypost.settings import Credential, ServiceRegistration, Settings, Types

__all__ = ["Asked", "asked_for", "none_registered", "stop", "take_finalizers_off"]

REQUEST_SECONDS = 15.0
LOOK_SECONDS = 0.25
READ_SECONDS = 30.0
AT_ONCE = 16
MERGE = "application/merge-patch+json"

log = logging.getLogger("waypost.kube.leaving")


class _ScaleStatus(msgspec.Struct, frozen=True):
    replicas: int = 0


class _Scale(msgspec.Struct, frozen=True):
    status: _ScaleStatus = _ScaleStatus()


async def stop(api: Api, namespace: str, deployment: str, clock: Clock) -> None:
    """Scale a Deployment to none and return when its pods have gone; at once where it is not there.

    Raises AdapterError.
    """
    path = f"{Resource('apps', 'v1', 'deployments', namespace).path(deployment)}/scale"
    body = msgspec.json.encode({"spec": {"replicas": 0}})
    try:
        await api.request("PATCH", path, body=body, content_type=MERGE, seconds=REQUEST_SECONDS)
        while msgspec.json.decode(await api.request("GET", path), type=_Scale).status.replicas:
            await clock.sleep(LOOK_SECONDS)
    except ApiError as error:
        if error.status != 404:
            raise


class Asked(msgspec.Struct, frozen=True):
    """What custom resources ask for, how the credentials that they name are found, and the objects as they are now."""

    settings: Settings
    credentials: Callable[[Iterable[Credential]], KubernetesCredentials]
    book: Book


@asynccontextmanager
async def asked_for(
    api: Api, types: Types, home: str, clock: Clock, *, registrations_alone: bool = False
) -> AsyncIterator[Asked]:
    """Give what is asked for now; its Secrets and objects are followed while the block runs.

    Raises AdapterError where a kind, or the Secrets, cannot be read: nobody leaves by half of what is asked for.
    `registrations_alone`: nothing else matters, for nobody is to write to a sink.
    """
    store, feed = SecretStore(api, home), ResourceFeed(api, types, home, clock)
    first: asyncio.Future[Settings] = asyncio.get_running_loop().create_future()

    def put(settings: Settings) -> None:
        if not first.done():
            first.set_result(settings)

    tasks = [asyncio.ensure_future(store.run()), asyncio.ensure_future(feed.watch(put))]
    try:
        try:
            async with asyncio.timeout(READ_SECONDS):
                settings = await first
                if not registrations_alone:
                    await store.listed.wait()
        except TimeoutError:
            raise AdapterError(f"what is asked for cannot be read: {_why(store, feed)}") from None
        if ServiceRegistration.kind in feed.failures or (feed.failures and not registrations_alone):
            raise AdapterError(f"what is asked for cannot be read: {_why(store, feed)}")
        yield Asked(settings, lambda named: KubernetesCredentials(store, named), feed.book)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _why(store: SecretStore, feed: ResourceFeed) -> str:
    return "; ".join(filter(None, (*feed.failures.values(), store.failure))) or "it took too long"


async def none_registered(api: Api) -> bool:
    """Say whether there can be no registration, for their CRD has gone already. Raises AdapterError."""
    return await Definitions(api).absent(ServiceRegistration.kind)


async def take_finalizers_off(api: Api, book: Book, clock: Clock) -> int:
    """Take Waypost's finalizer off every registration and return off how many. Raises AdapterError."""
    room, done = asyncio.Semaphore(AT_ONCE), set[str]()

    async def one(item: Item) -> None:
        meta = item.metadata
        finalizers = [each for each in meta.finalizers if each != FINALIZER]
        body = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}}
        path = resource_of(ServiceRegistration.kind).path(meta.name, namespace=meta.namespace)
        async with room:
            try:
                await api.request(
                    "PATCH", path, body=msgspec.json.encode(body), content_type=MERGE, seconds=REQUEST_SECONDS
                )
            except ApiError as error:
                if error.status == 409:
                    return  # somebody has changed it: again, once that is known here
                if error.status != 404:
                    raise
            done.add(meta.uid)

    while left := [item for item in book.items[ServiceRegistration.kind].values() if _bound(item, done)]:
        async with asyncio.TaskGroup() as group:
            for item in left:
                group.create_task(one(item))
        await clock.sleep(LOOK_SECONDS)
    return len(done)


def _bound(item: Item, done: set[str]) -> bool:
    return FINALIZER in item.metadata.finalizers and item.metadata.uid not in done
