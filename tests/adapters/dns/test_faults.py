"""A server that says half, hangs, refuses or dies, on a real BIND and a real Knot: nothing is lost or deleted by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from testbed.proxy import Proxy
from testbed.servers import Bind, Knot, NameServer
from tests.adapters.dns.publishing import ZONE, Owner, instance, owner, statuses
from tests.adapters.dns.test_on_servers import SERVERS, answers
from tests.real_rig import until
from waypost.adapter import AdapterError, PermanentError

MANY = [instance(f"i{n:03}", f"10.0.{n // 200}.{n % 200 + 1}") for n in range(300)]


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NameServer]:
    async with request.param(tmp_path / "server") as made:
        yield made


async def whole(me: Owner) -> bool:
    return len(await me.observed()) == len(MANY)


# --- transfers


@pytest.mark.parametrize("octets", [1, 100, 5_000, 60_000])
async def test_a_transfer_that_is_cut_is_no_view(server: NameServer, tmp_path: Path, octets: int) -> None:
    async with owner(server, tmp_path) as me:
        await me.put("web", *MANY)
    serial = await server.serial()
    async with Proxy(server.address) as proxy, owner(server, tmp_path, claim=False, at=proxy.address) as late:
        await proxy.cut(octets)
        with pytest.raises(AdapterError, match=r"transfer|connection"):
            await late.observed()
        with pytest.raises(AdapterError):
            await late.sink.claim("test", "me")
        assert await server.serial() == serial
        await proxy.heal()
        late.fence = await late.sink.claim("test", "me")
        assert await whole(late)


async def test_a_transfer_that_stands_still_is_given_up(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        await me.put("web", *MANY)
    async with (
        Proxy(server.address) as proxy,
        owner(server, tmp_path, claim=False, at=proxy.address, timeoutSeconds=1) as late,
    ):
        await proxy.hang()
        async with asyncio.timeout(20):
            with pytest.raises(AdapterError, match="1 s"):
                await late.observed()
        await proxy.heal()
        assert await whole(late)


@pytest.mark.parametrize("kind", ["bind", "knot"])
async def test_a_transfer_that_is_refused_says_what_to_allow(tmp_path: Path, kind: str) -> None:
    made = updates_only_bind(tmp_path) if kind == "bind" else updates_only_knot(tmp_path)
    async with made as server:
        with pytest.raises(PermanentError, match="allow-transfer" if kind == "bind" else "`acl`.*transfer"):
            async with owner(server, tmp_path):
                pass


class UpdatesOnlyBind(Bind):
    def configuration(self) -> str:
        return super().configuration().replace("allow-transfer { key waypost; }", "allow-transfer { none; }")


class UpdatesOnlyKnot(Knot):
    def configuration(self) -> str:
        return super().configuration().replace("action: [update, transfer]", "action: update")


def updates_only_bind(tmp_path: Path) -> NameServer:
    return UpdatesOnlyBind(tmp_path / "server")


def updates_only_knot(tmp_path: Path) -> NameServer:
    return UpdatesOnlyKnot(tmp_path / "server")


class TransfersOnlyBind(Bind):
    def configuration(self) -> str:
        return super().configuration().replace("allow-update { key waypost; }", "allow-update { none; }")


@pytest.mark.server("bind")
async def test_updates_that_are_refused_say_what_to_allow(tmp_path: Path) -> None:
    async with TransfersOnlyBind(tmp_path / "server") as server:
        with pytest.raises(PermanentError, match="allow-update"):
            async with owner(server, tmp_path):
                pass


# --- updates


async def test_an_update_without_an_answer_is_unknown_and_looked_into(server: NameServer, tmp_path: Path) -> None:
    async with (
        Proxy(server.address) as proxy,
        owner(server, tmp_path, at=proxy.address, timeoutSeconds=1) as me,
    ):
        a, b = instance("a", "10.0.0.7"), instance("b", "10.0.0.8")
        await me.put("web", a)
        await proxy.cut(1)
        await proxy.drop()
        assert statuses(await me.put("web", b)) == {"b": "unknown"}, "it was done, and the answer was lost"
        await proxy.heal()
        await proxy.drop()
        assert len(await me.observed()) == 2
        assert me.fence is not None
        me.fence = await me.sink.advance(me.fence)
        assert statuses(await me.drop("web", b)) == {"b": "applied"}
        assert await answers(server, "web", "A") == ["10.0.0.7"]


async def test_a_late_update_of_before_the_advance_does_nothing(server: NameServer, tmp_path: Path) -> None:
    """It hangs on the way, is given up, and arrives when the generation is past."""
    async with (
        Proxy(server.address) as proxy,
        owner(server, tmp_path, at=proxy.address, timeoutSeconds=1) as slow,
        owner(server, tmp_path, claim=False) as quick,
    ):
        await proxy.hang()
        assert statuses(await slow.put("web", instance("a", "10.0.0.7"))) == {"a": "unknown"}
        assert slow.fence is not None
        quick.fence = await quick.sink.advance(slow.fence)
        serial = await server.serial()
        await proxy.heal()
        await proxy.drop()
        assert await server.serial() == serial
        assert await quick.observed() == {}
        assert statuses(await slow.put("web", instance("a", "10.0.0.7"))) == {"a": "superseded"}


async def test_killed_in_the_middle_of_many_updates_what_was_acknowledged_is_there(
    server: NameServer, tmp_path: Path
) -> None:
    async with owner(server, tmp_path, timeoutSeconds=2) as me:
        writing = asyncio.create_task(me.put("web", *MANY))
        await until(lambda: answers(server, "web", "A"), "it has begun")
        await server.kill9()
        try:
            outcomes = statuses(await writing)
        except AdapterError:
            outcomes = {}
        await server.start()
        there = {key.rpartition("/")[2] for key in await me.observed()}
        told = {
            record.key.rpartition("/")[2]
            for record in me.records("web", *MANY)
            if outcomes.get(record.instance) == "applied"
        }
        assert told <= there
        assert me.fence is not None
        me.fence = await me.sink.advance(me.fence)
        assert set(statuses(await me.put("web", *MANY)).values()) == {"applied"}
        assert await whole(me)


# --- what a server has against one record


@pytest.mark.server("bind")
async def test_a_server_that_takes_a_hundred_records_in_a_set_has_a_hundred(tmp_path: Path) -> None:
    """BIND's default since 9.18.28: those beyond are told, one by one, and all else goes on."""
    server = Bind(tmp_path / "server", settings={"max-records-per-type": "100"})
    async with server, owner(server, tmp_path) as me:
        outcomes = await me.put("web", *MANY[:104])
        told = statuses(outcomes)
        assert sorted(told.values()) == ["applied"] * 100 + ["invalid"] * 4
        assert "max-records-per-type" in next(each.reason for each in outcomes.values() if each.status == "invalid")
        assert statuses(await me.put("api", MANY[0])) == {MANY[0].id: "applied"}
        assert statuses(await me.put("web", MANY[110])) == {MANY[110].id: "invalid"}


@pytest.mark.server("bind")
async def test_what_no_message_can_hold_is_invalid_and_the_rest_is_answered(tmp_path: Path) -> None:
    many = [instance(f"i{n:04}", f"10.0.{n // 250}.{n % 250 + 1}") for n in range(1_100)]
    async with Bind(tmp_path / "server") as server, owner(server, tmp_path, timeoutSeconds=30) as me:
        told = statuses(await me.put("web", *many))
        done = [name for name, status in told.items() if status == "applied"]
        assert set(told.values()) == {"applied", "invalid"}
        assert len(done) > 900
        assert len(await answers(server, "_http._tcp.web", "SRV")) == len(done)
        assert len(await answers(server, "web", "A")) == len(done)


# --- zones that the server signs


class SigningBind(Bind):
    def configuration(self) -> str:
        return super().configuration().replace("type primary;", "type primary; dnssec-policy default;")


class SigningKnot(Knot):
    def configuration(self) -> str:
        return super().configuration().replace("    acl: waypost\n", "    acl: waypost\n    dnssec-signing: on\n")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(SigningBind, marks=pytest.mark.server("bind"), id="bind"),
        pytest.param(SigningKnot, marks=pytest.mark.server("knot"), id="knot"),
    ],
)
async def test_signatures_of_the_server_are_left_to_it(kind: type[NameServer], tmp_path: Path) -> None:
    async with kind(tmp_path / "server") as server, owner(server, tmp_path) as me:
        host, address = instance("h", "db.example.net"), instance("a", "10.0.0.7")
        assert statuses(await me.put("web", host)) == {"h": "applied"}
        assert statuses(await me.put("web", address)) == {"a": "applied"}
        assert await answers(server, "web", "A") == ["10.0.0.7"]
        assert await answers(server, "web", "CNAME") == []
        assert statuses(await me.drop("web", address)) == {"a": "applied"}
        assert await answers(server, "web", "CNAME") == ["db.example.net."]
        assert await me.sink.inspect(["web"]) == []
        assert {record.key: hash(record.content) for record in me.records("web", host)} == await me.observed()
        signed = await server.send(dns.message.make_query(f"web.{ZONE}", "CNAME", want_dnssec=True))
        assert any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in signed.answer), "it is signed"


# --- the zone itself


async def test_the_zones_own_name_may_be_published(server: NameServer, tmp_path: Path) -> None:
    async with owner(server, tmp_path) as me:
        a = instance("a", "10.0.0.7")
        assert statuses(await me.put("@", a, instance("h", "db.example.net"))) == {"a": "applied", "h": "conflict"}
        assert await server.ask(f"{ZONE}.", "A") == ["10.0.0.7"]
        assert [line.split()[2] for line in await server.ask(f"_http._tcp.{ZONE}.", "SRV")] == ["8080"]
        await me.drop("@", a)
        assert await server.ask(f"{ZONE}.", "A") == []
        assert await server.ask(f"{ZONE}.", "CNAME") == []
