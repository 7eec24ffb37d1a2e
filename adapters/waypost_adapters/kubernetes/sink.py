"""The sink: claims, observes, inspects, writes and watches Services and EndpointSlices in its namespaces.

What is written is in `sink_objects` and `sink_service`, which slice an instance stands in is in `sink_placing`, how it
is written in `sink_work`, who may write in `sink_fencing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Self

from yarl import URL

from waypost.adapter import (
    AdapterError,
    Change,
    Context,
    Fence,
    Fenced,
    Finding,
    Foreign,
    InvalidRecord,
    Limits,
    Mark,
    NotClaimed,
    Observed,
    Outcome,
    Place,
    Record,
)
from waypost.kit.kubernetes.access import Access, from_text, of_process
from waypost.kit.reach import place_of, tried
from waypost.model import Publication, PublishedInstance
from waypost_adapters.kubernetes.sink_cluster import Cluster, Entry
from waypost_adapters.kubernetes.sink_config import SinkConfig
from waypost_adapters.kubernetes.sink_drift import Drift, Versions
from waypost_adapters.kubernetes.sink_fencing import Fencing
from waypost_adapters.kubernetes.sink_group import Groups, is_empty, observed
from waypost_adapters.kubernetes.sink_naming import key_parts
from waypost_adapters.kubernetes.sink_networks import Networks
from waypost_adapters.kubernetes.sink_own import OwnWrites
from waypost_adapters.kubernetes.sink_record import Line, Renderer, decode
from waypost_adapters.kubernetes.sink_view import View
from waypost_adapters.kubernetes.sink_work import Work

__all__ = ["KubernetesSink"]

GROUPS_AT_ONCE = 6  # of one batch
TIDIED_AT_ONCE = 4
MOST_TRIES = 10  # of a group that others change all the time, or of which the API server has not seen our stamp yet
SLICE = 200  # records told before others have their turn

Changed = dict[str, Change]  # by the label of the instance


class KubernetesSink:
    """Implements `waypost.adapter.Sink` and `drift`."""

    limits = Limits(records=200, bytes=400_000, in_flight=4)

    def __init__(self, config: SinkConfig, context: Context, entry: Entry) -> None:
        """Keep what is needed; nothing is sent."""
        self._config = config
        self._context = context
        self._entry = entry
        self._renderer = Renderer(config)
        self._groups = Groups(config)
        self._own = OwnWrites()
        self._left: set[tuple[str, str]] = set()  # Services under which nothing stands: they go with the next batch
        self._refused: Networks | None = None if config.cluster_cidrs is None else Networks(())
        self._set_owner(context.owner)

    def _set_owner(self, owner: str) -> None:
        self._owner = owner
        self._cluster = Cluster(self._entry, owner, self._config.timeout_seconds)
        self._fencing = Fencing(self._cluster, self._config, self._context, owner)
        self._view = View(self._cluster, self._config, self._groups, owner)
        self._drift = Drift(self._entry, self._groups, self._own, self._context, owner)

    @classmethod
    @asynccontextmanager
    async def opened(cls, config: SinkConfig, context: Context) -> AsyncIterator[Self]:
        """Make a sink with a client of its own, which is closed at the end."""
        async with Entry(partial(_access, config, context), context) as entry:
            yield cls(config, context, entry)

    # --- pure

    def render(
        self, publication: Publication, instances: Sequence[PublishedInstance]
    ) -> Iterator[Record | InvalidRecord]:
        return self._renderer.render(publication, instances)

    def above(self, name: str) -> Sequence[str]:
        return ()

    # --- the stamp

    async def claim(self, environment: str, owner: str, past: int = 0) -> Fence | None:
        if owner != self._owner:
            self._set_owner(owner)
        fence = await self._fencing.claim(environment, past)
        if self._config.cluster_cidrs is None:
            await self._learn_networks()
        return fence

    async def advance(self, fence: Fence) -> Fence:
        return await self._fencing.advance(fence)

    async def _learn_networks(self) -> None:
        found, unknown = await self._cluster.networks()
        self._refused = Networks(found)
        if unknown:
            self._context.warn(
                "ClusterCIDRsUnknown",
                f"the networks of Pods and Services cannot be asked: {', '.join(unknown)}; their addresses are not "
                "refused unless `config.clusterCIDRs` says which they are",
            )

    # --- for people who look whether all is well

    def places(self) -> Sequence[Place]:
        place = place_of(URL(_access(self._config, self._context).server))
        return [Place(place.host, place.port)]  # TLS goes by the kubeconfig's certificates: `stamp` and `write` tell

    async def examine(self) -> Sequence[Finding]:
        return [
            await tried("stamp", self._fencing.told()),
            await tried("write", self._fencing.may_write()),
            await tried("fence", self._fencing.policy_told()),
        ]

    # --- what is there

    async def observe(self, keys: Collection[str] | None = None) -> AsyncIterator[Observed]:
        view: Versions = {}
        async with aclosing(self._view.everything(view) if keys is None else self._view.some(keys)) as groups:
            number = 0
            async for namespace, service, front, parts in groups:
                if keys is None and is_empty(front, parts):
                    self._left.add((namespace, service))
                headless = self._config.service_type == "Headless"
                for each in observed(namespace, service, front, parts, self._owner, headless=headless):
                    if keys is None or each.key in keys:
                        yield each
                    number += 1
                    if number % SLICE == 0:
                        await asyncio.sleep(0)
        if keys is None:
            self._drift.seen(view)

    async def inspect(self, names: Collection[str]) -> list[Foreign]:
        return await self._view.foreign(names)

    # --- writing

    async def apply(self, batch: Sequence[Change], fence: Fence | None) -> Mapping[str, Outcome]:
        if fence is None:
            raise AdapterError("this sink fences its writes: claim it first")
        outcomes: dict[str, Outcome] = {}
        groups = self._sorted(batch, outcomes)
        barred = await self._fencing.barred(sorted({namespace for namespace, _ in groups}), fence)
        for at in [at for at in groups if at[0] in barred]:
            self._settle(groups.pop(at), outcomes, barred[at[0]])
        work = Work(self._cluster, self._config, self._owner, fence, self._own)
        gate = asyncio.Semaphore(GROUPS_AT_ONCE)

        async def one(at: tuple[str, str], changes: Changed) -> AdapterError | None:
            async with gate:
                return await self._group(work, fence, at, changes, outcomes)

        errors = await asyncio.gather(*[one(at, changes) for at, changes in groups.items()])
        if work.wrote and not work.uncertain and not any(errors):
            await self._tidy(work, {namespace for namespace, _ in groups})
        self._groups.trim()
        for error in errors:
            if error is not None and (not work.wrote or isinstance(error, Fenced | NotClaimed)):
                raise error
        return outcomes

    async def _tidy(self, work: Work, namespaces: Collection[str]) -> None:
        """Let a few Services go under which nothing stands, in namespaces in which this batch could write."""
        for at in [at for at in self._left if at[0] in namespaces][:TIDIED_AT_ONCE]:
            self._left.discard(at)
            group = self._groups.get(*at)
            async with group.lock:
                try:
                    await work.tidy(group)
                except AdapterError as error:
                    group.known = False
                    self._context.log.debug("what is left of %s/%s stays: %s", *at, error)

    def _sorted(self, batch: Sequence[Change], outcomes: dict[str, Outcome]) -> dict[tuple[str, str], Changed]:
        """Return the changes by the Service they concern; those that cannot be are settled."""
        groups: dict[tuple[str, str], Changed] = {}
        for change in batch:
            parts = key_parts(change.key)
            if parts is None or parts[0] not in self._config.all_namespaces:
                outcomes[change.key] = Outcome("invalid", "the key names no Service of this sink")
            elif refusal := self._refusal(change):
                outcomes[change.key] = Outcome("invalid", refusal)
            else:
                groups.setdefault(parts[:2], {})[parts[2]] = change
        return groups

    def _refusal(self, change: Change) -> str:
        if change.record is None or self._refused is None:
            return ""
        return next(filter(None, map(self._refused.refusal, decode(change.record.content).addresses)), "")

    async def _group(
        self, work: Work, fence: Fence, at: tuple[str, str], changes: Changed, outcomes: dict[str, Outcome]
    ) -> AdapterError | None:
        """Write one Service's changes; return what went wrong before anything of it was written."""
        group = self._groups.get(*at)
        lines: dict[str, Line | None] = {
            label: None if change.record is None else decode(change.record.content) for label, change in changes.items()
        }
        async with group.lock:
            for attempt in range(MOST_TRIES):
                if work.uncertain:
                    self._settle(changes, outcomes, Outcome("superseded", "not sent: another write had no answer"))
                    return None
                try:
                    new = attempt == 0 and all(change.create for change in changes.values())
                    settled, again = await work.run(group, lines, new=new)
                except AdapterError as error:
                    group.known = False
                    self._settle(changes, outcomes, Outcome("superseded", str(error)))
                    return error
                except BaseException:
                    group.known = False
                    raise
                for label, outcome in settled.items():
                    outcomes[changes[label].key] = outcome
                    lines.pop(label)
                if not again or not lines:
                    return None
                try:
                    barred = await self._fencing.barred(at[:1], fence)
                except AdapterError as error:
                    self._settle(changes, outcomes, Outcome("superseded", str(error)))
                    return error
                if barred:
                    self._settle(changes, outcomes, barred[at[0]])
                    return None
                if again == "denied":
                    await self._context.clock.sleep(0.02 * (attempt + 1))
        self._settle(changes, outcomes, Outcome("superseded", "others change the same Service all the time"))
        return None

    @staticmethod
    def _settle(changes: Changed, outcomes: dict[str, Outcome], outcome: Outcome) -> None:
        """Settle what is not settled yet."""
        for change in changes.values():
            outcomes.setdefault(change.key, outcome)

    # --- what others change

    async def drift(self, mark: Mark) -> None:
        await self._drift.run(self._config.all_namespaces, mark)


def _access(config: SinkConfig, context: Context) -> Access:
    """Return the way in: the credential, else that of the process."""
    text = context.credentials.get("kubeconfig")
    if text is None:
        return of_process(context=config.context or None)
    return from_text(text, config.context)
