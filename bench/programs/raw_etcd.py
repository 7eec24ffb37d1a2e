"""The raw client: writes given keys and values into etcd as fast as it can, or at given times. Nothing else.

`python -m bench.programs.raw_etcd ENDPOINT FILE IN_FLIGHT` writes the batches of FILE once and says how long it took.
With a fourth argument RATE and a fifth SECONDS it writes records of the file again, RATE a second, gathered for 5 ms
as the product does, and says for each how long it took from its scheduled time.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec
import uvloop

from waypost.kit.etcd import rpc_pb2 as rpc
from waypost.kit.etcd import wire

Batches = list[list[tuple[bytes, bytes]]]
WINDOW_SECONDS = 0.005
MOST = 126  # puts a transaction, as the product's


class Raw:
    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.aio.insecure_channel(endpoint.removeprefix("http://"))
        call: Any = self._channel.unary_unary
        self._txn = call("/etcdserverpb.KV/Txn", None, rpc.TxnResponse.FromString)

    async def write(self, batch: Sequence[tuple[bytes, bytes]]) -> None:
        answer = await self._txn(b"".join([wire.put(key, value) for key, value in batch]), timeout=30)
        assert answer.succeeded

    async def all(self, batches: Batches, in_flight: int) -> float:
        left = iter(batches)

        async def one() -> None:
            for batch in left:
                await self.write(batch)

        await self.write([(b"/raw", b"connected")])
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(one())
        return time.monotonic() - began

    async def paced(self, batches: Batches, in_flight: int, rate: float, seconds: float) -> dict[str, Any]:
        records = list(chain.from_iterable(batches))
        count, room = int(rate * seconds), asyncio.Semaphore(in_flight)
        took: list[float] = []
        await self.write([(b"/raw", b"connected")])
        began = time.monotonic() + 0.1

        async def one(first: int, end: int) -> None:
            try:
                await self.write([records[n % len(records)] for n in range(first, end)])
            finally:
                room.release()
            now = time.monotonic()
            took.extend(now - began - n / rate for n in range(first, end))

        done = 0
        async with asyncio.TaskGroup() as group:
            while done < count:
                await asyncio.sleep(max(0.0, began + done / rate - time.monotonic()))  # until something is due
                await asyncio.sleep(WINDOW_SECONDS)
                while done < (due := min(count, int((time.monotonic() - began) * rate) + 1)):
                    await room.acquire()
                    end = min(due, done + MOST)
                    group.create_task(one(done, end))
                    done = end
        return {"count": count, "latencies": took}


async def main(endpoint: str, batches: Batches, in_flight: int, rate: float = 0, seconds: float = 0) -> None:
    raw = Raw(endpoint)
    before = resource.getrusage(resource.RUSAGE_SELF)
    if rate:
        answer = await raw.paced(batches, in_flight, rate, seconds)
    else:
        answer = {"seconds": await raw.all(batches, in_flight)}
    after = resource.getrusage(resource.RUSAGE_SELF)
    answer["cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps(answer))


if __name__ == "__main__":
    given = msgspec.msgpack.decode(Path(sys.argv[2]).read_bytes(), type=Batches)
    uvloop.run(main(sys.argv[1], given, int(sys.argv[3]), *map(float, sys.argv[4:])))
