"""Records what a real Swarm answers: `python -m tests.adapters.swarm.record`, as root; see testbed/README.md."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from testbed.servers import SwarmCluster
from tests.adapters.swarm.watching import STACK

RECORDED = Path(__file__).with_name("recorded")
HOST = [{"Name": "http", "TargetPort": 8080, "PublishMode": "host"}]


def without_keys(text: str) -> str:
    """Certificates are long, differ each time and say nothing here."""
    return re.sub(r'"TLSInfo": \{.*?\}', '"TLSInfo": {}', text)


async def record(directory: Path) -> None:
    async with SwarmCluster(directory, managers=1, workers=1) as swarm:
        net = await swarm.create_network("front")
        shop = {STACK: "shop", "team": "a"}
        own = {"ContainerSpec": {"Labels": {"version": "1"}}}
        await swarm.create("shop_web", 2, network=net, labels={**shop, "waypost.ports": "http=8080"}, TaskTemplate=own)
        await swarm.create("shop_rr", 1, network=net, labels=shop, EndpointSpec={"Mode": "dnsrr"})
        await swarm.create("host", 2, ports=HOST)
        await swarm.create("everywhere", None, ports=[{**HOST[0], "PublishedPort": 18080}])
        await swarm.create("ingress", 1, ports=[{"Name": "http", "TargetPort": 8080, "PublishedPort": 18081}])
        await swarm.create("both", 1, ports=HOST, network=net)
        await swarm.create("net-host", 1, labels={"waypost.ports": "http=18082"}, network="host")
        await swarm.create("nowhere", 1)
        await swarm.create("none", 0)
        nothing = {"Placement": {"Constraints": ["node.hostname==none"]}}
        await swarm.create("pending", 1, TaskTemplate=nothing)
        await swarm.create("down", 2, ports=HOST)
        for name, count in {"shop_web": 2, "host": 2, "both": 1, "net-host": 1, "down": 2, "everywhere": 2}.items():
            await swarm.running(name, count)
        await swarm.set_node(swarm.workers[0], Labels={"zone": "z2"})
        await swarm.scale("down", 1)
        await asyncio.sleep(0.5)
        answers: dict[str, Any] = {p: await swarm.call("GET", f"/{p}") for p in ("services", "tasks", "nodes")}
    for name, answer in answers.items():
        lines = ",\n".join(without_keys(json.dumps(each)) for each in answer)
        (RECORDED / f"{name}.json").write_text(f"[{lines}]\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(record(Path(made)))
