"""`kubernetes-watch`: what an event costs that changes one endpoint of a Service with a thousand EndpointSlices.

A real API server; the slices are changed by another thread, and only the watching thread's CPU counts. Beside the
source and the engine's catalog runs the least that anybody could do: the same stream, each event decoded by msgspec.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import logging
import random
import statistics
import tempfile
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import Figure, Result
from testbed.servers.kubernetes import Kubernetes
from waypost.engine.catalog import SourceView
from waypost.engine.doubt import Loss
from waypost.engine.intake import SourceChanges
from waypost.kit.kubernetes.api import Api, connect
from waypost.kit.kubernetes.resource import Resource
from waypost.kit.kubernetes.wire import PAGE, located
from waypost.kit.problems import Problems
from waypost.model import ServiceKey
from waypost.testing.context import RecordedMetrics, TestContext
from waypost_adapters.kubernetes.source import KubernetesSource
from waypost_adapters.kubernetes.source_config import SourceConfig
from waypost_adapters.kubernetes.source_endpoints import Endpoint
from waypost_adapters.kubernetes.source_services import Metadata, ServiceRow
from waypost_adapters.kubernetes.source_slices import Frame, Slice
from waypost_adapters.kubernetes.source_view import View

NAMESPACE = "bench"
PER_SLICE = 100
EVENTS = 500
AT_ONCE = 8
READY_SECONDS = 120.0

SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", NAMESPACE)


class Plain(Frame, frozen=True, gc=False, rename="camel"):
    """A slice, decoded as far as it is used."""

    endpoints: tuple[Endpoint, ...] | None = None


class Event(msgspec.Struct, frozen=True, gc=False):
    """An event, decoded in one pass."""

    type: str
    object: Plain


PLAIN = msgspec.json.Decoder(Event)


class Slices:
    """The slices as they are, and how they are written."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._ready = [[True] * PER_SLICE for _ in range(count)]
        self._random = random.Random(1)

    def body(self, at: int) -> bytes:
        """A slice as the API server writes it, but for its metadata: endpoints are known again by their text."""
        endpoints = [
            {
                "addresses": [f"10.{at // 250}.{at % 250}.{number}"],
                "conditions": {"ready": ready, "serving": ready, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": f"web-7d9f8b6c5-{at:04d}{number:03d}"},
                "nodeName": f"node-{number}",
                "zone": f"eu-{number % 3}",
            }
            for number, ready in enumerate(self._ready[at])
        ]
        made = {
            "metadata": {"name": f"web-{at:05d}", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }
        return msgspec.json.encode(made)

    async def make(self, api: Api) -> None:
        await api.request("POST", Resource("", "v1", "namespaces").path(), body=_json(metadata={"name": NAMESPACE}))
        ports = [{"name": "http", "port": 80}]
        service = _json(metadata={"name": "web"}, spec={"ports": ports})
        await api.request("POST", Resource("", "v1", "services", NAMESPACE).path(), body=service)
        left = iter(range(self.count))

        async def some() -> None:
            for at in left:
                await api.request("POST", SLICES.path(), body=self.body(at))

        await asyncio.gather(*[some() for _ in range(AT_ONCE)])

    async def change(self, kubeconfig: Path) -> None:
        """Change one endpoint's readiness in each of so many slices."""
        async with connect(kubeconfig) as api:
            for _ in range(EVENTS):
                at, number = self._random.randrange(self.count), self._random.randrange(PER_SLICE)
                self._ready[at][number] ^= True
                await api.request("PUT", SLICES.path(f"web-{at:05d}"), body=self.body(at))

    @asynccontextmanager
    async def changing(self, kubeconfig: Path) -> AsyncIterator[None]:
        """Change them in another thread, whose CPU is not this one's."""
        thread = threading.Thread(target=lambda: asyncio.run(self.change(kubeconfig)))
        thread.start()
        yield
        await asyncio.to_thread(thread.join)


def _json(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


async def plain(slices: Slices, kubeconfig: Path) -> tuple[float, list[msgspec.Raw], list[bytes]]:
    """Microseconds an event of a watch whose events are decoded and forgotten; the slices before them; the events."""
    async with connect(kubeconfig) as api:
        page = PAGE.decode(await api.request("GET", SLICES.path()))
        params = {"watch": "1", "resourceVersion": page.metadata.resource_version, "allowWatchBookmarks": "true"}
        seen: list[bytes] = []
        async with api.stream(SLICES.path(), params=params) as lines, slices.changing(kubeconfig):
            began = time.thread_time()
            async for line in lines:
                if PLAIN.decode(line).type == "MODIFIED":
                    seen.append(line)
                    if len(seen) == EVENTS:
                        break
            used = time.thread_time() - began
    return used / EVENTS * 1e6, list(page.items or ()), seen


def view(on_mark: Callable[[ServiceKey, Collection[str] | None], None]) -> SourceView:
    return SourceView("k", Loss(), on_mark, time.monotonic)


async def product(slices: Slices, kubeconfig: Path, folder: Path) -> float:
    """Microseconds an event of the source and the catalog."""
    marks = 0
    all_seen = asyncio.Event()

    def marked(_key: ServiceKey, _ids: Collection[str] | None) -> None:
        nonlocal marks
        marks += 1
        if marks == EVENTS:
            all_seen.set()

    known = view(marked)
    context = TestContext(folder, name="k", credentials={"kubeconfig": _embedded(kubeconfig)})
    source = KubernetesSource(SourceConfig(namespaces=(NAMESPACE,), nodes=False), context)
    task = asyncio.create_task(source.watch(SourceChanges(known, lambda *_: None)))
    async with asyncio.timeout(READY_SECONDS):
        while not known.complete:  # noqa: ASYNC110 - the catalog tells nobody
            await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    marks = 0
    settled()
    async with slices.changing(kubeconfig):
        began = time.thread_time()
        await all_seen.wait()
        used = time.thread_time() - began
    task.cancel()
    await asyncio.wait([task])
    return used / EVENTS * 1e6


def settled() -> None:
    """Do what the program does once it has started: what is there then is not walked by later collections."""
    gc.collect()
    gc.freeze()


def _embedded(kubeconfig: Path) -> str:
    """A kubeconfig as a Secret has it, without paths."""
    config = msgspec.json.decode(kubeconfig.read_bytes())
    cluster = config["clusters"][0]["cluster"]
    ca = Path(cluster.pop("certificate-authority")).read_bytes()
    cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    return msgspec.json.encode(config).decode()


def shown_with(slices: list[msgspec.Raw], out: SourceChanges) -> View:
    """The source's view once it has read a list of these slices; nothing is told yet."""
    problems = Problems(logging.LoggerAdapter(logging.getLogger("bench")), RecordedMetrics(), "problems")
    shown = View("k", SourceConfig(), problems, out)
    shown.put_service(ServiceRow(Metadata("web", NAMESPACE)))
    shown.muted = True
    for raw in slices:
        shown.put_slice(Slice.of(memoryview(raw)))
    shown.muted = False
    return shown


def memory(slices: list[msgspec.Raw]) -> float:
    """Bytes an endpoint that the source's view holds, the catalog's apart."""
    tracemalloc.start()
    shown = shown_with(slices, SourceChanges(view(lambda _key, _ids: None), lambda *_: None))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(shown.groups[NAMESPACE, "web"].where)


def offline(before: list[msgspec.Raw], lines: list[bytes]) -> tuple[float, float]:
    """Microseconds an event, without the network: of decoding it, and of the source and the catalog."""
    out = SourceChanges(view(lambda _key, _ids: None), lambda *_: None)
    shown = shown_with(before, out)
    out.put(shown.whole(shown.groups[NAMESPACE, "web"]))
    settled()
    began = time.thread_time()
    for line in lines:
        PLAIN.decode(line)
    decoded = time.thread_time()
    for line in lines:
        _, text, start, stop = located(line)
        shown.put_slice(Slice(text, start, stop))
    ended = time.thread_time()
    return (decoded - began) / len(lines) * 1e6, (ended - decoded) / len(lines) * 1e6


async def kubernetes_watch(options: argparse.Namespace) -> Result:
    """An event of a Service with so many endpoints, a hundred in a slice."""
    slices = Slices(max(1, options.instances // PER_SLICE))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        async with Kubernetes(folder / "kubernetes", controllers=False) as cluster:
            async with connect(cluster.kubeconfig) as api:
                await slices.make(api)
            rounds = []
            for _ in range(options.rounds):
                least, before, lines = await plain(slices, cluster.kubeconfig)
                whole = await product(slices, cluster.kubeconfig, folder)
                rounds.append((least, whole, *offline(before, lines), len(lines[0]), memory(before)))
    least, whole, decoded, told, size, held = (statistics.median(column) for column in zip(*rounds, strict=True))
    figures = [
        Figure(name="CPU an event, source and catalog", value=whole, unit="µs"),
        Figure(name="CPU an event, the stream decoded by msgspec and forgotten", value=least, unit="µs"),
        Figure(name="share of the two", value=whole / least, goal=1.5),
        Figure(name="without the network: source and catalog", value=told, unit="µs", goal=25),
        Figure(name="without the network: decoded by msgspec", value=decoded, unit="µs"),
        Figure(name="size of an event", value=size / 1000, unit="kB"),
        Figure(name="memory of the source, an endpoint", value=held, unit="B"),
    ]
    return Result(name="kubernetes-watch", command="", figures=figures)
