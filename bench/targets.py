"""Where `peer` has both write to, a new etcd in CoreDNS' layout and a new BIND; each looked at from outside."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Protocol

import dns.asyncquery
import dns.message
import dns.rdatatype

from bench.etcd import Eye, Written, fresh_etcd
from testbed.servers.bind import Bind
from testbed.servers.etcd import Etcd

ZONE = "prod.example.com"
TTL_SECONDS = 30
OWNER = "bench"
CALM_SECONDS = 0.3
LOOK_SECONDS = 0.005
BATCH = 600  # changes a message of external-dns: it was fastest so of 50 (its default) to 700; 800 are no message


class Target(Protocol):
    """A server, how each of the two is told of it, and what stands there."""

    name: ClassVar[str]
    sink: ClassVar[str]

    def manifest(self) -> tuple[str, str]:
        """Config and credentials of Waypost's sink, as YAML."""

    def flags(self) -> list[str]:
        """External-dns' flags that say where."""

    def environment(self) -> Mapping[str, str]:
        """External-dns' environment."""

    async def written(self, wanted: int, *, timeout: float) -> Written:
        """Wait until so many records are there; when the first and the last write was seen."""

    async def count(self) -> int:
        """How many names `service-N` are there."""

    async def shows(self, name: str) -> bool:
        """Whether this one is, as somebody who asks for it sees."""


class SkyDns:
    """An etcd in the layout of SkyDNS."""

    name: ClassVar[str] = "etcd"
    sink: ClassVar[str] = "etcd"
    below: ClassVar[bytes] = b"/skydns/com/example/prod/"

    def __init__(self, server: Etcd, eye: Eye) -> None:
        self._server, self.eye = server, eye
        self.endpoint = server.endpoint

    @classmethod
    @asynccontextmanager
    async def fresh(cls, folder: Path) -> AsyncIterator[SkyDns]:
        async with fresh_etcd(folder) as server, Eye(server, cls.below) as eye:
            yield cls(server, eye)

    def manifest(self) -> tuple[str, str]:
        config = {"endpoints": self._server.endpoints, "layout": "skydns", "zone": ZONE, "ttlSeconds": TTL_SECONDS}
        return json.dumps(config), "[]"

    def flags(self) -> list[str]:
        return ["--provider=coredns"]

    def environment(self) -> Mapping[str, str]:
        return {"ETCD_URLS": self._server.endpoint}

    async def written(self, wanted: int, *, timeout: float) -> Written:
        return await self.eye.written(wanted, timeout=timeout)

    async def count(self) -> int:
        return await self.eye.count(self.below + b"service-")

    async def shows(self, name: str) -> bool:
        return await self.eye.holds(b"%s%s/" % (self.below, name.encode()))


class Zone:
    """A BIND, primary for the zone, updated and transferred with a TSIG key."""

    name: ClassVar[str] = "BIND"
    sink: ClassVar[str] = "dns"

    def __init__(self, server: Bind) -> None:
        self._server = server
        self.port, self.key = server.port, server.key

    @classmethod
    @asynccontextmanager
    async def fresh(cls, folder: Path) -> AsyncIterator[Zone]:
        async with Bind(folder, [ZONE]) as server:
            yield cls(server)

    def manifest(self) -> tuple[str, str]:
        key = self._server.directory / "key"
        key.write_text(self._server.key)
        config = {"server": self._server.address, "zone": ZONE, "ttlSeconds": TTL_SECONDS}
        return json.dumps(config), json.dumps([{"name": "tsigKey", "file": str(key)}])

    def flags(self) -> list[str]:
        said = {
            "host": "127.0.0.1",
            "port": self._server.port,
            "zone": ZONE,
            "tsig-keyname": "waypost",
            "tsig-secret": self._server.secret,
            "tsig-secret-alg": self._server.algorithm,
            "batch-change-size": BATCH,
        }
        others = f"--exclude-domains=ns.{ZONE}"  # the zone's own, which it would delete where it has no registry
        return [
            "--provider=rfc2136",
            "--rfc2136-axfr",
            others,
            *(f"--rfc2136-{key}={value}" for key, value in said.items()),
        ]

    def environment(self) -> Mapping[str, str]:
        return {}

    async def _ask(self, name: str, kind: str) -> dns.message.Message:
        question = dns.message.make_query(name, kind)
        return await dns.asyncquery.udp(question, "127.0.0.1", 5, self._server.port)

    async def serial(self) -> int:
        answer = await self._ask(ZONE, "SOA")
        return int(answer.answer[0][0].serial)

    async def written(self, wanted: int, *, timeout: float) -> Written:
        deadline = time.monotonic() + timeout
        seen = await self.serial()
        first = last = 0.0
        while time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            serial, now = await self.serial(), time.monotonic()
            if serial != seen:
                first, seen, last = first or now, serial, now
            elif last and now - last > CALM_SECONDS:
                if await self.count() >= wanted:
                    return Written(first, last)
                await asyncio.sleep(1)
        raise TimeoutError(f"{wanted} names were wanted after {timeout:.0f} s; there are {await self.count()}")

    async def count(self) -> int:
        names = [name for name, kind in await self._server.zone() if kind == "A"]
        return sum(name.startswith("service-") for name in names)

    async def shows(self, name: str) -> bool:
        answer = await self._ask(f"{name}.{ZONE}", "A")
        return any(rrset.rdtype == dns.rdatatype.A for rrset in answer.answer)
