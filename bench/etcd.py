"""Asking an etcd from outside the product: how far it is, and what it holds."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc.aio
import msgspec

from testbed.servers.etcd import Etcd
from waypost.kit.etcd import rpc_pb2 as rpc

PREFIX = b"/bench/"
PAGE = 5000
OPTIONS = (("grpc.max_receive_message_length", 64 << 20),)


def end(prefix: bytes) -> bytes:
    """The first key behind those below a prefix."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


END = end(PREFIX)


class Written(NamedTuple):
    """When the first and the last write was seen, in monotonic seconds."""

    first: float
    last: float


class Eye:
    """A connection that only reads, of what is below a prefix."""

    def __init__(self, server: Etcd, prefix: bytes = PREFIX) -> None:
        self._server = server
        self._prefix = prefix
        self._channel = grpc.aio.insecure_channel(server.endpoint.removeprefix("http://"), options=OPTIONS)
        call: Any = self._channel.unary_unary
        self._range = call("/etcdserverpb.KV/Range", rpc.RangeRequest.SerializeToString, rpc.RangeResponse.FromString)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._channel.close()

    async def revision(self) -> int:
        """The number of writes so far; costs next to nothing."""
        answer = await self._range(rpc.RangeRequest(key=b"\0", limit=1))
        return int(answer.header.revision)

    async def count(self, prefix: bytes | None = None) -> int:
        """How many records there are, below another prefix where one is given."""
        at = prefix or self._prefix
        span = {"key": base64.b64encode(at).decode(), "range_end": base64.b64encode(end(at)).decode()}
        return int((await self._server.call("kv/range", {**span, "count_only": True})).get("count", 0))

    async def holds(self, prefix: bytes) -> bool:
        """Whether there is anything below this; costs next to nothing."""
        answer = await self._range(rpc.RangeRequest(key=prefix, range_end=end(prefix), limit=1, keys_only=True))
        return bool(answer.kvs)

    async def written(self, wanted: int, *, timeout: float) -> Written:
        """Wait until so many records are there; a look each 5 ms."""
        deadline = time.monotonic() + timeout
        begun = await self.revision()
        first = last = 0.0
        seen, counted = begun, 0.0
        while time.monotonic() < deadline:
            await asyncio.sleep(0.005)
            revision, now = await self.revision(), time.monotonic()
            if revision != seen:
                first = first or (now if revision > begun + 1 else 0.0)  # the first of all is the stamp's
                seen, last = revision, now
            elif last and now - last > 0.03 and now - counted > 0.2:
                counted = now
                if await self.count() >= wanted:
                    return Written(first, last)
        raise TimeoutError(f"{wanted} records were wanted after {timeout:.0f} s; there are {await self.count()}")

    async def batches(self) -> list[list[tuple[bytes, bytes]]]:
        """What is there, grouped as it was written: keys and values of one transaction share a revision."""
        found: list[tuple[int, bytes, bytes]] = []
        key = self._prefix
        while True:
            answer = await self._range(rpc.RangeRequest(key=key, range_end=end(self._prefix), limit=PAGE))
            found += [(kv.mod_revision, kv.key, kv.value) for kv in answer.kvs]
            if not answer.more:
                break
            key = answer.kvs[-1].key + b"\0"
        found.sort()
        return [[(k, v) for _, k, v in group] for _, group in groupby(found, key=lambda each: each[0])]


@asynccontextmanager
async def fresh_etcd(directory: Path) -> AsyncIterator[Etcd]:
    """A new etcd, with fsync, that ends with the block."""
    server = Etcd(directory, flags=("--quota-backend-bytes=8000000000",))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def save(path: Path, batches: list[list[tuple[bytes, bytes]]]) -> None:
    path.write_bytes(msgspec.msgpack.encode(batches))
