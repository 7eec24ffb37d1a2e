"""What the tests of the DNS server publish, and how they ask it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import dns.asyncquery
import dns.flags
import dns.message
import dns.rdatatype

from waypost.adapter import Change, Fence, Record
from waypost.model import (
    Address,
    Port,
    Publication,
    PublicationKey,
    PublishedInstance,
    PublishedName,
    ServiceKey,
    Strategy,
    family,
)
from waypost_adapters.dns_server.sink import DnsServerSink

PORTS = (Port(8080, "http"), Port(9090, "admin"))


def publication(
    *names: str | PublishedName, strategy: Strategy = "Weighted", ttl: int | None = None, namespace: str = "shop"
) -> Publication:
    published = tuple(PublishedName(name) if isinstance(name, str) else name for name in names or ("web",))
    key = PublicationKey(f"{namespace}/web", "dns", ServiceKey("mesos", "shop", "web"))
    return Publication(key, published, "prod", "owner-a", strategy=strategy, ttl_seconds=ttl)


def instance(
    id: str, *addresses: str, ready: bool = True, weight: int = 1, ports: tuple[Port, ...] = PORTS
) -> PublishedInstance:
    made = tuple(
        Address(value, "Hostname" if family(value) == "Hostname" else "Host") for value in addresses or ("10.0.0.1",)
    )
    return PublishedInstance(id, made, ports, ready=ready, weight=weight)


class Server:
    """An opened sink with its fence."""

    def __init__(self, sink: DnsServerSink, fence: Fence) -> None:
        self.sink = sink
        self.fence = fence

    async def publish(self, published: Publication, *instances: PublishedInstance) -> list[Record]:
        records = [item for item in self.sink.render(published, instances) if isinstance(item, Record)]
        assert records
        for at in range(0, len(records), 256):
            part = records[at : at + 256]
            outcomes = await self.sink.apply([Change(record.key, record) for record in part], self.fence)
            assert {outcome.status for outcome in outcomes.values()} == {"applied"}
        return records

    async def withdraw(self, *records: Record) -> None:
        outcomes = await self.sink.apply([Change(record.key) for record in records], self.fence)
        assert {outcome.status for outcome in outcomes.values()} == {"applied"}

    async def ask(
        self, name: str, type: str = "A", *, tcp: bool = False, payload: int | None = None, port: int | None = None
    ) -> dns.message.Message:
        query = dns.message.make_query(name, type, use_edns=payload is not None, payload=payload or 0)
        query.flags &= ~dns.flags.RD
        ask = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        listening = self.sink.listening
        return await ask(query, listening.host, port=port or listening.port, timeout=5)

    async def texts(self, name: str, type: str = "A", **how: bool) -> list[str]:
        answer = await self.ask(name, type, **how)
        return sorted(str(one) for rrset in answer.answer for one in rrset)


Opened = Callable[..., AbstractAsyncContextManager[Server]]
