"""What an instance becomes in a zone, as text and on the wire: laws, and what untrusted words cannot do."""

from __future__ import annotations

import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.update
from hypothesis import given
from hypothesis import strategies as st

from waypost.adapter import InvalidRecord, Record
from waypost.model import (
    Address,
    Hop,
    Port,
    Publication,
    PublicationKey,
    PublishedInstance,
    PublishedName,
    ServiceKey,
)
from waypost_adapters.dns import layout, wire
from waypost_adapters.dns.render import Renderer

ZONE = "prod.example.com"
APEX = dns.name.from_text(ZONE).to_wire() or b""
TEXT = st.text(max_size=40)
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


def rendered(
    name: str = "web",
    *,
    id: str = "a",
    addresses: tuple[Address, ...] = (Address("10.0.0.7"),),
    ports: tuple[Port, ...] = (Port(8080, "http"),),
    service: ServiceKey = ServiceKey("mem", "shop", "web"),  # noqa: B008 (it is frozen)
    owner: str = "me",
    **more: bool | int,
) -> Record | InvalidRecord:
    publication = Publication(PublicationKey("shop/web", "dns", service), (PublishedName(name),), "test", owner)
    instance = PublishedInstance(id, addresses, ports, path=(Hop("test", owner),), **more)  # type: ignore[arg-type]
    (made,) = Renderer(ZONE, 30).render(publication, [instance])
    return made


def entry(record: Record | InvalidRecord) -> layout.Entry:
    assert isinstance(record, Record), record
    found = layout.decode(record.content)
    assert found is not None
    return found


@given(id=WORDS, namespace=WORDS, service=WORDS, owner=WORDS)
def test_whatever_the_words_say_the_text_is_read_back_and_nothing_else(
    id: str, namespace: str, service: str, owner: str
) -> None:
    record = rendered(id=id, service=ServiceKey("mem", namespace, service), owner=owner)
    if isinstance(record, InvalidRecord):
        assert "octets" in str(record)
        return
    found = entry(record)
    whose = found.ownership()
    assert whose is not None
    assert (whose.instance, whose.service, whose.owner) == (id, ServiceKey("mem", namespace, service), owner)
    assert found.key == record.key
    assert found.encode() == record.content
    assert record.content.isascii()
    assert record.content.decode().isprintable()


@given(st.binary(max_size=300))
def test_a_text_that_is_not_exactly_as_written_is_not_ours(value: bytes) -> None:
    for text in (value, layout.MARK + value):
        found = layout.decode(text)
        assert found is None or found.encode() == text


@given(at=st.integers(0, 300), cut=st.integers(0, 3), new=st.text(st.sampled_from("=, /0a1\n:."), max_size=2))
def test_a_text_that_was_altered_anywhere_is_as_it_would_be_written_or_not_ours(at: int, cut: int, new: str) -> None:
    content = rendered()
    assert isinstance(content, Record)
    text = content.content[:at] + new.encode() + content.content[at + cut :]
    found = layout.decode(text)
    assert found is None or found.encode() == text


def test_a_text_that_was_touched_by_hand_is_not_ours() -> None:
    content = rendered()
    assert isinstance(content, Record)
    for old, new in ((b"ttl=30", b"ttl=030"), (b"ready=1", b"ready=yes"), (b" weight=1", b""), (b"web", b"WEB web")):
        assert old in content.content
        assert layout.decode(content.content.replace(old, new, 1)) is None


def test_the_digest_tells_apart_owners_registrations_services_instances_and_ports() -> None:
    words = [("me", "r", "e", "s", "i", "p")]
    words += [tuple("x" if n == at else word for n, word in enumerate(words[0])) for at in range(6)]  # type: ignore[misc]
    words.append(("me", "r|e", "s", "i", "p", ""))
    assert len({layout.digest_of(*each) for each in words}) == len(words)


def test_keys_and_names_of_an_entry_lead_to_each_other() -> None:
    record = rendered("a.b")
    assert isinstance(record, Record)
    own = layout.key_name(record.key, APEX)
    assert own is not None
    assert layout.name_key(own, APEX) == record.key
    assert layout.OWN.match(own)
    assert (
        layout.key_name("nonsense", APEX) is None or layout.OWN.match(layout.key_name("nonsense", APEX) or b"") is None
    )


def names(records: list[layout.Want]) -> list[tuple[str, str]]:
    return [(layout_name(want.name), dns.rdatatype.to_text(dns.rdatatype.RdataType(want.type))) for want in records]


def layout_name(name: bytes) -> str:
    found, _ = dns.name.from_wire(name, 0)
    return found.relativize(dns.name.from_text(ZONE)).to_text()


def test_what_an_entry_wants() -> None:
    found = entry(rendered(addresses=(Address("10.0.0.7"), Address("2001:db8::7"))))
    own = f"i-{found.digest}.web"
    assert names(layout.wants(found, APEX)) == [
        (own, "A"),
        ("web", "A"),
        (own, "AAAA"),
        ("web", "AAAA"),
        ("_http._tcp.web", "SRV"),
    ]
    (srv,) = (want for want in layout.wants(found, APEX) if want.type == wire.SRV)
    rdata = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.SRV, srv.rdata, 0, len(srv.rdata))
    assert rdata.to_text() == f"0 1 8080 {own}.{ZONE}."


def test_not_ready_it_wants_its_own_name_alone() -> None:
    found = entry(rendered(ready=False))
    assert names(layout.wants(found, APEX)) == [(f"i-{found.digest}.web", "A")]


def test_a_host_name_is_an_alias_and_the_target_itself() -> None:
    found = entry(rendered(addresses=(Address("db.example.net", "Hostname"),)))
    wanted = layout.wants(found, APEX)
    assert names(wanted) == [("web", "CNAME"), ("_http._tcp.web", "SRV")]


@given(name=TEXT, port=TEXT, host=TEXT)
def test_a_name_is_one_of_dns_or_refused_with_a_reason(name: str, port: str, host: str) -> None:
    record = rendered(name, addresses=(Address(host, "Hostname"),), ports=(Port(80, port),))
    if isinstance(record, InvalidRecord):
        assert str(record)
        return
    for want in layout.wants(entry(record), APEX):
        made, used = dns.name.from_wire(want.name, 0)
        assert used == len(want.name)
        assert made.is_subdomain(dns.name.from_text(ZONE))


def test_names_that_are_too_long_for_what_stands_below_them_are_refused() -> None:
    label = "a" * 63
    assert isinstance(rendered(f"{label}.{label}.{label}"), Record)
    assert isinstance(rendered(f"{label}.{label}.{label}.{'a' * 30}"), InvalidRecord)


def test_a_message_is_what_dnspython_reads() -> None:
    """Names that came before are pointed to; what is written is what is read."""
    writer = wire.Writer(7, wire.UPDATE)
    writer.question(APEX, wire.SOA)
    own = b"\x03web" + APEX
    rows = [(1, own, wire.A, wire.NONE, 0, b""), (2, own, wire.A, wire.IN, 30, b"\x0a\0\0\x07")]
    rows += [(2, b"\x01a" + own, wire.TXT, wire.IN, 30, wire.text(b"x" * 600))]
    for row in rows:
        writer.row(*row)
    message = dns.message.from_wire(writer.done())
    assert isinstance(message, dns.update.UpdateMessage)
    assert [rrset.to_text() for rrset in message.prerequisite] == [f"web.{ZONE}. NONE A"]
    assert message.update[0].to_text() == f"web.{ZONE}. 30 IN A 10.0.0.7"
    assert wire.strings(message.update[1][0].to_wire() or b"") == b"x" * 600


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_and_nothing_worse(value: bytes) -> None:
    try:
        wire.read(value)
    except wire.BadMessage:
        return
