"""A supervised watch of a Swarm, and words to ask what it has seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from waypost.model import Instance, Service, ServiceKey
from waypost.testing.context import TestContext
from waypost.testing.source_bench import Supervised
from waypost_adapters.swarm import SOURCE, Config

STACK = "com.docker.stack.namespace"


class Watch(Supervised):
    """What one source has said of one stack."""

    context: TestContext

    async def until(self, holds: Callable[[Mapping[ServiceKey, Service]], bool], seconds: float = 60) -> None:
        """Wait until the view is so."""
        try:
            await self.recorder.until(holds, seconds)
        except TimeoutError as error:
            raise AssertionError(f"{error}; view: {self.recorder.view}; raised: {self.errors[-2:]}") from None

    def instances(self, name: str, stack: str = "") -> dict[str, Instance]:
        """The instances of a service by id."""
        service = self.recorder.view.get(ServiceKey("s", stack, name))
        return {instance.id: instance for instance in service.instances} if service else {}

    def ready(self, name: str, stack: str = "") -> set[str]:
        """The ids of those that are ready."""
        return {id for id, each in self.instances(name, stack).items() if each.readiness == "ready"}

    def said(self, name: str) -> list[Service]:
        """Everything that was said of a service, in order; snapshots do not count."""
        return [e.service for e in self.recorder.events if e.service is not None and e.service.key.name == name]


@asynccontextmanager
async def watching(directory: Path, *hosts: str, **config: Any) -> AsyncIterator[Watch]:
    context = TestContext(directory, name="s", credentials=config.pop("credentials", None))
    async with SOURCE.open(Config(hosts, **config), context) as source:
        watch = Watch(source)
        watch.context = context
        task = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            watch.stopping = True
            task.cancel()
            await asyncio.wait([task])
