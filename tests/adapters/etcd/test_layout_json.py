"""Where records stand and what they say: no text from outside reaches another key, and all of it reads back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.adapter import InvalidRecord, Record, fingerprint
from waypost.kit.etcd import wire
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
from waypost_adapters.etcd.layout_json import LARGEST_VALUE, JsonLayout, owner_mark, segment, wrong_segment

LAYOUT = JsonLayout("/waypost", "prod-eu")


def publication(*names: str | PublishedName, **fields: Any) -> Publication:
    key = PublicationKey(
        fields.pop("registration", "shop/web"),
        fields.pop("entry", "etcd"),
        fields.pop("service", ServiceKey("mesos", "shop", "web")),
    )
    shown = tuple(PublishedName(name) if isinstance(name, str) else name for name in names)
    return Publication(key, shown, **({"environment": "prod", "owner": "prod-eu"} | fields))


def instance(id: str = "web.1", **fields: Any) -> PublishedInstance:
    shown = {"addresses": (Address("10.0.0.7"),), "ports": (Port(8080, "http"), Port(9090, "admin"))}
    return PublishedInstance(id, **(shown | fields))


def render(of: Publication, *instances: PublishedInstance) -> list[Record | InvalidRecord]:
    return list(LAYOUT.render(of, instances))


def one(of: Publication, shown: PublishedInstance) -> Record:
    (record,) = render(of, shown)
    assert isinstance(record, Record), record
    return record


def test_a_record_as_the_readme_shows_it() -> None:
    shown = instance(
        ready=False,
        weight=5,
        node="agent-1",
        zone="z1",
        metadata={"version": "2", "a": "1"},
        path=(Hop("edge", "edge-1"),),
        labels={"secret": "never written"},
    )
    record = one(publication("web", ttl_seconds=30), shown)
    assert record.key == "/waypost/prod/shop/web/web.1@l55clet4d447vztq"
    assert record.content.startswith(b'{"owner":"prod-eu","registration":"shop/web","entry":"etcd",')
    assert list(json.loads(record.content).items()) == list(
        {
            "owner": "prod-eu",
            "registration": "shop/web",
            "entry": "etcd",
            "service": "mesos/shop/web",
            "instance": "web.1",
            "path": "edge/edge-1",
            "name": "web",
            "host": "10.0.0.7",
            "port": 8080,
            "ports": [
                {"number": 8080, "name": "http", "protocol": "tcp"},
                {"number": 9090, "name": "admin", "protocol": "tcp"},
            ],
            "addresses": [{"value": "10.0.0.7", "type": "Host", "network": ""}],
            "ready": False,
            "weight": 5,
            "node": "agent-1",
            "zone": "z1",
            "metadata": {"a": "1", "version": "2"},
            "ttl": 30,
        }.items()
    )


def test_what_has_nothing_to_say_is_left_out_also_after_one_that_had() -> None:
    full = instance("a", node="n", zone="z", metadata={"k": "v"}, path=(Hop("e", "o"),))
    first, second = render(publication("web"), full, instance("b", ports=()))
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert json.loads(second.content).keys().isdisjoint({"node", "zone", "metadata", "path", "port", "ports", "ttl"})
    assert json.loads(second.content)["weight"] == 1


def test_a_name_for_one_port_has_that_port_only_and_says_so_in_the_key() -> None:
    of = publication(PublishedName("web-http", "http"), PublishedName("web-admin", "admin"))
    http, admin = render(of, instance())
    assert isinstance(http, Record)
    assert isinstance(admin, Record)
    assert "/web-http/web.1:http@" in http.key
    assert json.loads(admin.content)["ports"] == [{"number": 9090, "name": "admin", "protocol": "tcp"}]
    assert json.loads(admin.content)["port"] == 9090


def test_one_instance_under_one_name_by_two_publications_makes_two_records() -> None:
    others = [
        publication("web"),
        publication("web", registration="shop/web2"),
        publication("web", entry="second"),
        publication("web", service=ServiceKey("k8s", "shop", "web")),
        publication("web", service=ServiceKey("mesos", "shop/web", "")),
        publication(PublishedName("web", "http")),
    ]
    keys = [one(of, instance()).key for of in others]
    assert len(set(keys)) == len(others)
    assert len({key.partition("@")[0] for key in keys}) == 2, "only the last part tells them apart"


ATTACKS = [
    ("", "is empty"),
    (".", "is `.` or `..`"),
    ("..", "is `.` or `..`"),
    ("a\0b", "holds a NUL"),
    ("x" * 256, "is 256 bytes long"),
    ("ä" * 128, "is 256 bytes long"),
    ("\ud800", "is not valid Unicode"),
]


@pytest.mark.parametrize(("text", "says"), ATTACKS)
def test_what_cannot_stand_in_a_key_is_refused_alone(text: str, says: str) -> None:
    bad, good = render(publication("web"), instance(text), instance("good"))
    assert isinstance(bad, InvalidRecord)
    assert says in str(bad)
    assert (bad.instance, bad.name) == (text, "web")
    assert isinstance(good, Record)
    refused, kept = render(publication(text, "web"), instance())
    assert isinstance(refused, InvalidRecord)
    assert says in str(refused)
    assert refused.name == text
    assert isinstance(kept, Record)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"environment": ".waypost"}, "begins with a dot"),
        ({"environment": ""}, "environment '' is empty"),
        ({"environment": ".."}, "is `.` or `..`"),
        ({"registration": "/web"}, "namespace '' is empty"),
        ({"service": ServiceKey("mesos", "", "\ud800")}, "not valid Unicode"),
        ({"owner": "\ud800"}, "not valid Unicode"),
    ],
)
def test_what_is_wrong_with_the_publication_is_told_for_each_instance(fields: dict[str, Any], says: str) -> None:
    rendered = render(publication("web", **fields), instance("a"), instance("b"))
    assert [type(item) for item in rendered] == [InvalidRecord, InvalidRecord]
    assert all(says in str(item) for item in rendered)


def test_a_record_that_is_too_large_or_no_text_is_refused_alone() -> None:
    large = instance("large", metadata={"k": "x" * LARGEST_VALUE})
    odd = instance("odd", metadata={"k": "\ud800"})
    hop = instance("hop", path=(Hop("\ud800", "o"),))
    rendered = render(publication("web"), large, odd, hop, instance("good"))
    assert [type(item) for item in rendered] == [InvalidRecord] * 3 + [Record]
    assert "262144 are possible" in str(rendered[0])
    assert "not valid Unicode" in str(rendered[1])


def test_a_long_name_is_shown_cut_short_in_ascii() -> None:
    (refused,) = render(publication("é" * 300), instance("a"))
    assert f"name '{ascii('é' * 60)[1:-1]}…' is 600 bytes long" in str(refused)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web.7f3a-1_2~3", "web.7f3a-1_2~3"),
        ("a/b", "a%2Fb"),
        ("a:b@c", "a%3Ab%40c"),
        ("%2e%2e", "%252e%252e"),
        ("ü\n", "%C3%BC%0A"),
        ("..a", "..a"),
    ],
)
def test_a_part_is_percent_encoded(text: str, expected: str) -> None:
    assert segment(text) == expected


PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).filter(
    lambda text: not wrong_segment(text)
)


@given(one_=st.tuples(PARTS, PARTS, PARTS, PARTS), other=st.tuples(PARTS, PARTS, PARTS, PARTS))
def test_keys_are_as_different_as_what_they_name(one_: tuple[str, ...], other: tuple[str, ...]) -> None:
    def key(parts: tuple[str, ...]) -> str:
        namespace, name, port, id = parts
        of = publication(PublishedName(name, port), registration=f"{namespace.replace('/', '')}x/web")
        return one(of, instance(id, ports=(Port(80, port),))).key

    def named(parts: tuple[str, ...]) -> tuple[str, ...]:
        return (parts[0].replace("/", ""), *parts[1:])

    assert (key(one_) == key(other)) == (named(one_) == named(other))
    assert key(one_).startswith("/waypost/prod/")
    assert key(one_).count("/") == 5
    assert key(one_).isascii()


ANY = st.text(max_size=30)


@given(id=ANY, name=ANY, node=ANY, key=ANY, value=ANY, service=st.tuples(ANY, ANY, ANY), entry=ANY)
def test_whatever_is_written_reads_back_as_it_was(
    id: str, name: str, node: str, key: str, value: str, service: tuple[str, str, str], entry: str
) -> None:
    of = publication(name, service=ServiceKey(*service), entry=entry)
    shown = instance(id, node=node, zone=value, metadata={key: value}, ready=False)
    (record,) = render(of, shown)
    if isinstance(record, InvalidRecord):
        return
    assert record.content.startswith(LAYOUT.mark)
    observed = LAYOUT.observed(record.key.encode(), record.content)
    assert observed is not None
    assert (observed.registration, observed.entry, observed.service) == (of.key.registration, entry, of.key.service)
    assert (observed.instance, observed.name, observed.ready) == (id, name, False)
    assert (observed.key, observed.fingerprint) == (record.key, fingerprint(record.content))


@given(ours=ANY, other=ANY, rest=st.binary(max_size=20))
def test_no_owner_takes_another_for_itself(ours: str, other: str, rest: bytes) -> None:
    low = owner_mark(ours)
    value = owner_mark(other) + rest
    assert (low <= value < wire.successor(low)) == (ours == other)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"not json",
        b'{"owner":"prod-eu2","registration":"a/b"}',
        b'{ "owner":"prod-eu","registration":"shop/web"}',
        b'{"owner":"prod-eu",',
        b'{"owner":"prod-eu","registration":"no-slash","entry":"e","service":"a/b/c","instance":"i","name":"n","ready":true,"host":"h"}',
        b'{"owner":"prod-eu","registration":"a/b","entry":"e","service":"a/b/c","instance":"i","name":7,"ready":true,"host":"h"}',
        b'{"owner":"prod-eu","registration":"\xff"}',
    ],
)
def test_what_is_not_ours_or_damaged_is_not_observed(value: bytes) -> None:
    assert LAYOUT.observed(b"/waypost/prod/shop/web/a@b", value) is None


def test_a_foreign_record_is_described_without_repeating_it() -> None:
    theirs = JsonLayout("/waypost", "other")
    (record,) = theirs.render(publication("we/b", owner="other"), [instance()])
    assert isinstance(record, Record)
    told = LAYOUT.foreign(record.key.encode(), record.content)
    assert (told.key, told.name, told.owner) == (record.key, "we/b", "other")
    assert told.summary == "shop/web[etcd] of mesos/shop/web: 10.0.0.7"
    unknown = LAYOUT.foreign(b"/waypost/prod/shop/web/\xff", b"password=secret")
    assert (unknown.name, unknown.owner, unknown.summary) == ("web", "", "15 bytes, no record of Waypost's")
