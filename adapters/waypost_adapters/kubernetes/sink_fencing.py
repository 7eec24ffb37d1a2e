"""Who may write: stamps claimed and advanced in each namespace, and whether the API server itself compares them.

A claim sets all stamps to one epoch; a write looks at its namespace's stamp first. Between that look and the write the
admission policy of fence.yaml stands, where it is installed: then a claim, and an advance, are over only when the API
server refuses what the fence before would write. It reads stamps from a cache, so it may take a moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial

import msgspec

from waypost.adapter import AdapterError, Context, Fence, NotClaimed, Outcome, PermanentError
from waypost.kit.kubernetes.errors import ApiError
from waypost_adapters.kubernetes.sink_cluster import CONFIG_MAPS, SLICES, Cluster, is_denied
from waypost_adapters.kubernetes.sink_config import SinkConfig
from waypost_adapters.kubernetes.sink_objects import Meta, Part, meta_of, part_document
from waypost_adapters.kubernetes.sink_stamp import (
    Stamp,
    document,
    fence_text,
    judge,
    other_environment,
    stamp_name,
)

__all__ = ["Fencing"]

CLAIM_TRIES = 10
SEEN_SECONDS = 10.0  # within which the API server must have seen a stamp that was written
NOBODY = Fence(0, 0)  # no claim ever gives it: what carries it is refused wherever the policy stands


class Fencing:
    """Stamps of one owner."""

    def __init__(self, cluster: Cluster, config: SinkConfig, context: Context, owner: str) -> None:
        self._cluster = cluster
        self._config = config
        self._context = context
        self._owner = owner
        self._environment = context.environment
        self._absent: set[str] = set()  # namespaces that were not there when the sink was claimed

    async def claim(self, environment: str, past: int) -> Fence:
        """Set this owner's epoch in all namespaces to one that is past all of them, and past `past`."""
        self._environment = environment
        for _ in range(CLAIM_TRIES):
            stamps = {name: await self._read(name, environment) for name in self._config.all_namespaces}
            before = max((stamp.fence for stamp in stamps.values() if stamp), default=NOBODY)
            fence = Fence(max(before.epoch, past) + 1)
            if await self._set_all(stamps, fence):
                await self._until_seen(fence, before)
                return fence
        raise AdapterError(f"the stamps of `{self._owner}` changed at each of {CLAIM_TRIES} tries to claim")

    async def advance(self, fence: Fence) -> Fence:
        """Set the generation one higher in all namespaces."""
        for _ in range(CLAIM_TRIES):
            stamps: dict[str, Stamp | None] = {}
            generation = fence.generation
            for name in self._config.all_namespaces:
                stamp = stamps[name] = await self._own(name)
                if stamp is None and name in self._absent:
                    continue
                verdict = judge(name, stamp, self._environment, fence)
                if isinstance(verdict, AdapterError):
                    raise verdict
                if verdict is not None:  # an advance of ours whose answer was lost
                    generation = max(generation, verdict.fence.generation)
            higher = Fence(fence.epoch, generation + 1)
            if await self._set_all(stamps, higher):
                await self._until_seen(higher, Fence(fence.epoch, generation))
                return higher
        raise AdapterError(f"the stamps of `{self._owner}` changed at each of {CLAIM_TRIES} tries to advance them")

    async def barred(self, namespaces: Collection[str], fence: Fence) -> dict[str, Outcome]:
        """Return the namespaces in which this fence may not write, each with what becomes of changes there.

        Raises Fenced, NotClaimed, PermanentError.
        """
        found: dict[str, Outcome] = {}
        for name in namespaces:
            stamp = await self._own(name)
            if stamp is None and name in self._absent and (stamp := await self._begin(name, fence)) is None:
                found[name] = Outcome("invalid", f"the namespace `{name}` is not there, or not ours to write")
                continue
            verdict = judge(name, stamp, self._environment, fence)
            if isinstance(verdict, AdapterError):
                raise verdict
            if verdict is not None:
                found[name] = Outcome("superseded", f"generation {fence.generation} is past")
        return found

    async def told(self) -> str:
        """Return, for people, what the stamps say. Raises PermanentError for another environment's."""
        mine = [await self._read(name, self._environment) for name in self._config.all_namespaces]
        epochs = {stamp.fence.epoch for stamp in mine if stamp is not None}
        return (
            f"environment {self._environment}, epoch {max(epochs)}" if epochs else "none yet: the first claim sets it"
        )

    async def may_write(self) -> str:
        """Return that everything may be written: asked by writes that are not done (dry run)."""
        for name in self._config.all_namespaces:
            await self._cluster.create(SLICES, name, self._probe(name, ""), dry=True)
            stamp = document(Meta("waypost-probe", name), self._environment, self._owner, NOBODY)
            await self._cluster.create(CONFIG_MAPS, name, stamp, dry=True)
        return f"may write in {', '.join(self._config.all_namespaces)} (asked without writing)"

    async def policy_told(self) -> str:
        """Return, for people, whether the admission policy stands."""
        if await self._passes(self._config.namespace, NOBODY):
            return "no admission policy compares epochs: a leader of the past may write for a moment (see fence.yaml)"
        return "the admission policy compares epochs in each write"

    # --- stamps

    async def _read(self, namespace: str, environment: str) -> Stamp | None:
        """Return our stamp in a namespace. Raises PermanentError where any there says another environment."""
        found = None
        try:
            stamps = await self._cluster.stamps(namespace)
        except ApiError as error:
            if error.status != 403 or namespace == self._config.namespace:
                raise
            self._missing(namespace)
            return None
        for stamp in stamps:
            if stamp.environment != environment:
                raise other_environment(stamp, environment)
            if stamp.meta.name == stamp_name(self._owner):
                found = stamp
        return found

    async def _own(self, namespace: str) -> Stamp | None:
        """Return our stamp; None too where we may not read it in one of the other namespaces."""
        try:
            return await self._cluster.stamp(namespace)
        except ApiError as error:
            if error.status != 403 or namespace == self._config.namespace:
                raise
            self._missing(namespace)
            return None

    async def _set_all(self, stamps: dict[str, Stamp | None], fence: Fence) -> bool:
        for name, stamp in stamps.items():
            if not await self._set(name, stamp, fence):
                return False
        return True

    async def _set(self, namespace: str, stamp: Stamp | None, fence: Fence) -> bool:
        """Write a stamp over the one that was read; False where somebody was faster."""
        meta = stamp.meta if stamp is not None else Meta(stamp_name(self._owner), namespace)
        body = document(meta, self._environment, self._owner, fence)
        try:
            if stamp is not None:
                await self._cluster.update(CONFIG_MAPS, namespace, meta.name, body)
                return True
            made = await self._cluster.create(CONFIG_MAPS, namespace, body)
        except ApiError as error:
            if stamp is None and (error.status == 404 or (error.status == 403 and namespace in self._absent)):
                self._missing(namespace)
                return True
            if error.status in {404, 409}:
                return False
            raise
        self._absent.discard(namespace)
        await self._alone(namespace, meta_of(made))
        return True

    def _missing(self, namespace: str) -> None:
        """Note a namespace that is not there, or not ours to read, which with rights in it alone looks the same.

        Without the first one nothing works; names in another are told as invalid.
        """
        if namespace == self._config.namespace:
            raise PermanentError(f"the namespace `{namespace}` is not there: create it, or correct `config.namespace`")
        self._absent.add(namespace)
        message = f"not there, or not ours to write: {', '.join(sorted(self._absent))}; names in it are invalid"
        self._context.warn("NamespaceMissing", message)

    async def _alone(self, namespace: str, made: Meta) -> None:
        """After a first stamp: where another environment's came at the same time, neither holds."""
        for stamp in await self._cluster.stamps(namespace):
            if stamp.environment != self._environment:
                await self._cluster.delete(CONFIG_MAPS, namespace, made)
                raise other_environment(stamp, self._environment)

    async def _begin(self, namespace: str, fence: Fence) -> Stamp | None:
        """Set the first stamp in a namespace that has come to be since the claim."""
        await self._read(namespace, self._environment)  # another environment's stamp is told, not written beside
        if not await self._set(namespace, None, fence):
            raise NotClaimed(f"somebody else set the stamp in namespace `{namespace}`")
        if namespace in self._absent:
            return None
        await self._until_seen(fence, NOBODY, (namespace,))
        return await self._cluster.stamp(namespace)

    # --- the admission policy

    async def _until_seen(self, fence: Fence, before: Fence, namespaces: Collection[str] = ()) -> None:
        """Return when the API server that we ask goes by these stamps; at once where no policy stands."""
        for name in namespaces or self._config.all_namespaces:
            if name in self._absent or await self._passes(name, NOBODY):
                continue
            await self._until(partial(self._passes, name, fence))
            await self._until(partial(self._refused, name, before))

    async def _until(self, seen: Callable[[], Awaitable[bool]]) -> None:
        clock = self._context.clock
        end = clock.monotonic() + SEEN_SECONDS
        while not await seen():
            if clock.monotonic() > end:
                raise AdapterError(
                    f"the API server's policy `waypost-fence` has not seen the stamp after {SEEN_SECONDS:g} s: "
                    "is it as in fence.yaml? Where its binding was deleted and made again, API servers must be started "
                    "anew (kubernetes/kubernetes issue 130887), or label the namespace waypost.dev/fence=off"
                )
            await clock.sleep(0.01)

    async def _refused(self, namespace: str, fence: Fence) -> bool:
        return not await self._passes(namespace, fence)

    async def _passes(self, namespace: str, fence: Fence) -> bool:
        """Say whether a write under this fence would pass: asked by one that is not done (dry run)."""
        try:
            await self._cluster.create(SLICES, namespace, self._probe(namespace, fence_text(fence)), dry=True)
        except ApiError as error:
            if is_denied(error):
                return False
            if error.status == 409:
                return True
            raise
        return True

    def _probe(self, namespace: str, fence: str) -> bytes:
        """Return a slice that is never written; without a fence it is nobody's, and the policy says nothing of it."""
        part = Part(Meta("waypost-probe", namespace), "IPv4", (), {})
        body = part_document(part, "waypost-probe", self._owner, fence, headless=True)
        if fence:
            return body
        found = msgspec.json.decode(body)
        found["metadata"] = {"name": "waypost-probe", "namespace": namespace}
        return msgspec.json.encode(found)
