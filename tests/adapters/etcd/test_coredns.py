"""A real CoreDNS answers from what the sink wrote, and dig reads it back."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.pytest_plugin import in_a_loop_of_its_own
from testbed.servers import CoreDns, Etcd
from testbed.witness import DigAnswer, dig
from waypost.adapter import Change, Fence, Record
from waypost.model import Address, Port, PublishedInstance, PublishedName
from waypost.testing import rendering
from waypost.testing.context import TestContext
from waypost_adapters.etcd import SINK, EtcdConfig
from waypost_adapters.etcd.sink import EtcdSink

pytestmark = pytest.mark.server("etcd", "coredns", "dig")
ZONE = "prod.example.com"
stems = itertools.count()


@pytest.fixture(scope="module")
def coredns(etcd: Etcd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreDns]:
    server = CoreDns(tmp_path_factory.mktemp("coredns"), etcd.endpoints, zone=ZONE)
    in_a_loop_of_its_own(server.start())
    yield server
    in_a_loop_of_its_own(server.stop())


class Zone:
    """A sink that is claimed, and a name of the test's own."""

    def __init__(self, sink: EtcdSink, fence: Fence, coredns: CoreDns, etcd: Etcd) -> None:
        self.sink, self.fence, self.coredns, self.etcd = sink, fence, coredns, etcd
        self.name = f"web{next(stems)}"

    async def publish(self, *instances: PublishedInstance, name: str = "", port: str | None = None) -> list[Record]:
        shown = [PublishedName(name or self.name, port)]
        records = rendering.records(self.sink, rendering.publication(shown), instances)
        size = self.sink.limits.records
        for start in range(0, len(records), size):
            batch = [Change(record.key, record, create=True) for record in records[start : start + size]]
            outcomes = await self.sink.apply(batch, self.fence)
            assert {outcome.status for outcome in outcomes.values()} == {"applied"}
        return records

    async def dig(self, kind: str, name: str = "", *, tcp: bool = False) -> DigAnswer:
        return await dig("127.0.0.1", self.coredns.port, f"{name or self.name}.{ZONE}", kind, tcp=tcp)


@pytest.fixture
async def zone(etcd: Etcd, coredns: CoreDns, tmp_path: Path) -> AsyncIterator[Zone]:
    async with opened(etcd, coredns, tmp_path) as made:
        yield made


@asynccontextmanager
async def opened(etcd: Etcd, coredns: CoreDns, folder: Path) -> AsyncIterator[Zone]:
    config = EtcdConfig(endpoints=tuple(etcd.endpoints), layout="skydns", zone=ZONE)
    async with SINK.open(config, TestContext(folder, environment="test", owner="owner-a")) as sink:
        assert isinstance(sink, EtcdSink)
        fence = await sink.claim("test", "owner-a")
        assert fence is not None
        yield Zone(sink, fence, coredns, etcd)


def instance(id: str, *addresses: str, port: int = 8080, **fields: Any) -> PublishedInstance:
    shown: dict[str, Any] = {
        "addresses": tuple(map(Address, addresses)),
        "ports": (Port(port, "http"), Port(9090, "admin")),
    }
    return rendering.instance(id, **(shown | fields))


async def test_addresses_of_both_families_are_answered_with_their_ttl(zone: Zone) -> None:
    await zone.publish(instance("a", "10.0.0.7", "fd00::7"), instance("b", "10.0.0.8"))
    four, six = await zone.dig("A"), await zone.dig("AAAA")
    assert four.data == ["10.0.0.7", "10.0.0.8"]
    assert six.data == ["fd00::7"]
    assert {ttl for _, ttl, *_ in (*four.answers, *six.answers)} == {30}
    assert "aa" in four.flags


async def test_a_service_record_an_instance_has_port_and_share_and_leads_to_its_addresses(zone: Zone) -> None:
    await zone.publish(
        instance("a", "10.0.0.7", "fd00::7", port=8081, weight=3), instance("b", "10.0.0.8", port=8082, weight=2)
    )
    found = {each.split()[2]: each.split() for each in (await zone.dig("SRV")).data}
    assert found.keys() == {"8081", "8082"}, "one for each instance, however many addresses it has"
    target = found["8081"][3].removesuffix(f".{ZONE}.")
    assert (await zone.dig("A", target)).data == ["10.0.0.7"]
    assert (await zone.dig("AAAA", target)).data == ["fd00::7"]
    # CoreDNS makes shares of 100 out of the weights of all addresses: 3, 3 and 2.
    assert (found["8081"][1], found["8082"][1]) == ("37", "25")


async def test_a_name_for_one_port_shows_that_port(zone: Zone) -> None:
    await zone.publish(instance("a", "10.0.0.7"), port="admin")
    (found,) = (await zone.dig("SRV")).data
    assert found.split()[2] == "9090"


async def test_a_host_name_of_the_zone_is_an_alias(zone: Zone) -> None:
    target = f"target-{zone.name}"
    await zone.publish(instance("a", "10.0.0.7", "fd00::7"), name=target)
    await zone.publish(instance("nas", f"{target}.{ZONE}"))
    for kind, address in (("A", "10.0.0.7"), ("AAAA", "fd00::7")):
        found = [(rdtype, data) for *_, rdtype, data in (await zone.dig(kind)).answers]
        assert found == [("CNAME", f"{target}.{ZONE}."), (kind, address)]


async def test_a_host_name_outside_the_zone_is_an_alias(zone: Zone) -> None:
    await zone.publish(instance("nas", "nas.example.net"))
    assert (await zone.dig("A")).data == ["nas.example.net."]
    assert (await zone.dig("AAAA")).data == ["nas.example.net."]
    (found,) = (await zone.dig("SRV")).data
    assert found.split()[2:] == ["8080", "nas.example.net."]


async def test_an_instance_that_is_not_ready_is_never_answered(zone: Zone) -> None:
    await zone.publish(instance("a", "10.0.0.7"), instance("b", "10.0.0.8", ready=False))
    assert (await zone.dig("A")).data == ["10.0.0.7"]
    assert len((await zone.dig("SRV")).data) == 1
    await zone.publish(instance("a", "10.0.0.7", ready=False))
    for kind in ("A", "AAAA", "SRV", "CNAME", "TXT", "ANY"):
        found = await zone.dig(kind)
        assert "10.0.0" not in found.text.partition(";; Query time")[0], kind
        assert kind not in ("A", "AAAA", "SRV") or (found.status, found.answers) == ("NOERROR", ())
    await zone.publish(instance("b", "10.0.0.8"))
    assert (await zone.dig("A")).data == ["10.0.0.8"]


async def test_five_hundred_instances_are_all_answered(zone: Zone) -> None:
    await zone.publish(*(instance(f"i-{n}", f"10.1.{n // 250}.{n % 250}", port=1000 + n) for n in range(500)))
    assert len(set((await zone.dig("A", tcp=True)).data)) == 500
    assert len({each.split()[2] for each in (await zone.dig("SRV", tcp=True)).data}) == 500


async def test_a_deletion_takes_one_key_and_leaves_those_that_begin_with_it(zone: Zone) -> None:
    (record,) = await zone.publish(instance("a", "10.0.0.7"))
    await zone.etcd.put(f"{record.key}2", json.dumps({"host": "10.9.9.8"}))
    await zone.etcd.put(f"{record.key}/x", json.dumps({"host": "10.9.9.9"}))
    outcomes = await zone.sink.apply([Change(record.key)], zone.fence)
    assert {outcome.status for outcome in outcomes.values()} == {"applied"}
    assert (await zone.dig("A")).data == ["10.9.9.8", "10.9.9.9"]


async def test_records_of_others_stand_beside_ours_and_are_told(zone: Zone) -> None:
    await zone.publish(instance("a", "10.0.0.7"))
    await zone.etcd.put(f"/skydns/com/example/prod/{zone.name}/x1", json.dumps({"host": "10.9.9.9"}))
    await zone.etcd.put(f"/skydns/com/example/prod/{zone.name}x", json.dumps({"host": "10.9.9.7"}))
    (found,) = await zone.sink.inspect([zone.name])
    assert (found.key, found.name) == (f"/skydns/com/example/prod/{zone.name}/x1", zone.name)
    assert (await zone.dig("A")).data == ["10.0.0.7", "10.9.9.9"]


async def test_coredns_answers_a_name_with_all_that_is_below_it_which_is_why_nested_ones_are_refused(
    zone: Zone,
) -> None:
    await zone.publish(instance("a", "10.0.0.7"), name=f"api.{zone.name}")
    assert (await zone.dig("A")).data == ["10.0.0.7"]
    assert list(zone.sink.above(f"api.{zone.name}")) == [zone.name]


async def test_a_user_needs_no_more_than_the_zone_and_its_stamps(tmp_path: Path) -> None:
    async with Etcd(tmp_path / "etcd", unsafe_no_fsync=True, auth=True) as etcd:
        await etcd.add_user("syncer", "pass", "/skydns/com/example/prod/", f"/skydns/.waypost/{ZONE}/")
        config = EtcdConfig(endpoints=tuple(etcd.endpoints), layout="skydns", zone=ZONE)
        given = {"username": "syncer", "password": "pass"}
        context = TestContext(tmp_path, environment="test", owner="owner-a", credentials=given)
        async with SINK.open(config, context) as sink:
            fence = await sink.claim("test", "owner-a")
            published = rendering.publication(["web"])
            (record,) = rendering.records(sink, published, [instance("a", "10.0.0.7")])
            outcomes = await sink.apply([Change(record.key, record)], fence)
            assert outcomes[record.key].status == "applied"
            assert [each.key async for each in sink.observe()] == [record.key]
            assert await sink.inspect(["web"]) == []


async def test_the_zone_itself_answers_beside_the_stamp(zone: Zone) -> None:
    await zone.publish(instance("a", "10.0.0.7"))
    stamps = await zone.etcd.read("/skydns/.waypost/")
    assert list(stamps) == [f"/skydns/.waypost/{ZONE}/owners/owner-a"]
    assert (await dig("127.0.0.1", zone.coredns.port, ZONE, "SOA")).status == "NOERROR"
