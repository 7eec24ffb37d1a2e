"""The sink `registry`: what registrations publish, kept in a store and shown by the directory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import msgspec

from waypost.adapter import (
    AdapterError,
    Change,
    Clock,
    Context,
    Fence,
    Finding,
    Foreign,
    InvalidRecord,
    Limits,
    Observed,
    Outcome,
    Record,
    fingerprint,
)
from waypost.kit.ownership import Ownership
from waypost.kit.reach import tried
from waypost.kit.store import Row, Store, open_store
from waypost.model import Publication, PublishedInstance
from waypost_adapters.registry import layout
from waypost_adapters.registry.config import Config
from waypost_adapters.registry.directory import Directory
from waypost_adapters.registry.registry import Registry, use_registry
from waypost_adapters.registry.shown import shown

__all__ = ["RegistrySink", "open_sink"]

RETRY_SECONDS = 1.0
_decoder = msgspec.json.Decoder(layout.Entry)


class RegistrySink:
    """The sink.

    `registry` is what it shows its records in; `loaded` is set once all that was published before is shown.
    """

    limits = Limits(records=256, bytes=1_000_000, in_flight=4)
    namespaced = True

    def __init__(self, context: Context, registry: Registry, published: Published) -> None:
        self._context = context
        self._published = published
        self.registry = registry
        self.loaded = published.loaded

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        return layout.render(publication, instances)

    def above(self, name: str) -> Sequence[str]:
        return ()

    async def examine(self) -> Sequence[Finding]:
        context = self._context
        return [await tried("stamp", self._published.store.stamp(context.environment, context.owner))]

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        return await self._published.store.claim(environment, owner, past)

    async def advance(self, fence: Fence) -> Fence:
        return await self._published.store.advance(self._context.owner, fence)

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        async for row in self._published.store.owned(self._context.owner, keys):
            entry = _entry(row)
            if (own := Ownership.decode(entry.ownership)) is not None:
                assert row.content is not None
                yield Observed(
                    row.key,
                    fingerprint(row.content),
                    own.registration,
                    own.entry,
                    own.service,
                    own.instance,
                    row.name,
                    entry.ready,
                )

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        return await self._published.store.foreign(self._context.owner, names)

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        """Write; applied means on disk, and shown."""
        return await self._published.store.apply(self._context.owner, batch, fence)


class Published:
    """A store, and what of it the directory shows. Shared by the sinks of one state folder."""

    def __init__(self, directory: Directory) -> None:
        self.store: Store
        self.loaded = asyncio.Event()
        self._directory = directory
        self._part = directory.part()

    def known(self) -> bool:
        """Whether all is shown, and anything was ever published."""
        return self.loaded.is_set() and self.store.known

    def show(self, rows: Sequence[Row]) -> None:
        """Show rows, and no more show those that are gone."""
        for row in rows:
            if row.content is None:
                self._directory.publish(layout.place(row.key), (self._part, row.key), None)
            else:
                with suppress(AdapterError):  # somebody else's row, which says nothing to us
                    self._show(row)

    def _show(self, row: Row) -> None:
        entry = _entry(row)
        own = Ownership.decode(entry.ownership)
        instance = shown(
            id=entry.id,
            source=own.service.source if own is not None else "",
            host=entry.addresses[0] if entry.addresses else "",
            ports=entry.ports,
            endpoint=entry.metadata.get("endpoint", ""),
            readiness="ready" if entry.ready else "not-ready",
            weight=entry.weight,
            zone=entry.zone,
            metadata=entry.metadata,
            strategy=entry.strategy,
        )
        self._directory.publish(layout.place(row.key), (self._part, row.key), instance)

    async def load(self, clock: Clock) -> None:
        """Show all that was published before; tries again while the disk refuses.

        What is committed meanwhile comes in order.
        """
        while True:
            after = ""
            try:
                while rows := await self.store.page(after):
                    self.show(rows)
                    after = rows[-1].key
            except AdapterError:
                await clock.sleep(RETRY_SECONDS)
                continue
            self.loaded.set()
            return

    def clear(self) -> None:
        """Show nothing of it any more."""
        self._directory.forget(self._part)


@asynccontextmanager
async def open_sink(config: Config, context: Context) -> AsyncIterator[RegistrySink]:
    """Serve, and show what the last run published. Raises AdapterError where the port is taken."""
    async with use_registry(config, context) as registry:
        path = context.state_dir / "published.db"
        shared: AbstractAsyncContextManager[Published] = context.shared(
            f"registry {config.listen} {path}", lambda: _open_published(context, registry)
        )
        async with shared as published:
            yield RegistrySink(context, registry, published)


@asynccontextmanager
async def _open_published(context: Context, registry: Registry) -> AsyncIterator[Published]:
    published = Published(registry.directory)
    async with open_store(context.state_dir / "published.db", published.show) as published.store:
        registry.parts.append(published.known)
        loading = asyncio.create_task(published.load(context.clock), name="registry load")
        try:
            yield published
        finally:
            loading.cancel()
            with suppress(asyncio.CancelledError):
                await loading
            registry.parts.remove(published.known)
            published.clear()


def _entry(row: Row) -> layout.Entry:
    assert row.content is not None
    try:
        return _decoder.decode(row.content)
    except msgspec.DecodeError as error:
        raise AdapterError(f"the stored record {row.key[:200]!a} cannot be read: {error}") from error
