"""The product as a user runs it: `waypost run` as a process of its own, watched from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.tasks import Cluster

ROOT = Path(__file__).parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
WAYPOST = ("-m", "waypost")

MANIFESTS = """
apiVersion: waypost.dev/v1alpha1
kind: ServiceSource
metadata: {{name: mesos}}
spec:
  type: mesos
  environment: bench
  allowedCIDRs: [10.0.0.0/8]
  config: {{masters: ["{master}"]}}
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceSink
metadata: {{name: target}}
spec:
  type: {sink}
  environment: bench
  ownerID: bench
  config: {config}
  credentials: {credentials}
  safety: {{maxRemovalPercent: 100, maxChangePercent: 100}}
---
apiVersion: waypost.dev/v1alpha1
kind: ServiceRegistration
metadata: {{name: all, namespace: bench}}
spec:
  sources:
  - {{name: all, sourceRef: {{name: mesos}}, selector: {{namespaces: ["{namespace}"]}}}}
  names: ["{{service}}"]
  metadata: {{version: "{{label:version|'none'}}", node: "{{instance.node}}"}}
  sinks: [{{name: target, sinkRef: {{name: target}}, notReady: {not_ready}}}]
"""


def write_manifests(
    folder: Path,
    master: str,
    sink: str,
    config: str,
    namespace: str,
    *,
    credentials: str = "[]",
    not_ready: str = "Publish",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifests.yaml"
    given = {"master": master, "sink": sink, "config": config, "namespace": namespace}
    path.write_text(MANIFESTS.format(**given, credentials=credentials, not_ready=not_ready))
    return path


class Product:
    """A running process. Times are CPU seconds, user and system together; sizes are bytes."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log
        self.started = time.monotonic()

    @property
    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    @property
    def rss(self) -> int:
        return self._status("VmRSS")

    @property
    def peak(self) -> int:
        """The largest it ever was."""
        return self._status("VmHWM")

    @property
    def wakes(self) -> int:
        """How often its threads have given up the processor and woken again."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/status")
        lines = [line for thread in threads for line in thread.read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

    async def said(self, words: str, *, timeout: float = 60) -> None:
        """Wait until it logs this."""
        deadline = time.monotonic() + timeout
        while words not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"waypost did not say {words!r}; its log ends: {self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(
    manifests: Path, *, program: Sequence[str] = WAYPOST, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Product]:
    """Run it with its defaults until the block ends."""
    async with started(manifests.parent, "-f", str(manifests), program=program, environment=environment) as product:
        yield product


@asynccontextmanager
async def started(
    folder: Path, *asked: str, program: Sequence[str] = WAYPOST, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Product]:
    """Run it until the block ends; `asked` are the options that say where manifests are, the folder has its state."""
    log = folder / "waypost.log"
    command = [sys.executable, *program, "run", *asked, "--admin", "127.0.0.1:0"]
    command += ["--state-dir", str(folder / "state")]
    process = _start(command, log, environment or {})
    try:
        yield Product(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, 15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(command: Sequence[str], log: Path, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        environment = {**os.environ, **more}
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT, env=environment)


class Side:
    """A program beside the product, of bench.programs or another: asked and answered in lines."""

    def __init__(
        self,
        *arguments: str,
        program: Sequence[str] = (sys.executable, "-m"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        more = {**os.environ, **(environment or {})}
        command = [*program, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=more)

    async def line(self) -> str:
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended")
        return line.decode().strip()

    async def ask(self, question: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(question.encode() + b"\n")
        self.process.stdin.flush()
        return await self.line()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@asynccontextmanager
async def master(cluster: Cluster) -> AsyncIterator[tuple[Side, str]]:
    """The pretended master, and its URL."""
    side = Side("bench.programs.player", str(cluster.size), str(cluster.services), type(cluster).__name__)
    try:
        yield side, await side.line()
    finally:
        side.end()
