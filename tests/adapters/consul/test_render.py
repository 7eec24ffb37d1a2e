"""What the consul sink makes of an instance: pure, in tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

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
from waypost_adapters.consul.config import Config, Options
from waypost_adapters.consul.render import render, split_key

SERVICE = ServiceKey("mesos", "shop/eu", "web")
LABELS = {"version": "2", "traefik.enable": "true", "traefik.port": "http", "team": "shop"}


def published(names: tuple[PublishedName, ...] = (PublishedName("web"),), **options: Any) -> Publication:
    key = PublicationKey("shop/web", "main", SERVICE)
    return Publication(key, names, "prod", "prod-eu", {"app": "web"}, options=msgspec.convert(options, Options))


def instance(**fields: Any) -> PublishedInstance:
    shown: dict[str, Any] = {
        "id": "web.1",
        "addresses": (Address("10.0.0.7"),),
        "ports": (Port(31000, "http"), Port(31001, "admin")),
        "labels": LABELS,
    }
    return PublishedInstance(**(shown | fields))


def one(publication: Publication, shown: PublishedInstance, nodes: int = 64) -> Record | InvalidRecord:
    (item,) = render(publication, [shown], nodes)
    return item


def service(publication: Publication, shown: PublishedInstance) -> dict[str, Any]:
    item = one(publication, shown)
    assert isinstance(item, Record), item
    body, _, status = item.content.rpartition(b" ")
    return {**msgspec.json.decode(body), "status": status.decode()}


def test_a_whole_record() -> None:
    record = one(published(tags=["v{label:version}"]), instance(weight=7, metadata={"b": "2", "a": "1"}))
    assert isinstance(record, Record)
    assert record.key == "waypost-prod-eu-22/web:mesos:web.1"
    assert (record.instance, record.name, record.ready) == ("web.1", "web", True)
    assert record.content == (
        b'{"ID":"web:mesos:web.1","Service":"web","Address":"10.0.0.7","Port":31000,"Tags":["v2"],"Meta":{"a":"1",'
        b'"b":"2","waypost-entry":"main","waypost-instance":"web.1","waypost-owner":"prod-eu","waypost-path":"",'
        b'"waypost-registration":"shop/web","waypost-service":"mesos/shop%2Feu/web"},"Weights":{"Passing":7,'
        b'"Warning":1}} passing'
    )


@pytest.mark.parametrize(
    ("fields", "key", "value"),
    [
        ({"ready": False}, "status", "critical"),
        ({"ports": ()}, "Port", None),
        ({"weight": 0}, "Weights", {"Passing": 1, "Warning": 1}),
        ({"weight": 65_535}, "Weights", {"Passing": 65_535, "Warning": 1}),
        ({"addresses": (Address("web.example", "Hostname"),)}, "Address", "web.example"),
        ({"addresses": (Address("2001:db8::1"), Address("10.0.0.1"))}, "Address", "2001:db8::1"),
    ],
)
def test_a_field_follows_the_instance(fields: Mapping[str, Any], key: str, value: object) -> None:
    assert service(published(), instance(**fields)).get(key) == value


def test_further_addresses_and_the_path_are_in_the_meta() -> None:
    shown = instance(
        addresses=(Address("10.0.0.1"), Address("2001:db8::1"), Address("x.example", "Hostname")),
        path=(Hop("edge/1", "o,1"), Hop("prod", "prod-eu")),
    )
    meta = service(published(), shown)["Meta"]
    assert meta["waypost-addresses"] == "2001:db8::1,x.example"
    assert meta["waypost-path"] == "edge%2F1/o%2C1,prod/prod-eu"


def test_each_name_is_a_registration_and_shows_its_own_port() -> None:
    names = (PublishedName("web"), PublishedName("web-admin", "admin"), PublishedName("web-http", "http"))
    records = list(render(published(names), [instance()], 64))
    assert all(isinstance(record, Record) for record in records)
    shown = [
        msgspec.json.decode(record.content.rpartition(b" ")[0]) for record in records if isinstance(record, Record)
    ]
    assert [(each["ID"], each["Service"], each["Port"]) for each in shown] == [
        ("web:mesos:web.1", "web", 31000),
        ("web-admin:admin:mesos:web.1", "web-admin", 31001),
        ("web-http:http:mesos:web.1", "web-http", 31000),
    ]


@pytest.mark.parametrize(
    ("options", "tags"),
    [
        ({}, None),
        ({"tags": ["a", "{label:version}", "a"]}, ["a", "2"]),
        ({"tags": ["v{label:absent}", "b"]}, ["b"]),
        ({"tags": ["v{label:absent|'0'}", "{label:app}"]}, ["v0", "web"]),
        ({"tags": ["{service}.{namespace}.{source}.{environment}.{registration}"]}, ["web.shop/eu.mesos.prod.web"]),
        ({"tags": ["{instance.id} {instance.node} {instance.zone} {port}"]}, ["web.1   http"]),
        ({"tags": ["{label:empty|''}"]}, None),
        ({"tagsFromLabels": ["traefik.*"]}, ["traefik.enable=true", "traefik.port=http"]),
        ({"tagsFromLabels": ["Traefik.*", "ver???n"], "tags": ["z"]}, ["z", "version=2"]),
        ({"tagsFromLabels": ["app"]}, ["app=web"]),
    ],
)
def test_tags(options: Mapping[str, Any], tags: list[str] | None) -> None:
    assert (service(published(**options), instance()).get("Tags") or None) == tags


def test_an_instances_own_label_comes_before_the_services() -> None:
    shown = instance(labels={"app": "canary"})
    assert service(published(tags=["{label:app}"], tagsFromLabels=["app"]), shown)["Tags"] == ["canary", "app=canary"]


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("web.shop", {}, "`web.shop` is no DNS label"),
        ("", {}, "`` is no DNS label"),
        ("-web", {}, "no DNS label"),
        ("web-", {}, "no DNS label"),
        ("web\n", {}, "no DNS label"),
        ("w" * 64, {}, "no DNS label"),
        ("größe", {}, "no DNS label"),
        ("web", {"metadata": {"a.b": "1"}}, "metadata `a.b`"),
        ("web", {"metadata": {"k" * 129: "1"}}, "1 to 128"),
        ("web", {"metadata": {"": "1"}}, "metadata ``"),
        ("web", {"metadata": {"waypost-owner": "me"}}, "metadata `waypost-owner`"),
        ("web", {"metadata": {"consul-x": "me"}}, "metadata `consul-x`"),
        ("web", {"metadata": {"k": "v" * 513}}, "metadata `k` is 513 bytes"),
        ("web", {"metadata": {"k": "ü" * 257}}, "metadata `k` is 514 bytes"),
        ("web", {"metadata": {f"k{n}": "" for n in range(59)}}, "59 metadata"),
        ("web", {"id": "x" * 513}, "its instance is 513 bytes"),
        ("web", {"path": tuple(Hop("e" * 60, "o" * 100) for _ in range(4))}, "its path is"),
        ("web", {"addresses": tuple(Address(f"2001:db8::{n:x}") for n in range(64))}, "its addresses is"),
        ("web", {"id": "\ud800"}, "surrogates"),
        ("web", {"metadata": {"k": "\ud800"}}, "surrogate"),
    ],
)
def test_what_consul_cannot_hold_is_invalid_and_says_which_name_and_why(
    name: str, fields: Mapping[str, Any], told: str
) -> None:
    item = one(published((PublishedName(name),)), instance(**fields))
    assert isinstance(item, InvalidRecord)
    assert told in str(item)
    assert (item.name, item.instance) == (name, fields.get("id", "web.1"))


def test_what_is_just_within_the_limits_is_rendered() -> None:
    metadata = {f"{'k' * 126}{n:02d}": "ü" * 256 for n in range(58)}
    assert len(service(published((PublishedName("w" * 63),)), instance(metadata=metadata))["Meta"]) == 64


def test_a_name_for_a_port_that_is_not_there_is_invalid() -> None:
    item = one(published((PublishedName("web-grpc", "grpc"),)), instance())
    assert isinstance(item, InvalidRecord)
    assert "no port `grpc`" in str(item)


def test_too_many_tags_and_too_large_a_record_are_invalid() -> None:
    many = one(published(tagsFromLabels=["*"]), instance(labels={f"l{n}": "" for n in range(200)}))
    large = one(published(tagsFromLabels=["*"]), instance(labels={f"l{n}": "x" * 2000 for n in range(100)}))
    assert isinstance(many, InvalidRecord)
    assert isinstance(large, InvalidRecord)
    assert "201 tags" in str(many)
    assert "100000 is the most" in str(large)


def test_one_bad_instance_leaves_the_others() -> None:
    items = list(render(published(), [instance(id="a"), instance(id="x" * 600), instance(id="b")], 64))
    assert [isinstance(item, Record) for item in items] == [True, False, True]


def test_keys_are_distinct_without_regard_to_case() -> None:
    ids = ["a", "A", "a/b", "a%2Fb", "a:b", "a%3ab", "a%3Ab", "x" * 400, "x" * 401, "X" * 400, "waypost", "mesos:a"]
    names = (PublishedName("web"), PublishedName("Web"), PublishedName("web", "http"), PublishedName("web", "admin"))
    items = list(render(published(names), [instance(id=each) for each in ids], 64))
    records = [item for item in items if isinstance(item, Record)]
    assert len(records) == len(ids) * len(names)
    assert len({record.key.lower() for record in records}) == len(records)


def test_keys_depend_on_source_but_not_on_registration_or_service() -> None:
    def key(publication: Publication) -> str:
        item = one(publication, instance())
        assert isinstance(item, Record)
        return item.key

    base = published()
    renamed = msgspec.structs.replace(base, key=PublicationKey("other/x", "second", ServiceKey("mesos", "", "y")))
    elsewhere = msgspec.structs.replace(
        base, key=PublicationKey("shop/web", "main", ServiceKey("swarm", "shop/eu", "web"))
    )
    assert key(base) == key(renamed)
    assert key(base) != key(elsewhere)


def test_instances_spread_evenly_over_the_nodes() -> None:
    items = render(published(), [instance(id=f"task.{n}") for n in range(6400)], 64)
    nodes = [split_key(item.key)[0] for item in items if isinstance(item, Record)]
    counts = [nodes.count(node) for node in set(nodes)]
    assert len(counts) == 64
    assert max(counts) < 2 * min(counts)


def test_a_label_cannot_inject_a_placeholder() -> None:
    shown = instance(labels={"version": "{label:team}", "team": "shop"})
    assert service(published(tags=["{label:version}"]), shown)["Tags"] == ["{label:team}"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tags": ["{unknown}"]}, "unknown placeholder"),
        ({"tags": ["{"]}, "brace"),
        ({"tags": [""]}, "length >= 1"),
        ({"tag": []}, "unknown field"),
    ],
)
def test_wrong_options_are_refused_with_the_reason(options: Mapping[str, Any], told: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=told):
        msgspec.convert(options, Options)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"address": ""},
        {"address": "x", "nodes": 0},
        {"address": "x", "nodes": 129},
        {"address": "x", "datacenter": "a b"},
    ],
)
def test_wrong_config_is_refused(config: Mapping[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(config, Config)
