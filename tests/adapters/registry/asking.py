"""How tests ask a registry: with urllib, a client that nobody here wrote; and what they publish into it."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from waypost.adapter import Change, Fence, Record
from waypost.kit.shared import Shared
from waypost.model import (
    Address,
    Port,
    Publication,
    PublicationKey,
    PublishedInstance,
    PublishedName,
    ServiceKey,
    Strategy,
)
from waypost.testing.context import TestContext
from waypost_adapters.registry.config import Config
from waypost_adapters.registry.sink import RegistrySink, open_sink
from waypost_adapters.registry.source import RegistrySource, open_source


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    url: str,
    method: str,
    path: str,
    body: object = None,
    token: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request and return what came, errors too."""
    request = urllib.request.Request(url + path, method=method, headers=headers or {})
    if body is not None:
        request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")

    def send() -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, dict(refused.headers), refused.read())

    return await asyncio.to_thread(send)


def publication(
    *names: str | PublishedName,
    strategy: Strategy = "Ordered",
    namespace: str = "shop",
    environment: str = "prod",
    source: str = "mesos",
    owner: str = "owner-a",
) -> Publication:
    published = tuple(PublishedName(name) if isinstance(name, str) else name for name in names or ("web",))
    key = PublicationKey(f"{namespace}/web", "main", ServiceKey(source, "shop", "web"))
    return Publication(key, published, environment, owner, strategy=strategy)


def instance(
    id: str,
    address: str = "10.0.0.1",
    *,
    ready: bool = True,
    weight: int = 1,
    zone: str = "",
    **metadata: str,
) -> PublishedInstance:
    ports = (Port(8080, "http"), Port(9090, "admin"))
    return PublishedInstance(id, (Address(address),), ports, ready=ready, weight=weight, zone=zone, metadata=metadata)


class Server:
    """An opened registry: its sink with a fence, its source where there is one."""

    def __init__(self, sink: RegistrySink, fence: Fence, source: RegistrySource | None) -> None:
        self.sink = sink
        self.fence = fence
        self.source = source
        self.url = sink.registry.serving.url

    async def get(self, path: str, **headers: str) -> Answer:
        return await ask(self.url, "GET", path, headers=headers)

    async def ids(self, path: str) -> list[str]:
        answer = await self.get(path)
        assert answer.status == 200, answer
        return [one["ID"] for one in answer.json["Instances"]]

    async def publish(self, published: Publication, *instances: PublishedInstance) -> list[Record]:
        records = [item for item in self.sink.render(published, instances) if isinstance(item, Record)]
        assert records
        for at in range(0, len(records), 256):
            outcomes = await self.sink.apply([Change(one.key, one) for one in records[at : at + 256]], self.fence)
            assert {outcome.status for outcome in outcomes.values()} == {"applied"}
        return records

    async def withdraw(self, *records: Record) -> None:
        outcomes = await self.sink.apply([Change(record.key) for record in records], self.fence)
        assert {outcome.status for outcome in outcomes.values()} == {"applied"}


Opened = Callable[..., AbstractAsyncContextManager[Server]]


@asynccontextmanager
async def open_server(
    folder: Path, *, claim: bool = True, source: bool = False, anonymous: bool = False, token: str | None = "tok"
) -> AsyncIterator[Server]:
    """Open the sink, and the source where asked, on folders that stay."""
    shared = Shared()
    config = Config(listen="127.0.0.1:0", anonymous_writes=anonymous)
    credentials = {"token": token} if token else {}
    for part in ("sink", "source"):
        (folder / part).mkdir(exist_ok=True)
    into = TestContext(folder / "sink", name="registry", owner="owner-a", environment="prod", shared=shared)
    out = TestContext(folder / "source", name="registry", environment="prod", shared=shared, credentials=credentials)
    async with open_sink(config, into) as sink:
        fence = await sink.claim("prod", "owner-a") if claim else None
        await sink.loaded.wait()
        if not source:
            yield Server(sink, fence or Fence(0), None)
            return
        async with open_source(config, out) as opened:
            yield Server(sink, fence or Fence(0), opened)
