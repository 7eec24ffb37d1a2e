"""The stamp `waypost/OWNER/stamp` in Consul's key-value store: environment, owner, epoch, generation and nodes.

Every transaction checks the stamp's index, so that the comparison is part of the write: a stamp that changed since
(a newer leader, a later generation) lets nothing of it pass.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated
from urllib.parse import quote

import msgspec

from waypost.adapter import AdapterError, Fence, Fenced, NotClaimed, PermanentError
from waypost_adapters.consul import wire
from waypost_adapters.consul.client import Client, denied

__all__ = ["Stamp", "Stamps"]

ROOT = "waypost/"
_STAMP_KEY = re.compile(r"waypost/[^/]+/stamp")
Count = Annotated[int, msgspec.Meta(ge=0)]


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What the key holds, as JSON; fields of later versions are left aside."""

    environment: str
    owner: str
    epoch: Count
    generation: Count
    nodes: Annotated[int, msgspec.Meta(ge=1)]


class _Found(msgspec.Struct, frozen=True, rename="pascal"):
    key: str
    value: str | None
    modify_index: int
    create_index: int


_list = msgspec.json.Decoder(list[_Found])
_stamp = msgspec.json.Decoder(Stamp)


class Stamps:
    """Claims and compares one owner's stamp; keeps the index of the one it wrote last."""

    def __init__(self, client: Client, owner: str, nodes: int) -> None:
        self._client = client
        self._owner = owner
        self._nodes = nodes
        self._fence: Fence | None = None
        self._index = 0
        self.key = f"{ROOT}{quote(owner, safe='')}/stamp"

    async def claim(self, environment: str, past: int) -> Fence:
        """Set the epoch to max(stamp, past) + 1. Raises PermanentError where a stamp says another environment."""
        # Consul leaves out of a list, without a word, what the token may not read: asked for by name it refuses.
        await self._client.read(f"/v1/kv/{ROOT}-/stamp")
        for _ in range(5):
            stamp, index = await self._survey(environment)
            if stamp is not None:
                self._same_nodes(stamp)
            epoch = max(stamp.epoch if stamp else 0, past) + 1
            made = Stamp(environment=environment, owner=self._owner, epoch=epoch, generation=0, nodes=self._nodes)
            if await self._put(made, index):
                if stamp is None:
                    await self._stay(environment)
                return self._keep(made)
        raise AdapterError(f"{self.key}: others keep changing it; two installations may have one ownerID")

    async def told(self, environment: str) -> str:
        """Return, for people, what the stamps say; changes nothing. Raises PermanentError as `claim` does."""
        await self._client.read(f"/v1/kv/{ROOT}-/stamp")
        stamp, _ = await self._survey(environment)
        if stamp is None:
            return "none yet: the first claim sets it"
        self._same_nodes(stamp)
        return f"environment {stamp.environment}, epoch {stamp.epoch}"

    def _same_nodes(self, stamp: Stamp) -> None:
        if stamp.nodes != self._nodes:
            raise PermanentError(
                f"`nodes` is immutable: what is registered is spread over {stamp.nodes} nodes, and the manifest "
                f"says {self._nodes}; put {stamp.nodes} back (nothing is written until then)"
            )

    async def advance(self, fence: Fence) -> Fence:
        """Set the generation one higher. Raises Fenced, NotClaimed."""
        stamp, index = await self._compare(fence)
        made = msgspec.structs.replace(stamp, generation=stamp.generation + 1)
        if await self._put(made, index):
            return self._keep(made)
        await self._compare(fence)
        raise AdapterError(f"{self.key}: it changed while its generation was advanced")

    async def index(self, fence: Fence) -> int | None:
        """Return the index that proves the fence; None where its generation is past. Raises Fenced, NotClaimed."""
        if fence == self._fence:
            return self._index
        stamp, index = await self._compare(fence)
        if stamp.generation > fence.generation:
            return None
        self._keep(stamp, index)
        return index

    async def refused(self, fence: Fence) -> None:
        """Say why a transaction did not pass the fence: raises Fenced or NotClaimed; returns where it may try again."""
        self._fence = None if self._fence == fence else self._fence
        await self._compare(fence)

    async def _stay(self, environment: str) -> None:
        """Take a new stamp back where one of another environment came before it: of two that race, the first stays."""
        try:
            await self._survey(environment, self._index)
        except PermanentError:
            body = wire.transaction([wire.remove_key(self.key, self._index)])
            await self._client.transact(body)
            raise

    async def _survey(self, environment: str, before: int = 0) -> tuple[Stamp | None, int]:
        """Return our stamp and its index, after a look at everybody's (made before that index, if given)."""
        response = await self._client.read("/v1/kv/waypost/", recurse="", consistent="")
        found = [] if response is None else response.decode(_list)
        ours: tuple[Stamp | None, int] = (None, 0)
        for item in sorted(found, key=lambda item: item.create_index):
            if not _STAMP_KEY.fullmatch(item.key) or (before and item.create_index > before):
                continue
            stamp = _decode(item)
            if stamp.environment != environment:
                raise PermanentError(
                    f"{item.key}: this Consul is marked as environment `{stamp.environment}`, and the sink's is "
                    f"`{environment}`; nothing is written. If it is meant to change, remove that key first"
                )
            if item.key == self.key:
                ours = stamp, item.modify_index
        return ours

    async def _compare(self, fence: Fence) -> tuple[Stamp, int]:
        response = await self._client.read(f"/v1/kv/{quote(self.key, safe='/')}", consistent="")
        if response is None:
            raise NotClaimed(f"{self.key} is gone: Consul lost its data, or somebody removed it")
        item = response.decode(_list)[0]
        stamp = _decode(item)
        if stamp.epoch > fence.epoch:
            raise Fenced(f"{self.key}: epoch {stamp.epoch} rules; ours is {fence.epoch}")
        if (stamp.epoch, stamp.generation) < (fence.epoch, fence.generation):
            raise NotClaimed(f"{self.key}: epoch {stamp.epoch} is older than ours: Consul was restored from a backup")
        return stamp, item.modify_index

    async def _put(self, stamp: Stamp, index: int) -> bool:
        """Write the stamp where it is as it was read; keep its new index."""
        operation = wire.put_key(self.key, msgspec.json.encode(stamp), index)
        answer = await self._client.transact(wire.transaction([operation]))
        if answer.errors:
            if denied(answer.errors[0].what):
                raise PermanentError(
                    f"{self.key}: the token may not write it (key:write); see the README's PERMISSIONS"
                )
            return False
        if not answer.results or answer.results[0].kv is None:
            raise AdapterError(f"{self.key}: Consul's answer to its writing holds no index")
        self._index = answer.results[0].kv.modify_index
        return True

    def _keep(self, stamp: Stamp, index: int | None = None) -> Fence:
        self._fence = Fence(stamp.epoch, stamp.generation)
        self._index = self._index if index is None else index
        return self._fence


def _decode(item: _Found) -> Stamp:
    try:
        return _stamp.decode(base64.b64decode(item.value or "", validate=True))
    except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError):
        raise PermanentError(
            f"{item.key} is not a stamp of Waypost's; nothing is written until a person has looked and removed it"
        ) from None
