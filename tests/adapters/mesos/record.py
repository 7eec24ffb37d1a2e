"""Records what a real Mesos says, for the tests that need no server: `python -m tests.adapters.mesos.record`.

`recorded/state.json` is an answer to GET_STATE with tasks of many kinds; `recorded/stream.bin` the body of an event
stream from its first record, while frameworks come and go, tasks run, fail their health check and are killed, an agent
is killed and one leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from pathlib import Path

import aiohttp

from testbed.servers import MesosCluster

RECORDED = Path(__file__).parent / "recorded"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


async def follow(url: str, into: bytearray) -> None:
    async with (
        aiohttp.ClientSession(headers=HEADERS, read_bufsize=1 << 20) as session,
        session.post(f"{url}/api/v1", json={"type": "SUBSCRIBE"}) as answer,
    ):
        async for chunk in answer.content.iter_any():
            into += chunk


async def ask(url: str, call: str) -> object:
    async with (
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.post(f"{url}/api/v1", json={"type": call}) as answer,
    ):
        return await answer.json()


async def until_said(stream: bytearray, what: bytes) -> None:
    async with asyncio.timeout(30):
        while what not in stream:  # noqa: ASYNC110 - a recording, made once by hand
            await asyncio.sleep(0.05)


async def main() -> None:
    RECORDED.mkdir(exist_ok=True)
    stream = bytearray()
    with tempfile.TemporaryDirectory() as directory:
        async with MesosCluster(Path(directory), agents=3) as cluster:
            first, second, third = cluster.agents
            async with cluster.framework("marathon.prod", checkpoint=True) as marathon:
                await marathon.launch("before", 1, agent=first.host)
                following = asyncio.create_task(follow(cluster.url, stream))
                await until_said(stream, b"HEARTBEAT")
                web = await marathon.launch(
                    "web", 2, agent=first.host, labels={"version": "2", "team": "a}],{[\\"},
                    ports=["http", "admin"],
                )  # fmt: skip
                await marathon.launch("plain", 1, agent=first.host, discovery=False, ports=["a", "b", "c"])
                await marathon.launch("net", 1, agent=first.host, addresses=["10.1.2.3", "FD00:0::3"])
                mapping = {"host_port": "$PORT0", "container_port": 80, "protocol": "udp"}
                await marathon.launch(
                    "mapped", 1, agent=first.host, discovery=False, addresses=["172.17.0.2"], port_mappings=[mapping]
                )
                check = {"type": "COMMAND", "command": {"value": "test -e /"}}
                well = await marathon.launch("well", 1, agent=first.host, health_check=check)
                check = {"type": "COMMAND", "command": {"value": "test -e /nonexistent"}}
                ill = await marathon.launch("ill", 1, agent=first.host, health_check=check)
                await marathon.wait_healthy(*well)
                await marathon.wait_healthy(*ill, healthy=False)
                lost = await marathon.launch("lost", 1, agent=second.host)
                left = await marathon.launch("left", 1, agent=third.host)
                async with cluster.framework("batch") as batch:
                    await batch.launch("web", 1, agent=first.host)
                    await second.kill9()
                    await marathon.wait(lost, "TASK_UNREACHABLE", "TASK_LOST")
                    state = await ask(cluster.url, "GET_STATE")
                    (RECORDED / "state.json").write_text(json.dumps(state, separators=(",", ":")))
                os.kill(third.pid, signal.SIGUSR1)  # it leaves in good order
                await marathon.wait(left, "TASK_GONE", "TASK_LOST", "TASK_KILLED", "TASK_GONE_BY_OPERATOR")
                await until_said(stream, b"AGENT_REMOVED")
                await marathon.kill(web[0])
            await until_said(stream, b"FRAMEWORK_REMOVED")
            await asyncio.sleep(1)
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
    (RECORDED / "stream.bin").write_bytes(stream)


if __name__ == "__main__":
    asyncio.run(main())
