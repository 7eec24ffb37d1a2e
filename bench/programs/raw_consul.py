"""The raw client of Consul: sends given transactions as fast as they are taken. Nothing else.

`python -m bench.programs.raw_consul ADDRESS FILE IN_FLIGHT`: FILE as `bench.programs.embedded` keeps it. What only
reads or compares is left out, so no body depends on an index of the other Consul.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop


def bodies(path: Path) -> list[bytes]:
    """The transactions that write, without what fences them, grouped as they were."""
    found, data, at = [], path.read_bytes(), 0
    while at < len(data):
        end = data.index(b"\n", at)
        size = int(data[at:end])
        operations: list[dict[str, msgspec.Raw]] = msgspec.json.decode(
            data[end + 1 : end + 1 + size], type=list[dict[str, msgspec.Raw]]
        )
        writes = [
            each
            for each in operations
            if "KV" not in each and not any(bytes(what).startswith(b'{"Verb":"get"') for what in each.values())
        ]
        if writes:
            found.append(msgspec.json.encode(writes))
        at = end + 1 + size
    return found


async def main(address: str, wanted: list[bytes], in_flight: int) -> None:
    nodes = [body for body in wanted if b'"Service":' not in body]  # they must be there before what stands on them
    left = iter([body for body in wanted if b'"Service":' in body])
    headers = {"Content-Type": "application/json"}

    async with aiohttp.ClientSession() as session:

        async def send(body: bytes) -> None:
            async with session.put(f"{address}/v1/txn", data=body, headers=headers) as answer:
                text = await answer.read()
                assert answer.status == 200, text[:300]

        async def one() -> None:
            for body in left:
                await send(body)

        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        for body in nodes:
            await send(body)
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(one())
        seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer: dict[str, Any] = {"seconds": seconds, "cpu": cpu}
    print(json.dumps(answer))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], bodies(Path(sys.argv[2])), int(sys.argv[3])))
