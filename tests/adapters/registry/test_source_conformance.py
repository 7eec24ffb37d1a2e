"""The registry keeps what every source promises; its clients are plain HTTP ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.adapters.registry.asking import ask
from waypost.adapter import Source
from waypost.testing.conformance_source import SourceConformance
from waypost.testing.context import TestContext
from waypost_adapters.registry.config import Config
from waypost_adapters.registry.source import open_source


class TestRegistrySource(SourceConformance):
    interruptible = False  # it is the system
    credentials: Mapping[str, str] = {"token": "s3cret-of-the-registry"}
    url = ""

    def open(self, context: TestContext) -> AbstractAsyncContextManager[Source]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Source]:
            async with open_source(Config(listen="127.0.0.1:0"), context) as source:
                self.url = source.registry.serving.url
                yield source
                self.url = ""

        return opened()

    async def create(self, name: str, count: int) -> Sequence[str]:
        async with self._served() as url:
            made = [
                await ask(url, "POST", f"/services/{name}", {"Host": "10.0.0.7", "Port": "80"}, self._token)
                for _ in range(count)
            ]
        return [f"/services/{name}/{answer.json['ID']}" for answer in made]

    async def destroy(self, instance: str) -> None:
        async with self._served() as url:
            assert (await ask(url, "DELETE", instance, token=self._token)).status == 204

    async def empty(self) -> None:
        async with self._served() as url:
            listed = await ask(url, "GET", "/services")
            for service in listed.json["Services"]:
                name = service["ServiceName"]
                for instance in (await ask(url, "GET", f"/services/{name}")).json["Instances"]:
                    assert (
                        await ask(url, "DELETE", f"/services/{name}/{instance['ID']}", token=self._token)
                    ).status == 204

    @property
    def _token(self) -> str:
        return self.credentials["token"]

    @asynccontextmanager
    async def _served(self) -> AsyncIterator[str]:
        """Give the URL: of the source under test, or of one that is open for the moment."""
        if self.url:
            yield self.url
            return
        async with self.open(self.context) as source:
            await source._clients.loaded.wait()  # type: ignore[attr-defined]  # the registry's own
            yield self.url
