"""The traps of dynamic update, on a real BIND and a real Knot; what stands there is read by dig."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testbed.servers import Bind, Knot, NameServer, dig
from tests.adapters.dns.publishing import ZONE, instance, owner, statuses
from waypost.adapter import AdapterError, Fenced, NotClaimed, PermanentError
from waypost.kit.clock import LoopClock

SERVERS = [
    pytest.param(Bind, marks=pytest.mark.server("bind"), id="bind"),
    pytest.param(Knot, marks=pytest.mark.server("knot"), id="knot"),
]


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NameServer]:
    async with request.param(tmp_path / "server") as made:
        yield made


async def answers(server: NameServer, name: str, kind: str) -> list[str]:
    """What dig gets, over TCP, so that it is whole."""
    return sorted(await asyncio.to_thread(dig, server, "+tcp", f"{name}.{ZONE}", kind))


def shown(lines: list[str]) -> list[str]:
    """SRV lines without the targets' digests."""
    return [" ".join(line.split()[:3]) for line in lines]


# --- what consumers get


async def test_addresses_and_ports_of_both_families_are_answered(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        outcomes = await me.put("web", instance("a", "10.0.0.7", "2001:db8::7"), instance("b", "10.0.0.8", weight=5))
        assert statuses(outcomes) == {"a": "applied", "b": "applied"}
    assert await answers(server, "web", "A") == ["10.0.0.7", "10.0.0.8"]
    assert await answers(server, "web", "AAAA") == ["2001:db8::7"]
    assert shown(await answers(server, "_http._tcp.web", "SRV")) == ["0 1 8080", "0 5 8080"]


async def test_an_srv_record_leads_to_the_address_of_its_own_instance(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        await me.put("web", instance("a", "10.0.0.7", http=1001), instance("b", "10.0.0.8", http=1002))
    found = {}
    for line in await answers(server, "_http._tcp.web", "SRV"):
        _, _, port, target = line.split()
        found[port] = await asyncio.to_thread(dig, server, target, "A")
    assert found == {"1001": ["10.0.0.7"], "1002": ["10.0.0.8"]}


async def test_one_address_of_several_instances_stays_until_the_last_is_gone(
    server: NameServer, tmp_path: Path
) -> None:
    async with owner(server, tmp_path) as me:
        a, b = instance("a", "10.0.0.7", http=1001), instance("b", "10.0.0.7", http=1002)
        await me.put("web", a, b)
        assert await answers(server, "web", "A") == ["10.0.0.7"]
        await me.drop("web", a)
        assert await answers(server, "web", "A") == ["10.0.0.7"]
        assert shown(await answers(server, "_http._tcp.web", "SRV")) == ["0 1 1002"]
        await me.drop("web", b)
        assert await answers(server, "web", "A") == []
        assert await server.zone() == await _empty(server)


async def _empty(server: NameServer) -> dict[tuple[str, str], list[str]]:
    """The zone, but for what is Waypost's."""
    zone = await server.zone()
    return {place: found for place, found in zone.items() if not place[0].split(".")[0].startswith(("i-", "c-"))}


async def test_a_host_name_is_an_alias_while_no_address_is_published_there(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        host, address = instance("h", "db.example.net"), instance("a", "10.0.0.7")
        await me.put("web", host)
        assert await answers(server, "web", "CNAME") == ["db.example.net."]
        assert await answers(server, "_http._tcp.web", "SRV") == ["0 1 8080 db.example.net."]
        assert statuses(await me.put("web", address)) == {"a": "applied"}
        assert await answers(server, "web", "CNAME") == []
        assert await answers(server, "web", "A") == ["10.0.0.7"]
        await me.drop("web", address)
        assert await answers(server, "web", "CNAME") == ["db.example.net."]


async def test_who_is_not_ready_is_kept_and_not_answered(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        await me.put("web", instance("a", "10.0.0.7", ready=False), instance("b", "10.0.0.8"))
        assert await answers(server, "web", "A") == ["10.0.0.8"]
        assert len(await me.observed()) == 2
        await me.put("web", instance("a", "10.0.0.7"))
        assert await answers(server, "web", "A") == ["10.0.0.7", "10.0.0.8"]


async def test_five_hundred_under_one_name_and_one_that_goes(server: NameServer, tmp_path: Path) -> None:
    many = [instance(f"i{n}", f"10.0.{n // 250}.{n % 250 + 1}", http=20_000 + n) for n in range(500)]
    async with owner(server, tmp_path, timeoutSeconds=30) as me:
        assert set(statuses(await me.put("web", *many)).values()) == {"applied"}
        before = await server.serial()
        await me.drop("web", many[0])
        assert await server.serial() == before + 1, "one update"
        assert len(await me.observed()) == 499
    assert len(await answers(server, "web", "A")) == 499
    assert len(await answers(server, "_http._tcp.web", "SRV")) == 499


# --- what is not ours


async def test_a_record_made_by_hand_that_is_the_same_is_never_taken_and_never_deleted(
    server: NameServer, tmp_path: Path
) -> None:
    await server.update("web 77 A 10.0.0.7")
    async with owner(server, tmp_path) as me:
        a, b = instance("a", "10.0.0.7"), instance("b", "10.0.0.8")
        assert statuses(await me.put("web", a, b)) == {"a": "conflict", "b": "applied"}
        await me.drop("web", a, b)
        assert set(await me.observed()) == set()
        found = await me.sink.inspect(["web"])
        assert [(each.name, each.owner) for each in found] == [("web", "")]
    assert await answers(server, "web", "A") == ["10.0.0.7"]


async def test_one_that_is_made_by_hand_at_the_same_moment_is_seen(server: NameServer, tmp_path: Path) -> None:
    """What we know of the zone is from before; the server compares."""
    async with owner(server, tmp_path) as me:
        await me.put("web", instance("a", "10.0.0.7"))
        await server.update("web 30 A 10.0.0.8")
        assert statuses(await me.put("web", instance("b", "10.0.0.8"))) == {"b": "conflict"}
        await me.drop("web", instance("a", "10.0.0.7"))
    assert await answers(server, "web", "A") == ["10.0.0.8"]


async def test_beside_others_records_their_ttl_holds_and_they_stay(server: NameServer, tmp_path: Path) -> None:
    await server.update("web 77 A 10.9.9.9")
    async with owner(server, tmp_path) as me:
        a = instance("a", "10.0.0.7")
        await me.put("web", a)
        lines = await asyncio.to_thread(dig, server, "+noshort", "+noall", "+answer", f"web.{ZONE}", "A")
        assert {line.split()[1] for line in lines} == {"77"}
        assert await answers(server, "web", "A") == ["10.0.0.7", "10.9.9.9"]
        await me.drop("web", a)
    assert await answers(server, "web", "A") == ["10.9.9.9"]


async def test_a_ttl_is_the_lowest_that_is_asked_for(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        await me.put("web", instance("a", "10.0.0.7"))
        await me.put("web", instance("b", "10.0.0.8"), ttl=5)
        lines = await asyncio.to_thread(dig, server, "+noshort", "+noall", "+answer", f"web.{ZONE}", "A")
        assert {line.split()[1] for line in lines} == {"5"}


async def test_several_owners_share_a_name_and_each_takes_its_own_away(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path, "me") as me, owner(server, tmp_path, "you") as you:
        mine, yours = instance("a", "10.0.0.7"), instance("a", "10.0.0.8")
        both = instance("b", "10.0.0.9")
        assert set(statuses(await me.put("web", mine, both)).values()) == {"applied"}
        assert set(statuses(await you.put("web", yours, both)).values()) == {"applied"}
        assert await answers(server, "web", "A") == ["10.0.0.7", "10.0.0.8", "10.0.0.9"]
        assert len(await me.observed()) == len(await you.observed()) == 2
        await me.drop("web", mine, both)
        assert await answers(server, "web", "A") == ["10.0.0.8", "10.0.0.9"], "what the other relies on stays"
        await you.drop("web", yours, both)
        assert await answers(server, "web", "A") == []


async def test_nothing_is_written_below_a_delegation(server: NameServer, tmp_path: Path) -> None:
    await server.update("sub 300 NS ns.example.net.")
    async with owner(server, tmp_path) as me:
        assert statuses(await me.put("web.sub", instance("a", "10.0.0.7"))) == {"a": "conflict"}


# --- stamps


async def test_a_zone_of_another_environment_is_left_alone(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path, "them", environment="prod"):
        pass
    serial = await server.serial()
    with pytest.raises(PermanentError, match="environment `prod`"):
        async with owner(server, tmp_path):
            pass
    assert await server.serial() == serial


async def test_the_earlier_of_two_claims_writes_nothing_more(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as first, owner(server, tmp_path) as second:
        await second.put("web", instance("a", "10.0.0.7"))
        with pytest.raises(Fenced):
            await first.put("web", instance("b", "10.0.0.8"))
        assert first.fence is not None
        with pytest.raises(Fenced):
            await first.sink.advance(first.fence)
    assert await answers(server, "web", "A") == ["10.0.0.7"]


async def test_a_stamp_that_is_gone_is_no_claim(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        await server.update(delete=["me._waypost TXT"])
        with pytest.raises(NotClaimed):
            await me.put("web", instance("a", "10.0.0.7"))
        me.fence = await me.sink.claim("test", "me", 7)
        assert me.fence is not None
        assert me.fence.epoch == 8
        assert statuses(await me.put("web", instance("a", "10.0.0.7"))) == {"a": "applied"}


# --- what others change


async def test_what_others_change_is_marked_by_the_zones_own_log(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        await me.put("web", instance("a", "10.0.0.7"), instance("b", "10.0.0.8"))
        await me.observed()
        marked: asyncio.Queue[set[str]] = asyncio.Queue()
        drift = getattr(me.sink, "drift", None)
        assert drift is not None
        following = asyncio.create_task(drift(lambda keys: marked.put_nowait(set(keys))))
        await server.update("other 30 A 10.1.1.1", delete=["web A 10.0.0.7"])
        async with asyncio.timeout(20):
            (record,) = me.records("web", instance("a", "10.0.0.7"))
            assert record.key in await marked.get()
        following.cancel()
        await asyncio.wait([following])
        was = record.content
        (seen,) = [each async for each in me.sink.observe([record.key])]
        assert seen.fingerprint != hash(was)
        assert statuses(await me.put("web", instance("a", "10.0.0.7"))) == {"a": "applied"}
        assert await answers(server, "web", "A") == ["10.0.0.7", "10.0.0.8"]


# --- keys and clocks


class Skewed(LoopClock):
    """A machine whose clock is wrong."""

    def wall(self) -> float:
        return super().wall() - 5000


async def test_clocks_that_differ_are_told_by_how_much(server: NameServer, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"clocks .* differ by 5\d\d\d s.*BADTIME"):
        async with owner(server, tmp_path, clock=Skewed()):
            pass


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("hmac-sha256:waypost:b3RoZXIgc2VjcmV0", "BADSIG|NOTAUTH|secret"),
        ("hmac-sha256:stranger:b3RoZXIgc2VjcmV0", "BADKEY|does not know"),
        ("hmac-md5:waypost:b3RoZXIgc2VjcmV0", "no TSIG key"),
        ("nonsense", "no TSIG key"),
        ("", "no TSIG key|tsigKey"),
    ],
)
async def test_a_wrong_key_is_named(server: NameServer, tmp_path: Path, key: str, says: str) -> None:
    with pytest.raises(PermanentError, match=says) as raised:
        async with owner(server, tmp_path, key=key):
            pass
    assert "b3RoZXIgc2VjcmV0" not in str(raised.value)


async def test_a_zone_that_is_not_the_servers_is_named(server: NameServer, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"config\.zone"):
        async with owner(server, tmp_path, zone="elsewhere.example"):
            pass


async def test_a_server_that_is_killed_and_comes_back_has_what_was_acknowledged(
    server: NameServer, tmp_path: Path
) -> None:
    async with owner(server, tmp_path) as me:
        await me.put("web", *(instance(f"i{n}", f"10.0.0.{n + 1}") for n in range(50)))
        await server.kill9()
        with pytest.raises(AdapterError):
            await me.put("web", instance("late", "10.0.1.1"))
        await server.start()
        assert len(await me.observed()) == 50
        assert statuses(await me.put("web", instance("late", "10.0.1.1"))) == {"late": "applied"}
    assert len(await answers(server, "web", "A")) == 51
