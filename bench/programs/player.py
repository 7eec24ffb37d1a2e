"""A pretended Mesos master: lists the tasks of `bench.tasks` and plays what happens to them, each at its time.

`python -m bench.programs.player TASKS SERVICES [KIND]` (of `bench.tasks.CLUSTERS`) prints its URL. A line
`{"rate": R, "seconds": S, "at": T}` plays from the monotonic time T on; the answer says which events were played and
how late the latest was given to the kernel. An open loop: an event's time is fixed beforehand and does not wait for
anybody.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import Any

from aiohttp import web

from bench.tasks import CLUSTERS, Cluster, dumps

TICK_SECONDS = 0.001
CHUNK = 1 << 18


def record(body: bytes) -> bytes:
    return b"%d\n%s" % (len(body), body)


class Player:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.streams: list[web.StreamResponse] = []
        self.played = 0
        self.asked: dict[str, float] = {}  # call → when it came last
        self._sick: set[int] = set()
        self._ended = 0
        self._started = cluster.size
        self._agents = dumps(cluster.agents())
        self._frameworks = dumps(cluster.frameworks)

    def parts(self, call: str) -> list[bytes]:
        """The answer to a call, in pieces."""
        frameworks = [b'"get_frameworks":{"frameworks":', self._frameworks, b',"completed_frameworks":[]}']
        agents = [b'"get_agents":{"agents":', self._agents, b',"recovered_agents":[]}']
        if call == "GET_FRAMEWORKS":
            return frameworks
        if call == "GET_AGENTS":
            return agents
        tasks = [b'"get_tasks":{"tasks":[']
        for number in range(self._ended, self._started):
            tasks += [self.cluster.task(number), b","]
        tasks[-1:] = [b'],"unreachable_tasks":[],"completed_tasks":[]}']
        return tasks if call == "GET_TASKS" else [*tasks, b",", *frameworks, b",", *agents]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        call = (await request.json())["type"]
        self.asked[call] = time.monotonic()
        if call == "GET_MASTER":
            body = dumps({"get_master": {"master_info": {"id": "master-1"}, "elected_time": 1.5}})
            return web.Response(body=body, content_type="application/json")
        if call == "GET_FLAGS":
            flags = [{"name": "agent_reregister_timeout", "value": "10mins"}]
            return web.Response(body=dumps({"get_flags": {"flags": flags}}), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if call != "SUBSCRIBE":
            parts = [b'{"type":"%s",' % call.encode(), *self.parts(call), b"}"]
            await send(response, b"".join(parts))
            return response
        head = [b'{"type":"SUBSCRIBED","subscribed":{"get_state":{', *self.parts(call)]
        head += [b'},"heartbeat_interval_seconds":15.0}}']
        await send(response, record(b"".join(head)))
        self.streams.append(response)
        try:
            while True:
                await response.write(record(b'{"type":"HEARTBEAT"}'))
                await asyncio.sleep(15)
        finally:
            self.streams.remove(response)

    def _next(self) -> bytes:
        event = self.cluster.event(self.played)
        self.played += 1
        if event.kind == "flip":
            self._sick ^= {event.number}
        elif event.kind == "start":
            self._started += 1
        else:
            self._ended += 1
        return record(self.cluster.message(event, healthy=event.number not in self._sick, wall=time.time()))

    async def play(self, rate: float, seconds: float, at: float) -> dict[str, Any]:
        first, count, late = self.played, int(rate * seconds), 0.0
        while (done := self.played - first) < count:
            now = time.monotonic()
            due = min(count, int((now - at) * rate) + 1) if now >= at else 0
            if due <= done:
                await asyncio.sleep(max(TICK_SECONDS, at + done / rate - now))
                continue
            said = b"".join(self._next() for _ in range(due - done))
            for stream in self.streams:
                await stream.write(said)
            late = max(late, time.monotonic() - at - done / rate)
        return {"first": first, "count": count, "late": late, "streams": len(self.streams)}


async def send(response: web.StreamResponse, body: bytes) -> None:
    for start in range(0, len(body), CHUNK):
        await response.write(body[start : start + CHUNK])


async def main(cluster: Cluster) -> None:
    player = Player(cluster)
    app = web.Application()
    app.router.add_post("/api/v1", player.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gc.freeze()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        answer = await player.play(**asked) if asked else {"asked": player.asked}
        print(json.dumps(answer), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(CLUSTERS[(*sys.argv, "Cluster")[3]](*map(int, sys.argv[1:3]))))
