"""Services that others put into Consul, on nodes of theirs: taken over where they are, and left there again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.servers import Consul
from tests.adapters.consul.test_conformance import wipe
from tests.adapters.consul.test_sink import claimed, some
from waypost.adapter import Change, Record, fingerprint
from waypost_adapters.consul import wire

NODE = "machine-1"


@pytest.fixture
async def server(consul: Consul) -> Consul:
    """Return the shared server, wiped."""
    await wipe(consul)
    return consul


async def by_hand(server: Consul, record: Record, ident: str = "hand-0", **changed: Any) -> None:
    """Register, with another's client, what a record says, on a node and under an id that are not ours."""
    told = wire.entry_of(record.content)
    weights = told.weights or wire.Weights()
    service = {
        "ID": ident,
        "Service": record.name,
        "Address": told.address,
        "Port": told.port,
        "Tags": told.tags or [],
        "Meta": {name: text for name, text in (told.meta or {}).items() if not name.startswith("waypost-")},
        "Weights": {"Passing": weights.passing, "Warning": weights.warning},
        **changed,
    }
    body = {"Node": NODE, "Address": "192.0.2.1", "NodeMeta": {"external-node": "true"}, "Service": service}
    await server.call("PUT", "/v1/catalog/register", body)


async def found(server: Consul, name: str = "web") -> list[dict[str, Any]]:
    """Return the instances of a service, as another's client reads them."""
    listed = await server.call("GET", f"/v1/catalog/service/{name}?consistent")
    return sorted(listed, key=lambda each: each["ServiceID"])


async def index(server: Consul) -> list[Any]:
    """Return what says where taken over records are."""
    answer = await server.request("GET", "/v1/kv/waypost/owner-a/adopted/?keys")
    return list(answer.json()) if answer.status == 200 else []


async def test_what_others_registered_is_taken_over_where_it_is_and_left_there(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        (record,) = some(ours.sink, 1)
        await by_hand(server, record)
        (before,) = await found(server)
        asked = await ours.apply(Change(record.key, record, create=True, adopt="ask"))
        assert asked[record.key].status == "identical", asked
        assert NODE in asked[record.key].reason
        assert await found(server) == [before]
        taken = await ours.apply(Change(record.key, record, create=True, adopt="take"))
        assert taken[record.key].status == "applied", taken
        (after,) = await found(server)
        assert [after[each] for each in ("Node", "ServiceID", "CreateIndex")] == [
            before[each] for each in ("Node", "ServiceID", "CreateIndex")
        ]
        assert after["ServiceMeta"]["waypost-owner"] == "owner-a"
        seen = await ours.observed()
        assert {key: each.fingerprint for key, each in seen.items()} == {record.key: fingerprint(record.content)}
        assert await ours.sink.inspect(["web"]) == []
        assert len(await index(server)) == 1
    (tmp_path / "second").mkdir()
    async with claimed(server.address, tmp_path / "second") as ours:
        assert (await ours.observed()).keys() == {record.key}, "another process does not know it"
        (unready,) = some(ours.sink, 1)
        assert (await ours.apply(Change(unready.key, unready)))[unready.key].status == "applied"
        left = await ours.apply(Change(record.key, release=True))
        assert left[record.key].status == "applied", left
        (released,) = await found(server)
        assert {each: released[each] for each in before if each != "ModifyIndex"} == {
            each: before[each] for each in before if each != "ModifyIndex"
        }
        assert await ours.observed() == {}
        assert await index(server) == []


async def test_what_was_taken_over_is_rewritten_and_deleted_as_ours(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        first, second = some(ours.sink, 2)
        await by_hand(server, first)
        await by_hand(server, second, "hand-1")
        for record in (first, second):
            outcome = (await ours.apply(Change(record.key, record, create=True, adopt="take")))[record.key]
            assert outcome.status == "applied", outcome
        changed = Record(first.key, first.instance, first.content.replace(b"8000", b"8005"), first.name, first.ready)
        assert (await ours.apply(Change(first.key, changed)))[first.key].status == "applied"
        assert [(each["Node"], each["ServiceID"], each["ServicePort"]) for each in await found(server)] == [
            (NODE, "hand-0", 8005),
            (NODE, "hand-1", 8001),
        ]
        outcomes = await ours.apply(Change(first.key), Change(second.key))
        assert {each.status for each in outcomes.values()} == {"applied"}
        assert await found(server) == []
        assert await index(server) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"Tags": ["blue"]}, "its tags differ"),
        ({"Meta": {"version": "1"}}, "its metadata differ"),
        ({"Weights": {"Passing": 7, "Warning": 1}}, "its weights differ"),
        ({"Meta": {"waypost-owner": "owner-b", "team": "shop", "version": "0"}}, ""),
        ({"Port": 9}, ""),
    ],
)
async def test_what_differs_is_told_and_stays(
    server: Consul, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    async with claimed(server.address, tmp_path) as ours:
        (record,) = some(ours.sink, 1)
        await by_hand(server, record, **changed)
        before = await found(server)
        for how in ("ask", "take"):
            outcome = (await ours.apply(Change(record.key, record, create=True, adopt=how)))[record.key]
            if told:
                assert (outcome.status, told in outcome.reason) == ("conflict", True), outcome
            else:  # another's, or another place: ours stands beside it
                assert outcome.status == "applied"
        assert [each for each in await found(server) if each["Node"] == NODE] == before


async def test_what_an_agent_keeps_is_not_taken_over(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        (record,) = some(ours.sink, 1)
        told = wire.entry_of(record.content)
        body = {"ID": "web-1", "Name": record.name, "Address": told.address, "Port": told.port}
        await server.call("PUT", "/v1/agent/service/register", body)
        try:
            outcome = (await ours.apply(Change(record.key, record, create=True, adopt="ask")))[record.key]
            assert outcome.status == "conflict"
            assert "an agent keeps it" in outcome.reason
        finally:
            await server.call("PUT", "/v1/agent/service/deregister/web-1")


async def test_what_is_gone_from_where_it_was_is_written_anew(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        (record,) = some(ours.sink, 1)
        await by_hand(server, record)
        await ours.apply(Change(record.key, record, create=True, adopt="take"))
        await server.call("PUT", "/v1/catalog/deregister", {"Node": NODE})
        assert await ours.observed() == {}
        assert (await ours.apply(Change(record.key, record, create=True)))[record.key].status == "applied"
        assert [each["Node"][:8] for each in await found(server)] == ["waypost-"]
        assert await index(server) == []
        assert (await ours.observed()).keys() == {record.key}


async def test_what_is_ours_and_not_known_any_more_can_be_taken_over_again(server: Consul, tmp_path: Path) -> None:
    async with claimed(server.address, tmp_path) as ours:
        (record,) = some(ours.sink, 1)
        await by_hand(server, record)
        await ours.apply(Change(record.key, record, create=True, adopt="take"))
        await server.call("DELETE", "/v1/kv/waypost/owner-a/adopted/?recurse")
        assert await ours.observed() == {}
        outcome = (await ours.apply(Change(record.key, record, create=True, adopt="ask")))[record.key]
        assert outcome.status == "identical", outcome
        await ours.apply(Change(record.key, record, create=True, adopt="take"))
        assert (await ours.observed()).keys() == {record.key}
        assert len(await found(server)) == 1
