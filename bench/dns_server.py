"""`dns-server`: how many questions the embedded DNS server answers in a second; beside BIND, each alone on one core.

One Waypost publishes the same services into both. Then dnsperf asks each in turn for the same names, from another core:
addresses, SRV records, and a few names that are not there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode

from bench.figures import Figure, Result
from bench.product import MANIFESTS, master, running
from bench.tasks import Cluster
from testbed.ports import free_port
from testbed.servers.bind import Bind

OWN_ZONE = "example.com."
ZONE = "bench.bench.example.com"  # of which the embedded server's names are: namespace, environment, its zone
SECONDS = 6
INSTANCES, SERVICES = 5_000, 1_000
SYNC_SECONDS = 180.0
QUESTIONS = 20_000
WARM_TIMES = 3  # 32 orders of 1,000 names, and some of those more than once
IN_FLIGHT = 100
KINDS = {"A": {"A": 1.0}, "SRV": {"SRV": 1.0}, "mixed": {"A": 0.8, "SRV": 0.15, "none": 0.05}}

SECOND_SINK = """---
apiVersion: waypost.dev/v1alpha1
kind: ServiceSink
metadata: {{name: embedded}}
spec: {{type: dns_server, environment: bench, ownerID: bench, config: {config}}}
"""


def questions(kinds: Mapping[str, float], cluster: Cluster, draw: random.Random) -> str:
    """Lines for dnsperf; `none` are names that are not there."""
    lines = []
    for kind in draw.choices(list(kinds), list(kinds.values()), k=QUESTIONS):
        name = f"{cluster.name(draw.randrange(cluster.size))}.{ZONE}"
        shown = {"A": f"{name} A", "SRV": f"_http._tcp.{name} SRV", "none": f"no-{draw.randrange(1000)}.{ZONE} A"}
        lines.append(shown[kind])
    return "\n".join(lines) + "\n"


async def perf(port: int, asked: Path, core: int, *, warm: bool = False) -> float:
    """Answers a second that dnsperf, on this core, gets from a server; none may be lost or fail.

    To be `warm`, all is asked so often that each order of each answer has been given out.
    """
    command = [
        "dnsperf",
        "-s",
        "127.0.0.1",
        "-p",
        str(port),
        "-d",
        str(asked),
        "-q",
        str(IN_FLIGHT),
        "-c",
        "4",
        "-t",
        "5",
    ]
    command += ["-n", str(WARM_TIMES)] if warm else ["-l", str(SECONDS)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    out = (await process.communicate())[0].decode()
    rate = re.search(r"Queries per second:\s+([\d.]+)", out)
    codes = re.search(r"Response codes:\s+(.*)", out)
    lost = re.search(r"Queries lost:\s+(\d+)", out)
    if not (rate and codes and lost):
        raise RuntimeError(f"dnsperf said: {out}")
    if "SERVFAIL" in codes[1] or "REFUSED" in codes[1] or int(lost[1]) > 100:
        raise RuntimeError(f"the server on port {port} does not answer: {codes[1]}, {lost[1]} lost")
    return float(rate[1])


async def answers(port: int, name: str, kind: str) -> int:
    """How many records a name has."""
    try:
        found = await dns.asyncquery.udp(dns.message.make_query(name, kind), "127.0.0.1", 2.0, port)
    except (dns.exception.DNSException, OSError):
        return 0
    return sum(len(rrset) for rrset in found.answer) if found.rcode() == dns.rcode.NOERROR else 0


@contextmanager
def pinned(process: int, core: int) -> Iterator[None]:
    """Keep a process and all its threads on one core."""
    before = os.sched_getaffinity(process)
    threads = [int(each.name) for each in Path(f"/proc/{process}/task").iterdir()]
    for each in threads:
        os.sched_setaffinity(each, {core})
    yield
    for each in threads:
        os.sched_setaffinity(each, before)


def child(process: int) -> int:
    """The process that answers: a child of Waypost's own."""
    for found in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = found.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and b"dns_server.process" in (found.parent / "cmdline").read_bytes():
            return int(found.parent.name)
    raise RuntimeError("the DNS process is not there")


def manifests(folder: Path, url: str, bind: Bind, port: int, cluster: Cluster) -> Path:
    key = folder / "key"
    key.write_text(bind.key)
    key.chmod(0o600)
    config = json.dumps({"server": bind.address, "zone": ZONE})
    given = {"master": url, "sink": "dns", "config": config, "namespace": cluster.namespace, "not_ready": "Withhold"}
    text = MANIFESTS.format(**given, credentials=json.dumps([{"name": "tsigKey", "file": str(key)}]))
    text = text.replace("sinks: [", "sinks: [{name: embedded, sinkRef: {name: embedded}}, ")
    path = folder / "manifests.yaml"
    path.write_text(text + SECOND_SINK.format(config=json.dumps({"listen": f"127.0.0.1:{port}", "zone": OWN_ZONE})))
    return path


async def dns_server(options: argparse.Namespace) -> Result:
    """Publish, wait until both answer, then ask in turn."""
    if shutil.which("dnsperf") is None:
        raise SystemExit("dns-server: dnsperf is not here (Debian: dnsperf)")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("dns-server: it takes two cores, one for the server and one for who asks")
    cluster = Cluster(min(options.instances, INSTANCES), min(options.services, SERVICES))
    draw = random.Random(1)
    rates: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as name:
        folder = Path(name)
        port = free_port()
        (folder / "bind").mkdir()
        async with (
            master(cluster) as (_, url),
            Bind(folder / "bind", [ZONE]) as bind,
            running(manifests(folder, url, bind, port, cluster)) as product,
        ):
            await product.said("settled records=", timeout=SYNC_SECONDS)
            last = f"_http._tcp.{cluster.name(cluster.size - 1)}.{ZONE}"
            found = [await answers(each, last, "SRV") for each in (port, bind.port)]
            assert all(found), f"of {last} both should have SRV records; there are {found}"
            with pinned(bind.pid, cores[0]), pinned(child(product.process.pid), cores[0]):
                for kind, shares in KINDS.items():
                    asked = folder / kind
                    asked.write_text(questions(shares, cluster, draw))
                    for warmed in (port, bind.port):
                        await perf(warmed, asked, cores[1], warm=True)
                    for _ in range(options.rounds):
                        ours = await perf(port, asked, cores[1])
                        rates[kind].append((ours, await perf(bind.port, asked, cores[1])))
                        print(f"dns-server: {kind}: {rates[kind][-1]}", flush=True)
    table = [["questions", "Waypost's, answers/s", "BIND's, answers/s", "ratio"]]
    for kind, pairs in rates.items():
        ours, theirs = (statistics.median(each[at] for each in pairs) for at in (0, 1))
        table.append([kind, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ratio(pairs):.2f}"])
    figures = [
        Figure(name="embedded DNS server beside BIND, mixed", value=ratio(rates["mixed"]), goal=1.0, sense="least"),
        Figure(name="… addresses alone", value=ratio(rates["A"])),
        Figure(name="… SRV records alone, with the addresses of their targets", value=ratio(rates["SRV"])),
    ]
    return Result(name="dns-server", command="", figures=figures, table=table)


def ratio(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(ours / theirs for ours, theirs in pairs)
