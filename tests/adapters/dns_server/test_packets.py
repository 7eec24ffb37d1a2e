"""Packets that nobody should send, and answers kept ready.

The responder never fails, and never says what is not so any more.
"""

from __future__ import annotations

import contextlib
import struct
from random import Random

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adapters.dns_server.asking import instance, publication
from waypost.adapter import Record
from waypost.model import Strategy
from waypost_adapters.dns_server import frames, layout
from waypost_adapters.dns_server.answers import Answers
from waypost_adapters.dns_server.responder import Responder
from waypost_adapters.dns_server.zone import Zone

WEB = "web.shop.prod.waypost.test."


def records(
    *names: str, strategy: Strategy = "Weighted", count: int = 3, first: int = 1
) -> list[tuple[str, bytes | None]]:
    instances = [instance(f"i-{number}", f"10.0.{first}.{number}") for number in range(1, count + 1)]
    rendered = layout.render(publication(*names, strategy=strategy), instances, "waypost.test", 5)
    return [(record.key, record.content) for record in rendered if isinstance(record, Record)]


def responder(changes: list[tuple[str, bytes | None]]) -> Responder:
    zone = Zone("waypost.test")
    zone.serial = 1
    zone.change(changes)
    answers = Answers(zone, 5, [b"\x7f\0\0\1"], Random(1))
    answers.answering = True
    return Responder(answers)


def change(server: Responder, changes: list[tuple[str, bytes | None]]) -> None:
    server.answers.zone.serial += 1
    server.changed(server.answers.zone.change(changes))


def asked(server: Responder, name: str, rdtype: str = "A") -> dns.message.Message:
    query = dns.message.make_query(name, rdtype)
    wire = server.udp(query.to_wire())
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    return answer


SERVER = responder(records("web", "api.v2"))
good = st.builds(
    lambda name, rdtype, edns: dns.message.make_query(name, rdtype, use_edns=edns).to_wire(),
    st.sampled_from(
        [WEB, f"_http._tcp.{WEB}", "api.v2.shop.prod.waypost.test.", "waypost.test.", "nope.waypost.test.", "a.b."]
    ),
    st.sampled_from(["A", "AAAA", "SRV", "ANY", "SOA", "NS", "TXT", "CNAME", "AXFR"]),
    st.sampled_from([-1, 0]),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    octets = bytearray(draw(good))
    for _ in range(draw(st.integers(0, 4))):
        match draw(st.integers(0, 3)):
            case 0 if octets:
                octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
            case 1:
                del octets[draw(st.integers(0, len(octets))) :]
            case 2:
                octets += draw(st.binary(max_size=20))
            case _:
                at = draw(st.integers(0, len(octets)))
                octets[at:at] = draw(st.binary(max_size=8))
    return bytes(octets)


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=64), damaged()))
def test_no_octets_make_it_fail_and_errors_amplify_nothing(octets: bytes) -> None:
    for answer in (SERVER.udp(octets), SERVER.tcp(octets)):
        if answer is None:
            assert len(octets) < 12 or octets[2] & 0x80, "a query got no answer"
            continue
        assert answer[:2] == octets[:2]
        assert answer[2] & 0x80
        rcode = answer[3] & 0xF
        if rcode in {dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.REFUSED}:
            assert len(answer) <= len(octets) + 11
        with contextlib.suppress(dns.exception.DNSException):
            dns.message.from_wire(octets, ignore_trailing=True)
            dns.message.from_wire(answer)


@given(good)
def test_what_is_answered_to_a_query_is_well_formed(octets: bytes) -> None:
    query = dns.message.from_wire(octets)
    for answer in (SERVER.udp(octets), SERVER.udp(octets), SERVER.tcp(octets)):
        assert answer is not None
        assert query.is_response(dns.message.from_wire(answer))


def test_an_answer_is_never_answered() -> None:
    answer = dns.message.make_response(dns.message.make_query(WEB, "A")).to_wire()
    assert SERVER.udp(answer) is None
    assert SERVER.tcp(answer) is None


def test_other_operations_and_several_questions_are_refused_in_12_octets() -> None:
    query = bytearray(dns.message.make_query(WEB, "A").to_wire())
    query[2] |= 4 << 3  # NOTIFY
    answer = SERVER.udp(bytes(query))
    assert answer is not None
    assert (len(answer), answer[3] & 0xF) == (12, dns.rcode.NOTIMP)
    query = bytearray(dns.message.make_query(WEB, "A").to_wire())
    struct.pack_into(">H", query, 4, 2)
    answer = SERVER.udp(bytes(query))
    assert answer is not None
    assert (len(answer), answer[3] & 0xF) == (12, dns.rcode.FORMERR)


def test_a_kept_answer_is_dropped_with_each_change_it_follows_from() -> None:
    server = responder(records("web"))
    assert len(asked(server, WEB).answer[0]) == 3
    assert asked(server, "other.shop.prod.waypost.test.").rcode() == dns.rcode.NXDOMAIN
    serial = asked(server, "waypost.test.", "SOA").answer[0][0].serial
    change(server, records("other"))
    assert asked(server, "other.shop.prod.waypost.test.").rcode() == dns.rcode.NOERROR
    assert asked(server, "waypost.test.", "SOA").answer[0][0].serial == serial + 1
    gone = records("web")
    change(server, [(gone[0][0], None)])
    assert len(asked(server, WEB).answer[0]) == 2
    change(server, [(key, None) for key, _ in gone])
    assert asked(server, WEB).rcode() == dns.rcode.NXDOMAIN
    change(server, records("web", first=9))
    assert {str(one).split(".")[2] for one in asked(server, WEB).answer[0]} == {"9"}


def test_a_change_of_one_name_keeps_the_answers_of_others() -> None:
    server = responder(records("web", "other"))
    asked(server, WEB)
    kept = dict(server.kept)
    change(server, records("other", count=1))
    assert kept.items() <= server.kept.items()


def test_a_flood_of_different_questions_is_bounded_in_memory() -> None:
    server = Responder(responder(records("web")).answers, limit=100_000)
    most = 0
    for number in range(5_000):
        asked(server, f"n-{number}.waypost.test.")
        most = max(most, len(server.kept))
    assert most < 1_000
    assert len(asked(server, WEB).answer[0]) == 3
    change(server, [(key, None) for key, _ in records("web")[1:]])
    assert len(asked(server, WEB).answer[0]) == 1


changes_to = st.lists(
    st.tuples(st.sampled_from(["a", "b", "a.b", "x.a.b"]), st.integers(1, 3), st.booleans()), max_size=12
)


@given(changes_to)
def test_after_any_changes_all_is_as_in_a_zone_that_was_fed_anew(steps: list[tuple[str, int, bool]]) -> None:
    server = responder([])
    held: dict[str, bytes] = {}
    below = [
        f"{prefix}{name}." for name in ("a", "b", "a.b", "x.a.b", "c.b") for prefix in ("", "_http._tcp.", "_tcp.")
    ]
    queries = [
        dns.message.make_query(f"{name}shop.prod.waypost.test.", type, id=7).to_wire()
        for name in (*below, "")
        for type in ("A", "SRV")
    ]
    for name, count, put in steps:
        changes = records(name, count=count, strategy="Ordered")
        if not put:
            changes = [(key, None) for key, _ in changes]
        change(server, changes)
        for key, content in changes:
            if content is None:
                held.pop(key, None)
            else:
                held[key] = content
        fresh = responder(list(held.items()))
        fresh.answers.zone.serial = server.answers.zone.serial
        for query in queries:
            assert server.udp(query) == fresh.udp(query)


@given(st.lists(st.binary(max_size=200), max_size=10), st.data())
def test_frames_arrive_whole_however_the_pipe_cuts_them(contents: list[bytes], data: st.DataObject) -> None:
    sent = [frames.Frame(number, 1, True, [("k", content)]) for number, content in enumerate(contents)]
    octets = b"".join(map(frames.encode, sent))
    reader, received = frames.Reader(), []
    while octets:
        cut = data.draw(st.integers(1, len(octets)))
        received += list(reader.feed(octets[:cut]))
        octets = octets[cut:]
    assert [msgspec.structs.astuple(one) for one in received] == [msgspec.structs.astuple(one) for one in sent]
