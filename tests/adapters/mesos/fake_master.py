"""A pretended master for what the real one here cannot do: 100,000 tasks, thousands of changes a second, odd events.

Its answers are made of tasks recorded from a real master (`recorded/state.json`). As a program
(`python -m tests.adapters.mesos.fake_master TASKS SERVICES UPDATES_PER_SECOND`) it prints its port and serves until its
input ends; in a test it is an object whose stream the test writes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

RECORDED = Path(__file__).parent / "recorded"
STATE = json.loads((RECORDED / "state.json").read_text())["get_state"]


def dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def record(value: object) -> bytes:
    body = value if isinstance(value, bytes) else dumps(value)
    return b"%d\n%s" % (len(body), body)


def task(number: int, services: int) -> dict[str, Any]:
    """A recorded task with ports and labels, under another id, on one of 1000 agents."""
    given = next(task for task in STATE["get_tasks"]["tasks"] if task["task_id"]["value"] == "web.3")
    found: dict[str, Any] = json.loads(dumps(given))
    name = f"service-{number % services}"
    found["name"] = found["discovery"]["name"] = name
    found["task_id"]["value"] = f"{name}.{number:08d}-5c1f-11ee-8c99-0242ac120002"
    found["agent_id"]["value"] = f"agent-{number % 1000}"
    for at, port in enumerate(found["discovery"]["ports"]["ports"]):
        port["number"] = 31000 + (number // 1000 * 2 + at) % 1000
    for status in found["statuses"]:
        status["task_id"] = found["task_id"]
        for info in status["container_status"]["network_infos"]:
            info["ip_addresses"] = [{"protocol": "IPv4", "ip_address": host(number % 1000)}]
    return found


def host(number: int) -> str:
    return f"10.20.{number // 250}.{number % 250 + 1}"


def agent(number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dumps(STATE["get_agents"]["agents"][0]))
    found["agent_info"] |= {"id": {"value": f"agent-{number}"}, "hostname": f"node-{number}.example"}
    found["pid"] = f"slave(1)@{host(number)}:5051"
    return found


class FakeMaster:
    """`tasks` and `agents` are what it lists; `say` writes to every open stream."""

    def __init__(self, tasks: Iterable[dict[str, Any]] = (), agents: int = 1) -> None:
        self.tasks = [dumps(each) for each in tasks]
        self.agents = [agent(number) for number in range(agents)]
        self.recovered: list[dict[str, Any]] = []
        self.master = "master-1"
        self.calls: list[str] = []
        self.flags_status = 200
        self.streams: list[web.StreamResponse] = []
        self.subscribed = asyncio.Event()
        self.heartbeat = 15.0
        self._asked = asyncio.Condition()

    async def asked(self, call: str, more: int) -> None:
        """Wait until a call has been made so many times more."""
        count = self.calls.count(call) + more
        async with asyncio.timeout(20), self._asked:
            await self._asked.wait_for(lambda: self.calls.count(call) >= count)

    async def say(self, *events: object) -> None:
        for stream in self.streams:
            await stream.write(b"".join(map(record, events)))

    def state(self) -> dict[str, bytes]:
        frameworks = {"frameworks": STATE["get_frameworks"]["frameworks"], "completed_frameworks": []}
        return {
            "get_tasks": b'{"tasks":[' + b",".join(self.tasks) + b'],"unreachable_tasks":[],"completed_tasks":[]}',
            "get_frameworks": dumps(frameworks),
            "get_agents": dumps({"agents": self.agents, "recovered_agents": self.recovered}),
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        call = (await request.json())["type"]
        self.calls.append(call)
        async with self._asked:
            self._asked.notify_all()
        if call == "SUBSCRIBE":
            return await self._stream(request)
        if call == "GET_MASTER":
            body = dumps({"get_master": {"master_info": {"id": self.master}, "elected_time": 1.5}})
        elif call == "GET_FLAGS":
            flags = [{"name": "agent_reregister_timeout", "value": "10mins"}]
            return web.Response(body=dumps({"get_flags": {"flags": flags}}), status=self.flags_status)
        else:
            body = b'"%s":%s' % (call.lower().encode(), self.state()[call.lower()])
            body = b'{"type":"%s",%s}' % (call.encode(), body)
        return web.Response(body=body, content_type="application/json")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        state = b",".join(b'"%s":%s' % (name.encode(), part) for name, part in self.state().items())
        interval = dumps(self.heartbeat)
        body = b'{"type":"SUBSCRIBED","subscribed":{"get_state":{%s},"heartbeat_interval_seconds":%s}}'
        body %= (state, interval)
        head = record(body)
        for at in range(0, len(head), 1 << 16):
            await response.write(head[at : at + (1 << 16)])
        self.streams.append(response)
        self.subscribed.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.streams.remove(response)
        return response

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/api/v1", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def main(count: int, services: int, rate: int) -> None:
    tasks = [task(number, services) for number in range(count)]
    master = FakeMaster(tasks, agents=1000)
    healthy = itertools.cycle([False] * count + [True] * count)
    numbers = itertools.cycle(range(count))
    async with master.serve() as url:
        print(url, flush=True)
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        due = time.monotonic()
        while not ended.done():
            await asyncio.sleep(0.005)
            if not master.streams or not rate:
                due = time.monotonic()
                continue
            updates = []
            while due < time.monotonic():
                due += 1 / rate
                chosen = tasks[next(numbers)]
                status = chosen["statuses"][-1] | {"healthy": next(healthy), "timestamp": time.time()}
                update = {"framework_id": chosen["framework_id"], "status": status, "state": "TASK_RUNNING"}
                updates.append({"type": "TASK_UPDATED", "task_updated": update})
            await master.say(*updates)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:4])))
