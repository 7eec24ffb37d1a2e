"""What publications become, and that what is written reads as it was rendered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.adapter import InvalidRecord, Record, fingerprint
from waypost.model import Address, Port, PublishedName
from waypost.testing.rendering import instance, publication
from waypost_adapters.kubernetes.sink_config import SinkConfig
from waypost_adapters.kubernetes.sink_group import merge, observed
from waypost_adapters.kubernetes.sink_objects import Meta, part_document, part_of
from waypost_adapters.kubernetes.sink_placing import Parts, place_all
from waypost_adapters.kubernetes.sink_record import Line, Renderer, decode
from waypost_adapters.kubernetes.sink_service import Front, differs, document, front_of, wanted

CONFIG = SinkConfig(namespace="edge", namespaces=("shop",), cluster_cidrs=("10.244.0.0/16", "fd00:10::/64"))


def rendered(name: str | PublishedName = "web", config: SinkConfig = CONFIG, **fields: Any) -> Record | InvalidRecord:
    (found,) = Renderer(config).render(publication([name]), [instance(fields.pop("id", "i-1"), **fields)])
    return found


def refused(name: str | PublishedName = "web", **fields: Any) -> str:
    found = rendered(name, **fields)
    assert isinstance(found, InvalidRecord)
    return str(found)


def shown(name: str | PublishedName = "web", **fields: Any) -> Line:
    found = rendered(name, **fields)
    assert isinstance(found, Record), found
    return decode(found.content)


@pytest.mark.parametrize(
    ("name", "place"), [("web", "edge/web/"), ("web.shop", "shop/web/"), ("a-1", "edge/a-1/"), ("a" * 63, "edge/a")]
)
def test_a_name_is_a_service_in_the_sinks_namespace_or_in_one_that_it_names(name: str, place: str) -> None:
    found = rendered(name)
    assert isinstance(found, Record)
    assert found.key.startswith(place)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("web.edge", "write `web`"),
        ("web.other", "none of the sink's"),
        ("web.shop.svc", "none of the sink's"),
        ("1web", "no Service's name"),
        ("Web", "no Service's name"),
        ("web_1", "no Service's name"),
        ("-web", "no Service's name"),
        ("web-", "no Service's name"),
        ("web\n", "no Service's name"),
        ("", "no Service's name"),
        (".shop", "no Service's name"),
        ("a" * 64, "no Service's name"),
    ],
)
def test_what_can_be_no_service_is_refused_with_the_reason(name: str, word: str) -> None:
    assert word in refused(name)


def test_addresses_of_pods_and_services_are_refused() -> None:
    assert "10.244.0.0/16" in refused(addresses=(Address("10.244.3.4"),))
    assert "fd00:10::/64" in refused(addresses=(Address("fd00:10::7"),))
    assert shown(addresses=(Address("10.243.255.255"),)).addresses == ("10.243.255.255",)


def test_the_first_address_of_each_family_is_shown_of_the_first_ones_type() -> None:
    given = (Address("2001:db8::7"), Address("10.1.0.7"), Address("10.1.0.8"), Address("10.9.0.1", "Container"))
    assert shown(addresses=given).addresses == ("10.1.0.7", "2001:db8::7")


def test_a_port_without_a_name_has_none_where_it_is_alone_and_its_index_else() -> None:
    assert shown(ports=(Port(80),)).ports == (("", 80, "TCP"),)
    assert shown(ports=(Port(80), Port(53, "dns", "udp"))).ports == (("dns", 53, "UDP"), ("port-0", 80, "TCP"))


@pytest.mark.parametrize(
    ("ports", "word"),
    [
        ((Port(80, "HTTP_API"),), "only a-z"),
        ((Port(80, "web"), Port(81, "WEB")), "upper and lower case"),
        ((Port(80, "x", "icmp"),), "protocol"),
        (tuple(Port(1 + n, f"p{n}") for n in range(101)), "101 ports"),
    ],
)
def test_ports_that_no_slice_has_are_refused(ports: tuple[Port, ...], word: str) -> None:
    assert word in refused(ports=ports)


def test_an_instance_of_a_host_name_only_has_neither_ports_nor_a_zone_there() -> None:
    line = shown(addresses=(Address("DB.example.com", "Hostname"),))
    assert (line.host, line.addresses, line.ports, line.zone) == ("db.example.com", (), (), "")


# --- as written and read


def named(_service: str) -> str:
    return "web"


def owned(record: Record) -> Line:
    return msgspec.structs.replace(decode(record.content), owner="prod-eu")


def doubled(lines: dict[str, Line], most: int = 3) -> Parts:
    """Write slices and read them again."""
    parts = [
        part_of(part_document(part, "web", "prod-eu", "7.0", headless=True), "prod-eu", named)
        for part in place_all(Parts(), dict(lines), "web", most).grown
    ]
    merge(parts)
    return Parts(parts)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
addresses = st.sampled_from([("10.1.0.7",), ("2001:db8::7",), ("10.1.0.7", "2001:db8::7")])
ports = st.sampled_from([(), (Port(80),), (Port(80, "http"), Port(53, "dns", "udp"))])


@settings(max_examples=60)
@given(st.lists(st.tuples(texts, addresses, ports, st.booleans(), texts), max_size=8, unique_by=lambda row: row[0]))
def test_what_is_written_reads_as_it_was_rendered(
    rows: list[tuple[str, tuple[str, ...], tuple[Port, ...], bool, str]],
) -> None:
    records = {}
    for id_, values, given_ports, ready, zone in rows:
        found = rendered(id=id_, addresses=tuple(map(Address, values)), ports=given_ports, ready=ready, zone=zone)
        assert isinstance(found, Record)
        records[found.key] = found
    lines = {key.rpartition("/")[2]: owned(record) for key, record in records.items()}
    parts = doubled(lines)
    assert not any(part.altered for part in parts)
    want = wanted({}, parts.shapes, {}, headless=True)
    front = front_of(document(Front(Meta("web", "edge"), {}), want, "prod-eu", "7.0"), "prod-eu", named)
    assert not differs(front, want, "prod-eu")
    seen = {each.key: each for each in observed("edge", "web", front, parts, "prod-eu", headless=True)}
    assert seen.keys() == records.keys()
    for key, each in seen.items():
        assert each.fingerprint == fingerprint(msgspec.json.encode(owned(records[key])))
        assert (each.instance, each.ready, each.name) == (records[key].instance, records[key].ready, "web")
        assert (each.registration, each.entry, str(each.service)) == ("shop/web", "main", "source/shop/web")


def test_another_hand_in_a_slice_shows_in_a_fingerprint() -> None:
    line = msgspec.structs.replace(shown(), owner="prod-eu")
    (part,) = place_all(Parts(), {"i-1": line}, "web", 100).grown
    plain = part_document(part, "web", "prod-eu", "7.0", headless=True)

    def altered(change: Any) -> bool:
        found = msgspec.json.decode(plain)
        change(found)
        read = part_of(msgspec.json.encode(found), "prod-eu", named)
        return read.altered or read.lines != {"i-1": line}

    assert not altered(lambda found: None)
    assert not altered(lambda found: found["metadata"]["labels"].update(team="x"))  # others' labels are others'
    assert altered(lambda found: found["endpoints"].append({"addresses": ["10.6.6.6"], "conditions": {}}))
    assert altered(lambda found: found["endpoints"].clear())
    assert altered(lambda found: found["endpoints"][0].update(addresses=["10.6.6.6"]))
    assert altered(lambda found: found["endpoints"][0].update(addresses=["10.6.6.6", "10.6.6.7"]))
    assert altered(lambda found: found["endpoints"][0].update(hostname="i-2"))
    assert altered(lambda found: found["endpoints"][0]["conditions"].update(ready=False))
    assert altered(lambda found: found["endpoints"][0]["conditions"].update(terminating=True))
    assert altered(lambda found: found["endpoints"][0].update(zone="elsewhere"))
    assert altered(lambda found: found["ports"][0].update(port=1))
    assert altered(lambda found: found["metadata"]["labels"].pop("endpointslice.kubernetes.io/managed-by"))
    assert altered(lambda found: found["metadata"]["annotations"].pop("waypost.dev/records"))
    assert altered(lambda found: found["metadata"]["annotations"].update({"waypost.dev/records": '{"instances":[]}'}))
    assert altered(
        lambda found: found["metadata"]["annotations"].update({"waypost.dev/records": '{"instances":{"i-1":[0,"x"]}}'})
    )


# --- the Service

HTTP = (("http", 8080, "TCP"),)


def test_a_port_keeps_its_number_in_the_service_while_anybody_has_it() -> None:
    there = {"clusterIP": "None", "ports": [{"name": "http", "port": 31000, "protocol": "TCP", "targetPort": 31000}]}
    spec = wanted(
        there, [(("http", 31001, "TCP"),), (("http", 31002, "TCP"), ("dns", 53, "UDP"))], {}, headless=True
    ).spec
    assert [(port["name"], port["port"]) for port in spec["ports"]] == [("dns", 53), ("http", 31000)]


def test_of_several_numbers_the_lowest_is_a_new_ports() -> None:
    spec = wanted({}, [(("http", 31009, "TCP"),), (("http", 31002, "TCP"),)], {}, headless=True).spec
    assert [port["port"] for port in spec["ports"]] == [31002]


def test_ports_that_a_service_cannot_have_beside_others_stand_in_the_slices_only() -> None:
    shape = (("", 80, "TCP"),)
    assert wanted({}, [shape], {}, headless=True).spec["ports"] == [{"port": 80, "protocol": "TCP"}]
    spec = wanted({}, [shape, HTTP, (("same", 8080, "TCP"),)], {}, headless=True).spec
    assert [port["name"] for port in spec["ports"]] == ["http"]


def test_a_service_has_an_address_of_its_own_only_where_it_is_asked_for_and_has_ports() -> None:
    assert wanted({}, [HTTP], {}, headless=True).spec["clusterIP"] == "None"
    assert "clusterIP" not in wanted({}, [HTTP], {}, headless=False).spec
    assert wanted({}, [()], {}, headless=False).spec["clusterIP"] == "None"
    assert "clusterIP" not in wanted({"clusterIP": "10.96.1.1"}, [HTTP], {}, headless=True).spec  # it cannot be changed


def test_a_host_name_is_shown_while_there_is_no_address_the_first_of_those_that_are_ready() -> None:
    alias = shown(addresses=(Address("b.example.com", "Hostname"),))
    aliases = {
        "i-a": msgspec.structs.replace(alias, host="a.example.com", ready=False),
        "i-b": alias,
        "i-c": msgspec.structs.replace(alias, host="c.example.com"),
    }
    assert wanted({}, [], aliases, headless=True).spec["externalName"] == "b.example.com"
    assert wanted({}, [HTTP], aliases, headless=True).spec["type"] == "ClusterIP"
    assert wanted({}, [], {"i-a": aliases["i-a"]}, headless=True).spec["type"] == "ClusterIP"


def test_a_service_that_another_hand_changed_differs() -> None:
    want = wanted({}, [HTTP], {}, headless=True)
    raw = msgspec.json.decode(document(Front(Meta("web", "edge"), {}), want, "prod-eu", "7.0"))

    def changed(change: Any) -> bool:
        found = msgspec.json.decode(msgspec.json.encode(raw))
        change(found)
        front = front_of(msgspec.json.encode(found), "prod-eu", named)
        return differs(front, wanted(front.spec, [HTTP], {}, headless=True), "prod-eu")

    assert not changed(lambda found: None)
    assert not changed(lambda found: found["spec"].update(ipFamilies=["IPv4"], sessionAffinity="None"))
    assert changed(lambda found: found["spec"].update(selector={"app": "web"}))
    assert changed(lambda found: found["spec"].update(type="NodePort"))
    assert changed(lambda found: found["spec"].update(ports=[]))
    assert changed(lambda found: found["metadata"]["labels"].pop("waypost.dev/owner"))
    assert changed(lambda found: found["metadata"]["labels"].pop("app.kubernetes.io/managed-by"))


def test_a_service_that_is_written_again_keeps_what_others_say_about_it() -> None:
    raw = {
        "metadata": {
            "name": "web",
            "namespace": "edge",
            "uid": "u",
            "resourceVersion": "5",
            "labels": {"waypost.dev/owner": "prod-eu", "team": "shop"},
            "annotations": {"external-dns.alpha.kubernetes.io/hostname": "web.example.com"},
            "finalizers": ["example.com/x"],
        },
        "spec": {"clusterIP": "None", "ipFamilies": ["IPv4"], "type": "ClusterIP"},
    }
    front = front_of(msgspec.json.encode(raw), "prod-eu", named)
    made = msgspec.json.decode(document(front, wanted(front.spec, [HTTP], {}, headless=True), "prod-eu", "7.0"))
    assert made["metadata"]["labels"]["team"] == "shop"
    assert made["metadata"]["annotations"]["external-dns.alpha.kubernetes.io/hostname"] == "web.example.com"
    assert (made["metadata"]["finalizers"], made["metadata"]["resourceVersion"]) == (["example.com/x"], "5")
    assert made["spec"]["ipFamilies"] == ["IPv4"]
