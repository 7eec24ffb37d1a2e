"""PTR records, on a real BIND and a real Knot: records of other zones, each with its owner, stamp and fence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from testbed.servers import NameServer, dig
from tests.adapters.dns.publishing import ZONE, instance, owner, statuses
from tests.adapters.dns.test_on_servers import SERVERS
from waypost.adapter import Change, Fenced, InvalidRecord, PermanentError
from waypost.model import (
    Address,
    Hop,
    Publication,
    PublicationKey,
    PublishedInstance,
    PublishedName,
    ServiceKey,
)
from waypost_adapters.dns.config import Options
from waypost_adapters.dns.render import Renderer

TEN, SIX = "10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"
REVERSE: dict[str, Any] = {"reverseZones": [TEN, SIX]}


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NameServer]:
    async with request.param(tmp_path / "server", (ZONE, TEN, SIX)) as made:
        yield made


async def pointers(server: NameServer, address: str) -> list[str]:
    return sorted(await asyncio.to_thread(dig, server, "-x", address))


async def test_addresses_of_both_families_lead_back_to_the_name(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path, **REVERSE) as me:
        a = instance("a", "10.0.0.7", "2001:db8::7")
        assert set(statuses(await me.put("web", a, ptr=True)).values()) == {"applied"}
        assert await pointers(server, "10.0.0.7") == [f"web.{ZONE}."]
        assert await pointers(server, "2001:db8::7") == [f"web.{ZONE}."]
        seen = [each async for each in me.sink.observe()]
        assert len(seen) == 3
        assert {(each.instance, each.name) for each in seen} == {("a", "web")}
        assert {each.key: each.fingerprint for each in seen} == {
            record.key: hash(record.content) for record in me.records("web", a, ptr=True)
        }
        assert set(statuses(await me.drop("web", a, ptr=True)).values()) == {"applied"}
        assert await pointers(server, "10.0.0.7") == []
        assert [name for name, _ in await server.zone(TEN) if "7" in name] == []


async def test_two_instances_at_one_address_have_one_pointer_until_the_last_goes(
    server: NameServer, tmp_path: Path
) -> None:
    async with owner(server, tmp_path, **REVERSE) as me:
        a, b = instance("a", "10.0.0.7", http=1), instance("b", "10.0.0.7", http=2)
        await me.put("web", a, b, ptr=True)
        await me.put("www.shop", a, ptr=True)
        assert await pointers(server, "10.0.0.7") == [f"web.{ZONE}.", f"www.shop.{ZONE}."]
        await me.drop("web", a, ptr=True)
        await me.drop("www.shop", a, ptr=True)
        assert await pointers(server, "10.0.0.7") == [f"web.{ZONE}."]
        await me.drop("web", b, ptr=True)
        assert await pointers(server, "10.0.0.7") == []


async def test_a_pointer_made_by_hand_stays_and_the_address_is_published_all_the_same(
    server: NameServer, tmp_path: Path
) -> None:
    await server.update(f"7.0.0 60 PTR web.{ZONE}.", zone=TEN)
    async with owner(server, tmp_path, **REVERSE) as me:
        records = me.records("web", instance("a", "10.0.0.7"), ptr=True)
        outcomes = await me.sink.apply([Change(record.key, record) for record in records], me.fence)
        assert [outcomes[record.key].status for record in records] == ["applied", "conflict"]
        await me.drop("web", instance("a", "10.0.0.7"), ptr=True)
    assert await pointers(server, "10.0.0.7") == [f"web.{ZONE}."]


async def test_who_is_not_ready_has_no_pointer(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path, **REVERSE) as me:
        await me.put("web", instance("a", "10.0.0.7", ready=False), ptr=True)
        assert await pointers(server, "10.0.0.7") == []
        assert len(await me.observed()) == 2
        await me.put("web", instance("a", "10.0.0.7"), ptr=True)
        assert await pointers(server, "10.0.0.7") == [f"web.{ZONE}."]


async def test_each_zone_is_fenced_and_belongs_to_one_environment(server: NameServer, tmp_path: Path) -> None:
    """A claim of more zones has one epoch in all; one of a zone alone stops who has it among others."""
    a = instance("a", "10.0.0.7")
    async with owner(server, tmp_path, **REVERSE) as first:
        await first.put("web", a, ptr=True)
        async with owner(server, tmp_path, **REVERSE) as second:
            assert first.fence is not None
            assert second.fence is not None
            assert second.fence.epoch == first.fence.epoch + 1
            with pytest.raises(Fenced):
                await first.put("web", a, ptr=True)
            second.fence = await second.sink.advance(second.fence)
            assert second.fence.generation == 1
            outcomes = await second.put("web", instance("a", "10.0.0.8"), ptr=True)
            assert set(statuses(outcomes).values()) == {"applied"}
    await server.update(delete=["_waypost TXT"], zone=SIX)
    await server.update('_waypost 5 TXT "waypost-zone=1 environment=prod"', zone=SIX)
    serial = await server.serial(ZONE)
    with pytest.raises(PermanentError, match=rf"{SIX}.*environment `prod`"):
        async with owner(server, tmp_path, **REVERSE):
            pass
    assert await server.serial(ZONE) == serial, "nothing was written to the other zones either"


async def test_what_others_change_in_a_zone_of_pointers_is_marked(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path, **REVERSE) as me:
        a = instance("a", "10.0.0.7")
        await me.put("web", a, ptr=True)
        await me.observed()
        marked: asyncio.Queue[set[str]] = asyncio.Queue()
        drift = getattr(me.sink, "drift", None)
        assert drift is not None
        following = asyncio.create_task(drift(lambda keys: marked.put_nowait(set(keys))))
        await server.update(delete=["7.0.0 PTR"], zone=TEN)
        _, pointer = me.records("web", a, ptr=True)
        async with asyncio.timeout(20):
            while pointer.key not in await marked.get():
                pass
        following.cancel()
        await asyncio.wait([following])
        (seen,) = [each async for each in me.sink.observe([pointer.key])]
        assert seen.fingerprint != hash(pointer.content)
        await me.put("web", a, ptr=True)
        assert await pointers(server, "10.0.0.7") == [f"web.{ZONE}."]


def test_an_address_that_no_zone_has_is_said_and_is_published_without_a_pointer() -> None:
    key = PublicationKey("shop/web", "dns", ServiceKey("mem", "shop", "web"))
    publication = Publication(key, (PublishedName("web"),), "test", "me", options=Options(ptr=True))
    shown = PublishedInstance("a", (Address("192.0.2.7"),), path=(Hop("test", "me"),))
    record, invalid = Renderer(ZONE, 30, [TEN]).render(publication, [shown])
    assert not isinstance(record, InvalidRecord)
    assert isinstance(invalid, InvalidRecord)
    assert "reverseZones" in str(invalid)
    assert "7.2.0.192.in-addr.arpa" in str(invalid)
