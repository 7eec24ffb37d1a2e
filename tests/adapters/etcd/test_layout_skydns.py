"""The layout for CoreDNS: what stands where, and which names and addresses cannot be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from waypost.adapter import InvalidRecord, Record, fingerprint
from waypost.model import Address, Hop, Port, PublishedName
from waypost.testing import rendering
from waypost_adapters.etcd.layout_skydns import SkydnsLayout

LAYOUT = SkydnsLayout("/skydns", "prod-eu", "prod.example.com", 30)


def render(*names: str | PublishedName, ttl: int | None = None, **fields: Any) -> list[Record | InvalidRecord]:
    of = msgspec.structs.replace(rendering.publication(list(names), owner="prod-eu"), ttl_seconds=ttl)
    return list(LAYOUT.render(of, [rendering.instance("web.1", **fields)]))


def values(*names: str | PublishedName, ttl: int | None = None, **fields: Any) -> list[dict[str, Any]]:
    records = render(*names, ttl=ttl, **fields)
    assert all(isinstance(record, Record) for record in records), records
    return [json.loads(record.content) for record in records if isinstance(record, Record)]


def test_a_record_as_the_readme_shows_it() -> None:
    (record,) = render("web", ttl=15, weight=5, ports=(Port(8080, "http"),), path=(Hop("edge", "edge-1"),))
    assert isinstance(record, Record)
    at, leaf, family = record.key.rsplit("/", 2)
    assert (at, family) == ("/skydns/com/example/prod/web", "4")
    assert leaf.startswith("i-")
    assert len(leaf) == 18
    assert record.content.startswith(b'{"owner":"prod-eu",'), "etcd compares this, byte by byte"
    found = json.loads(record.content)
    assert {name: found[name] for name in ("host", "port", "weight", "ttl", "targetstrip", "ready", "path")} == {
        "host": "10.0.0.1",
        "port": 8080,
        "weight": 5,
        "ttl": 15,
        "targetstrip": 1,
        "ready": True,
        "path": "edge/edge-1",
    }


def test_no_field_of_ours_means_something_to_coredns() -> None:
    (ready,), (not_ready,) = values("web"), values("web", ready=False)
    theirs = {"host", "port", "priority", "weight", "text", "mail", "ttl", "targetstrip", "group"}
    assert {name for name in ready if name.lower() in theirs} == {"host", "port", "weight", "ttl", "targetstrip"}
    assert "host" not in not_ready
    assert not_ready["withheld"] == ready["host"]


@pytest.mark.parametrize(
    ("addresses", "shown"),
    [
        ((Address("10.0.0.7"), Address("fd00::7")), {"4": "10.0.0.7", "6": "fd00::7"}),
        ((Address("fd00::7"),), {"6": "fd00::7"}),
        ((Address("10.0.0.7"), Address("10.0.0.8")), {"4": "10.0.0.7"}),
        ((Address("10.0.0.7"), Address("fd00::7", "Container")), {"4": "10.0.0.7"}),
        ((Address("NAS.example.net.", "Hostname"),), {"n": "nas.example.net"}),
        ((Address("10.0.0.7"), Address("nas.example.net")), {"4": "10.0.0.7"}),
    ],
)
def test_an_instance_shows_one_address_of_each_family_of_its_first_ones_type_or_a_host_name(
    addresses: tuple[Address, ...], shown: dict[str, str]
) -> None:
    records = [record for record in render("web", addresses=addresses) if isinstance(record, Record)]
    assert {record.key.rsplit("/", 1)[1]: json.loads(record.content)["host"] for record in records} == shown
    assert len({record.key.rsplit("/", 1)[0] for record in records}) == 1, "one label is the instance's"


@pytest.mark.parametrize(("weight", "written"), [(0, 1), (1, 1), (7, 7), (70_000, 65_535)])
def test_a_weight_that_coredns_would_take_for_100_or_cut_is_not_written(weight: int, written: int) -> None:
    (value,) = values("web", weight=weight)
    assert value["weight"] == written


def test_the_registrations_ttl_wins_over_the_sinks() -> None:
    assert values("web")[0]["ttl"] == 30
    assert values("web", ttl=5)[0]["ttl"] == 5
    assert values("web", ttl=0)[0]["ttl"] == 1, "0 would be read as 300"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        ("web_", "`_` is possible"),
        ("-web", "begins with `-`"),
        ("a..b", "an empty label"),
        ("Web", "in lower case"),
        ("web.", "without a final dot"),
        ("a b", "only a-z"),
        ("a/b", "only a-z"),
        ("*", "only a-z"),
        ("größe", "only a-z"),
        ("x" * 64, "at most 63"),
        ("dns", "the zone's own records"),
        ("apex.dns", "the zone's own records"),
        ("any", "for every label"),
        ("a.any.b", "for every label"),
        (".".join(["x" * 60] * 4), "too long"),
    ],
)
def test_what_is_no_name_below_the_zone_is_told(name: str, says: str) -> None:
    (found,) = render(name)
    assert isinstance(found, InvalidRecord)
    assert says in str(found)


def test_a_name_as_long_as_possible_leaves_room_for_its_instances() -> None:
    name = ".".join(["x" * 60] * 3 + ["y" * 32])
    (found,) = render(name)
    assert isinstance(found, Record)
    labels = found.key.removeprefix("/skydns/").split("/")
    assert len(".".join(labels)) == 253
    (found,) = render(f"{name}y")
    assert isinstance(found, InvalidRecord)


def test_a_host_name_that_is_none_and_a_port_that_is_not_there_are_told() -> None:
    (host,) = render("web", addresses=(Address("no host", "Hostname"),))
    assert isinstance(host, InvalidRecord)
    assert "neither an IP address nor a host name" in str(host)
    (port,) = render(PublishedName("web", "grpc"))
    assert isinstance(port, InvalidRecord)
    assert "no port 'grpc'" in str(port)


def test_a_name_stands_with_none_of_those_it_is_nested_under() -> None:
    assert list(LAYOUT.above("a.b.web")) == ["b.web", "web"]
    assert list(LAYOUT.above("web")) == []


def test_a_record_reads_back_as_it_was_rendered() -> None:
    (record,) = render("web", ready=False)
    assert isinstance(record, Record)
    found = LAYOUT.observed(record.key.encode(), record.content)
    assert found is not None
    assert (found.key, found.fingerprint, found.instance) == (record.key, fingerprint(record.content), "web.1")
    assert (found.name, found.ready) == ("web", False)
    others = SkydnsLayout("/skydns", "prod-us", "prod.example.com", 30)
    assert others.observed(record.key.encode(), record.content) is None
    assert others.foreign(record.key.encode(), record.content, "web").owner == "prod-eu"
    assert LAYOUT.observed(record.key.encode(), record.content[:-1]) is None


def test_others_values_are_told_without_repeating_them() -> None:
    found = LAYOUT.foreign(b"/skydns/com/example/prod/web/x", b'{"host":"10.0.0.1","text":"secret"}', "web")
    assert (found.name, found.owner) == ("web", "")
    assert "secret" not in found.summary


def test_the_stamp_stands_where_coredns_looks_for_nothing_and_each_zone_has_its_own() -> None:
    assert LAYOUT.root == "/skydns/.waypost/prod.example.com"
    assert not LAYOUT.root.startswith(LAYOUT.records)
