"""Three local web servers, declared in a manifest and watched by health checks: the play without an orchestrator."""

from __future__ import annotations

import asyncio
import importlib.resources
import socket
import sys
import time
from pathlib import Path

from waypost.cli.demo.stage import Death

__all__ = ["LocalStage", "free_port"]

REGISTRATION = """\
apiVersion: waypost.dev/v1alpha1
kind: ServiceRegistration
metadata: {{name: web, namespace: shop}}
spec:
  sources:
    - name: all
      sourceRef: {{name: local}}
      instances:
{instances}
  healthCheck: {{tcpSocket: {{port: http}}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1, panicPercent: 60}}
  sinks:
    - {{name: registry, sinkRef: {{name: registry}}}}
    - {{name: dns, sinkRef: {{name: dns}}, ttlSeconds: 5}}
"""
INSTANCE = '      - {{id: web-{number}, addresses: ["127.0.0.1"], ports: [{{name: http, number: {port}}}]}}'


class LocalStage:
    """Processes of this machine."""

    title = "local processes, checked once a second (no orchestrator)"

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def start(self, folder: Path) -> str:
        """Start three web servers on free ports and declare them."""
        (folder / "www").mkdir()
        for _ in range(3):
            port = free_port()
            self._processes[port] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "http.server",
                "--bind",
                "127.0.0.1",
                "--directory",
                str(folder / "www"),
                str(port),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                stdin=asyncio.subprocess.DEVNULL,
            )
        for resource in importlib.resources.files(__package__).joinpath("manifests").iterdir():
            (folder / resource.name).write_text(resource.read_text())
        lines = [INSTANCE.format(number=n, port=port) for n, port in enumerate(sorted(self._processes), 1)]
        (folder / "web.yaml").write_text(REGISTRATION.format(instances="\n".join(lines)))
        return f"three web servers on 127.0.0.1, ports {', '.join(map(str, sorted(self._processes)))}"

    async def kill_one(self) -> Death:
        """Kill the first and note when it has ended."""
        port = min(self._processes)
        process = self._processes.pop(port)
        process.kill()
        await process.wait()
        return Death(port, time.time(), "the end of the process")

    async def stop(self) -> None:
        """Kill the rest."""
        for process in self._processes.values():
            process.kill()
            await process.wait()


def free_port(*, datagrams: bool = False) -> int:
    """Return a port of loopback that is free for TCP (and UDP) now."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            try:
                if datagrams:
                    datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
