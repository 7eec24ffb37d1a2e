"""Sees records come into etcd, from outside the product, and notes when: a plain watch by another process.

`python -m bench.programs.watcher ENDPOINT` prints `watching`; each empty line answers with what came since the last:
[monotonic seconds, number of the task]. What is noted is when the event is here and decoded, so it is
never earlier than etcd's acknowledgement of the write to whoever wrote it, but for the way to that one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from contextlib import aclosing
from typing import Any

import uvloop

from bench.etcd import END, PREFIX
from bench.tasks import number_in
from waypost.engine.context import FileCredentials
from waypost.kit.etcd.client import Client
from waypost.kit.etcd.endpoint import endpoints
from waypost.kit.etcd.watch import watch


async def follow(client: Client, seen: list[Any]) -> None:
    async with aclosing(watch(client, PREFIX, END)) as batches:
        async for batch in batches:
            now = time.monotonic()
            if not batch.events and not seen:
                print("watching", flush=True)
                seen.append((now, -1))
            for event in batch.events:
                number = number_in(event.kv.key)
                if number is not None:
                    seen.append((now, number))


async def main(endpoint: str) -> None:
    seen: list[Any] = []
    loop = asyncio.get_running_loop()
    gc.freeze()
    async with Client(endpoints([endpoint]), FileCredentials(())) as client:
        following = asyncio.create_task(follow(client, seen))
        while await loop.run_in_executor(None, sys.stdin.readline):
            if following.done():
                following.result()
            told = seen[1:]
            del seen[1:]
            print(json.dumps(told), flush=True)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
