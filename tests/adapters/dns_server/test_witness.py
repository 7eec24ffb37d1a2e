"""What `dig` understands of our answers: a client that nobody here wrote."""

from __future__ import annotations

import pytest

from testbed.witness import dig
from tests.adapters.dns_server.asking import Opened, instance, publication

WEB = "web.shop.prod.waypost.test."

pytestmark = pytest.mark.server("dig")


@pytest.mark.parametrize("tcp", [False, True])
async def test_dig_reads_addresses_and_services(opened: Opened, tcp: bool) -> None:
    async with opened() as server:
        await server.publish(publication(ttl=9), instance("a", "10.0.0.1", weight=4), instance("b", "10.0.0.2"))
        listening = server.sink.listening
        answer = await dig(listening.host, listening.port, WEB, tcp=tcp)
        assert answer.status == "NOERROR"
        assert "aa" in answer.flags
        assert sorted(answer.answers) == [(WEB, 9, "A", "10.0.0.1"), (WEB, 9, "A", "10.0.0.2")]
        services = await dig(listening.host, listening.port, f"_http._tcp.{WEB}", "SRV", tcp=tcp)
        assert [text.split()[:3] for text in services.data] == [["0", "1", "8080"], ["0", "4", "8080"]]
        assert "malformed" not in services.text.lower()
        nothing = await dig(listening.host, listening.port, "nope.waypost.test.", tcp=tcp)
        assert nothing.status == "NXDOMAIN"


async def test_dig_sees_that_a_large_answer_is_truncated_and_gets_it_whole_by_tcp(opened: Opened) -> None:
    async with opened() as server:
        await server.publish(
            publication(), *(instance(f"i-{number}", f"10.2.{number % 256}.1") for number in range(200))
        )
        listening = server.sink.listening
        assert "tc" in (await dig(listening.host, listening.port, WEB)).flags
        assert len((await dig(listening.host, listening.port, WEB, tcp=True)).data) == 200
