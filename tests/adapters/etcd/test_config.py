"""What a manifest may say, and how it is told what is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from waypost_adapters.etcd import SINK, EtcdConfig


def config(**fields: Any) -> EtcdConfig:
    return msgspec.convert({"endpoints": ["https://etcd-1:2379"], **fields}, EtcdConfig)


def test_the_defaults() -> None:
    made = config()
    assert (made.layout, made.place, made.tls.server_name) == ("json", "/waypost", None)
    assert config(tls={"serverName": "etcd.example"}).tls.server_name == "etcd.example"
    assert SINK.name == "etcd"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"endpoints": []}, "endpoints"),
        ({"endpoints": ["etcd-1:2379"]}, r"endpoints\[0\] is no URL of an etcd member"),
        ({"endpoints": ["http://a", "https://b"]}, "one or the other"),
        ({"endpoints": ["http://u:p@a"]}, "give them as credentials"),
        ({"layout": "skydns"}, "zone: an empty name; layout `skydns` needs CoreDNS' zone"),
        ({"layout": "skydns", "zone": "-x.example"}, "zone: "),
        ({"layout": "skydns", "zone": "a.example", "ttlSeconds": 0}, "ttlSeconds"),
        ({"zone": "a.example"}, "zone: is for layout `skydns` only"),
        ({"layout": "yaml"}, "layout"),
        ({"prefix": ""}, "prefix"),
        ({"prefix": "/"}, "prefix"),
        ({"prefix": "waypost"}, "prefix"),
        ({"prefix": "/waypost/"}, "prefix"),
        ({"prefix": "/a//b"}, "prefix"),
        ({"prefix": "/a/../b"}, "prefix"),
        ({"prefix": "/a/."}, "prefix"),
        ({"prefix": "/a b"}, "prefix"),
        ({"prefix": "/a\n"}, "prefix"),
        ({"prefix": "/" + "a" * 300}, "prefix"),
        ({"tls": {"serverName": ""}}, "serverName"),
        ({"tls": {"ca": "x"}}, "ca"),
        ({"password": "x"}, "password"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        config(**fields)


def test_the_defaults_for_coredns() -> None:
    made = config(layout="skydns", zone="Prod.example.com.")
    assert (made.place, made.zone, made.ttl_seconds) == ("/skydns", "prod.example.com", 30)
    assert config(layout="skydns", zone="a.example", prefix="/dns").place == "/dns"


@pytest.mark.parametrize("prefix", ["/waypost", "/a/b.c/~d_e-f", "/..a", "/.a"])
def test_prefixes_that_can_be(prefix: str) -> None:
    assert config(prefix=prefix).prefix == prefix
