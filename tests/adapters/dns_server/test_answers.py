"""What is answered, asked over real sockets with dnspython, a client that nobody here wrote."""

from __future__ import annotations

import asyncio
from collections import Counter

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import pytest

from tests.adapters.dns_server.asking import Opened, instance, publication
from waypost.adapter import InvalidRecord, PermanentError
from waypost.model import Port, PublishedName
from waypost.testing.context import TestContext
from waypost_adapters.dns_server.config import Config
from waypost_adapters.dns_server.sink import open_sink

WEB = "web.shop.prod.waypost.test."


async def test_a_name_has_the_addresses_of_its_ready_instances_by_family(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(
            publication(ttl=17),
            instance("a", "10.0.0.1", "2001:db8::1"),
            instance("b", "10.0.0.2"),
            instance("c", "10.0.0.3", ready=False),
        )
        for tcp in (False, True):
            assert await server.texts(WEB, tcp=tcp) == ["10.0.0.1", "10.0.0.2"]
            assert await server.texts(WEB, "AAAA", tcp=tcp) == ["2001:db8::1"]
        answer = await server.ask(WEB)
        assert answer.answer[0].ttl == 17
        assert answer.flags & dns.flags.AA
        assert not answer.flags & dns.flags.RA


async def test_the_services_of_a_name_point_to_instances_that_have_addresses_beside_them(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(
            publication(), instance("a", "10.0.0.1", weight=9), instance("b", "10.0.0.2", "2001:db8::2")
        )
        answer = await server.ask("_http._tcp." + WEB, "SRV")
        found = {(srv.weight, srv.port) for srv in answer.answer[0]}
        assert found == {(9, 8080), (1, 8080)}
        beside = {rrset.name: sorted(map(str, rrset)) for rrset in answer.additional if rrset.rdtype == dns.rdatatype.A}
        for srv in answer.answer[0]:
            assert srv.target.is_subdomain(dns.name.from_text(WEB))
            assert await server.texts(str(srv.target)) == beside[srv.target]
        assert {rrset.rdtype for rrset in answer.additional} == {dns.rdatatype.A, dns.rdatatype.AAAA}
        assert (await server.ask("_admin._tcp." + WEB, "SRV")).answer[0][0].port == 9090
        assert (await server.ask("_none._tcp." + WEB, "SRV")).rcode() == dns.rcode.NXDOMAIN


async def test_what_is_not_there_is_told_from_what_has_no_such_record(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication("web", "api.v2"), instance("a", "10.0.0.1"))
        await server.publish(publication("idle"), instance("z", ready=False))
        expected = {
            ("web.shop.prod.waypost.test", "AAAA"): "NOERROR",
            ("web.shop.prod.waypost.test", "TXT"): "NOERROR",
            ("idle.shop.prod.waypost.test", "A"): "NOERROR",
            ("_tcp.web.shop.prod.waypost.test", "A"): "NOERROR",
            ("_http._tcp.web.shop.prod.waypost.test", "A"): "NOERROR",
            ("shop.prod.waypost.test", "A"): "NOERROR",
            ("prod.waypost.test", "A"): "NOERROR",
            ("v2.shop.prod.waypost.test", "A"): "NOERROR",
            ("waypost.test", "A"): "NOERROR",
            ("nope.shop.prod.waypost.test", "A"): "NXDOMAIN",
            ("_udp.web.shop.prod.waypost.test", "SRV"): "NXDOMAIN",
            ("x.web.shop.prod.waypost.test", "A"): "NXDOMAIN",
            ("prod2.waypost.test", "A"): "NXDOMAIN",
            ("xwaypost.test", "A"): "REFUSED",
            ("example.org", "A"): "REFUSED",
            ("test", "SOA"): "REFUSED",
        }
        found = {}
        for name, type in expected:
            answer = await server.ask(name, type)
            found[name, type] = dns.rcode.to_text(answer.rcode())
            assert not answer.answer
            if found[name, type] == "REFUSED":
                assert not answer.authority
            else:
                (soa,) = answer.authority
                assert (soa.name, soa.rdtype) == (dns.name.from_text("waypost.test"), dns.rdatatype.SOA)
                assert soa.ttl == soa[0].minimum == 5
        assert found == expected


async def test_a_name_is_gone_with_its_last_record_and_the_names_above_it_too(opened: Opened) -> None:
    async with opened() as server:
        records = await server.publish(publication(), instance("a"), instance("b", "10.0.0.2"))
        assert len(await server.texts(WEB)) == 2
        await server.withdraw(records[0])
        assert await server.texts(WEB) == ["10.0.0.2"]
        await server.withdraw(records[1])
        for name in (WEB, "shop.prod.waypost.test", "prod.waypost.test"):
            assert (await server.ask(name)).rcode() == dns.rcode.NXDOMAIN


async def test_the_apex_says_who_answers_and_its_serial_grows_with_each_change(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("a"))
        soa = (await server.ask("waypost.test", "SOA")).answer[0][0]
        ns = await server.ask("waypost.test", "NS")
        assert [str(one) for one in ns.answer[0]] == ["ns.waypost.test."]
        assert await server.texts("ns.waypost.test") == ["127.0.0.1"]
        await server.publish(publication(), instance("b"))
        assert (await server.ask("waypost.test", "SOA")).answer[0][0].serial > soa.serial


async def test_a_host_name_alone_is_an_alias_and_among_others_only_a_target(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("a", "db.example.org"))
        for type in ("A", "AAAA", "CNAME"):
            assert await server.texts(WEB, type) == ["db.example.org."]
        assert await server.texts("_http._tcp." + WEB, "SRV") == ["0 1 8080 db.example.org."]
        await server.publish(publication(), instance("b", "10.0.0.2"))
        assert await server.texts(WEB) == ["10.0.0.2"]
        assert len(await server.texts("_http._tcp." + WEB, "SRV")) == 2


async def test_the_case_of_the_question_comes_back_and_does_not_matter(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("a"))
        for name in ("wEb.ShOp.PROD.waypost.TEST.", "WEB.shop.prod.waypost.test.", WEB):
            answer = await server.ask(name)
            assert answer.question[0].name.to_text() == name
            assert [str(one) for one in answer.answer[0]] == ["10.0.0.1"]
        await server.publish(publication(), instance("a", "10.0.0.9"))
        for name in ("wEb.ShOp.PROD.waypost.TEST.", WEB):
            assert await server.texts(name) == ["10.0.0.9"], "an answer kept for another spelling was not dropped"


async def test_500_instances_come_whole_over_tcp_and_truncated_over_udp(opened: Opened) -> None:
    async with opened() as server:
        addresses = [f"10.1.{number // 250}.{number % 250}" for number in range(500)]
        await server.publish(publication(), *(instance(f"i-{address}", address) for address in addresses))
        for payload in (None, 512, 4096):
            answer = await server.ask(WEB, payload=payload)
            assert answer.flags & dns.flags.TC
            assert not answer.answer
            assert len(answer.to_wire()) <= 100
        assert await server.texts(WEB, tcp=True) == sorted(addresses)
        services = await server.ask("_http._tcp." + WEB, "SRV", tcp=True)
        assert len(services.answer[0]) == 500
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.sink.listening.port
        found = await asyncio.to_thread(resolver.resolve, WEB, "A")
        assert len(found) == 500


async def test_an_answer_never_exceeds_what_was_asked_for(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), *(instance(f"i-{number}", f"10.0.1.{number}") for number in range(40)))
        plain, small, large = [await server.ask(WEB, payload=payload) for payload in (None, 512, 1232)]
        assert plain.flags & dns.flags.TC
        assert small.flags & dns.flags.TC
        assert len(large.answer[0]) == 40
        assert large.edns == 0
        assert plain.edns == -1
        query = dns.message.make_query(WEB, "A", use_edns=1)
        answer = await dns.asyncquery.udp(query, "127.0.0.1", port=server.sink.listening.port, timeout=5)
        assert answer.rcode() == dns.rcode.BADVERS


async def test_who_comes_first_is_in_proportion_to_the_weights(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(
            publication(),
            instance("a", "10.0.0.1", weight=3),
            instance("b", "10.0.0.2"),
            instance("c", "10.0.0.3", weight=0),
        )
        firsts = Counter([str((await server.ask(WEB)).answer[0][0]) for _ in range(64)])
        assert firsts == {"10.0.0.1": 48, "10.0.0.2": 16}


async def test_ordered_names_answer_in_one_order(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(
            publication(strategy="Ordered"), *(instance(f"i-{number}", f"10.0.0.{number}") for number in range(1, 6))
        )
        orders = {tuple(map(str, (await server.ask(WEB)).answer[0])) for _ in range(20)}
        assert orders == {tuple(f"10.0.0.{number}" for number in range(1, 6))}


async def test_any_is_answered_with_next_to_nothing_and_transfers_are_refused(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), *(instance(f"i-{number}", f"10.0.0.{number}") for number in range(9)))
        answer = await server.ask(WEB, "ANY")
        assert [rrset.rdtype for rrset in answer.answer] == [dns.rdatatype.HINFO]
        for type in ("AXFR", "IXFR"):
            query = dns.message.make_query("waypost.test", type)
            refused = await dns.asyncquery.tcp(query, "127.0.0.1", port=server.sink.listening.port, timeout=5)
            assert refused.rcode() == dns.rcode.REFUSED


async def test_one_stream_takes_many_questions_in_order(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(publication(), instance("a"))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sink.listening.port)
        queries = [dns.message.make_query(WEB, "A") for _ in range(50)]
        for query in queries:
            wire = query.to_wire()
            writer.write(len(wire).to_bytes(2, "big") + wire)
        for query in queries:
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = dns.message.from_wire(await reader.readexactly(length))
            assert answer.id == query.id
            assert answer.answer
        writer.write(b"\0\1x")
        assert await reader.read() == b"", "a message that is none was not the end of the stream"
        writer.close()


async def test_two_ports_of_one_name_are_two_records_of_one_instance(opened: Opened) -> None:
    async with opened() as server:
        names = (PublishedName("web", "http"), PublishedName("web", "admin"))
        records = await server.publish(publication(*names), instance("a"))
        assert len(records) == 2
        assert await server.texts(WEB) == ["10.0.0.1"]
        (http,) = await server.texts("_http._tcp." + WEB, "SRV")
        assert http.startswith("0 1 8080 i-")
        assert (await server.ask("_admin._tcp." + WEB, "SRV")).answer[0][0].port == 9090


async def test_names_that_differ_in_case_alone_are_one_and_the_second_is_told_so(opened: Opened) -> None:
    async with opened(claim=False) as server:
        first, second = server.sink.render(publication("Web", "wEB"), [instance("a")])
        assert not isinstance(first, InvalidRecord)
        assert first.key.startswith("web.shop.prod/")
        assert isinstance(second, InvalidRecord)
        assert "`wEB` and `Web` are one name" in str(second)


@pytest.mark.parametrize(
    ("name", "ports", "says"),
    [
        ("-web", (), "begins with `-`"),
        ("we_b", (), "'_' at character 3"),
        ("*", (), "'*' at character 1"),
        ("a" * 64, (), "64 characters, at most 63"),
        ("a..b", (), "empty label"),
        ("web", (Port(1, "a b"),), "' ' at character 3"),
        ("web", (Port(1, "a", "icmp"),), "protocol `icmp`"),
    ],
)
async def test_what_can_be_no_name_fails_alone_and_says_why(
    opened: Opened, name: str, ports: tuple[Port, ...], says: str
) -> None:
    async with opened(claim=False) as server:
        (item,) = server.sink.render(publication(name), [instance("a", ports=ports)])
        assert isinstance(item, InvalidRecord)
        assert says in str(item)
        assert item.name == name


async def test_a_zone_that_is_no_name_is_refused_with_what_is_wrong(tmp_path: object) -> None:
    context = TestContext(tmp_path, owner="owner-a")  # type: ignore[arg-type]  # pytest's
    with pytest.raises(PermanentError, match=r"config\.zone: .*begins with `-`"):
        async with open_sink(Config(listen="127.0.0.1:0", zone="-x.test."), context):
            pass
