"""Which registrations want which services: by name, by selector, the first source that does; and clean indexes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig import registration
from waypost.engine import grants
from waypost.engine.match import Compiled, Matcher, SourceRule
from waypost.model import ServiceKey
from waypost.settings import SinkGrant, SourceGrant


def entry(name: str = "all", source: str = "mem", **how: Any) -> dict[str, Any]:
    return {"name": name, "sourceRef": {"name": source}, **how}


def rule(**how: Any) -> SourceRule:
    return Compiled(registration("web", sources=[entry(**how)])).sources[0]


def found(matcher: Matcher, source: str, name: str, namespace: str = "", **labels: str) -> list[tuple[str, str]]:
    return [(c.key, r.name) for c, r in matcher.matches(ServiceKey(source, namespace, name), labels)]


@pytest.mark.parametrize(
    ("how", "key", "labels", "wants"),
    [
        ({"service": {"name": "web"}}, ("", "web"), {}, True),
        ({"service": {"name": "web"}}, ("ns", "web"), {}, False),
        ({"service": {"name": "web", "namespace": "ns"}}, ("ns", "web"), {}, True),
        ({"service": {"name": "web"}}, ("", "web2"), {}, False),
        ({"selector": {"services": ["web-*"]}}, ("", "web-1"), {}, True),
        ({"selector": {"services": ["web-*"]}}, ("", "my-web-1"), {}, False),
        ({"selector": {"services": ["web-*"]}}, ("", "WEB-1"), {}, False),
        ({"selector": {"services": ["a", "b?"]}}, ("", "b1"), {}, True),
        ({"selector": {"namespaces": ["shop*"]}}, ("shop/eu", "x"), {}, True),
        ({"selector": {"namespaces": ["shop"]}}, ("shop2", "x"), {}, False),
        ({"selector": {"matchLabels": {"a": "1", "b": "2"}}}, ("", "x"), {"a": "1", "b": "2", "c": "3"}, True),
        ({"selector": {"matchLabels": {"a": "1", "b": "2"}}}, ("", "x"), {"a": "1"}, False),
        ({"selector": {"matchLabels": {"a": "1"}, "services": ["x"]}}, ("", "y"), {"a": "1"}, False),
        ({"selector": {"services": ["x"], "namespaces": ["n"]}}, ("m", "x"), {}, False),
    ],
)
def test_rules(how: Any, key: tuple[str, str], labels: dict[str, str], wants: bool) -> None:
    assert rule(**how).wants(ServiceKey("mem", *key), labels) is wants


def test_the_first_of_a_registrations_sources_wins_and_each_registration_comes_once() -> None:
    matcher = Matcher()
    sources = [
        entry("globs", selector={"services": ["web*"]}),
        entry("exact", service={"name": "web"}),
        entry("far", "other", service={"name": "web"}),
    ]
    matcher.put(registration("r", sources=sources))
    matcher.put(registration("s", services="web"))
    assert found(matcher, "mem", "web") == [("default/r", "globs"), ("default/s", "all")]
    assert found(matcher, "mem", "web2") == [("default/r", "globs")]
    assert found(matcher, "other", "web") == [("default/r", "far")]
    assert found(matcher, "third", "web") == []


def test_a_registration_put_again_or_removed_leaves_nothing_behind() -> None:
    matcher = Matcher()
    matcher.put(
        registration("r", sources=[entry("a", service={"name": "web"}), entry("b", selector={"services": ["x"]})])
    )
    matcher.put(registration("s", services="web"))
    matcher.put(registration("r", services="api"))
    assert found(matcher, "mem", "web") == [("default/s", "all")]
    assert found(matcher, "mem", "x") == []
    assert found(matcher, "mem", "api") == [("default/r", "all")]
    for key in ("default/r", "default/s", "default/none"):
        matcher.remove(key)
    assert (matcher.compiled, matcher._exact, matcher._selecting) == ({}, {}, {})


@given(st.lists(st.tuples(st.sampled_from("rstu"), st.sampled_from(["a", "b", "*", None])), max_size=20))
def test_matching_is_as_if_all_rules_were_asked(steps: list[tuple[str, str | None]]) -> None:
    matcher = Matcher()
    wanted: dict[str, str] = {}
    for name, glob in steps:
        if glob is None:
            wanted.pop(name, None)
            matcher.remove(f"default/{name}")
        else:
            wanted[name] = glob
            matcher.put(registration(name, services=[glob] if glob == "*" else glob))
        for service in "ab":
            assert {key for key, _ in found(matcher, "mem", service)} == {
                f"default/{n}" for n, g in wanted.items() if g in {service, "*"}
            }
    assert bool(matcher._exact) == any(g != "*" for g in wanted.values())


# --- grants


@pytest.mark.parametrize(
    ("namespaces", "services", "registration_namespace", "service_namespace", "may"),
    [
        (["shop"], [], "shop", "anything", True),
        (["shop"], [], "shops", "x", False),
        (["team-*"], [], "team-a", "x", True),
        (["team-*"], [], "team-a/b", "x", False),
        (["shop"], ["shop", "shop/**"], "shop", "shop/eu/web", True),
        (["shop"], ["shop/*"], "shop", "shop/eu/web", False),
        (["shop"], ["shop/*"], "shop", "shop", False),
        (["a.b"], [], "axb", "x", False),
    ],
)
def test_who_may_read_what(
    namespaces: list[str], services: list[str], registration_namespace: str, service_namespace: str, may: bool
) -> None:
    grant = SourceGrant(namespaces=tuple(namespaces), service_namespaces=tuple(services))
    assert grants.may_read([grant], registration_namespace, service_namespace) is may


@pytest.mark.parametrize(
    ("names", "reserved", "name", "may"),
    [
        (["web", "*.shop"], [], "web", True),
        (["web", "*.shop"], [], "a.shop", True),
        (["*.shop"], [], "a.b.shop", False),
        (["**.shop"], [], "a.b.shop", True),
        (["*.shop"], [], "a.SHOP", True),
        ([], [], "anything", True),
        ([], ["ns*"], "ns1", False),
        ([], ["ns*"], "ns1.x", True),
        ([], ["_acme-challenge.**"], "_acme-challenge.a.b", False),
        ([], ["@"], "@", False),
        (["web"], ["web"], "web", False),
        ([], ["kube-dns"], "Kube-DNS.", False),
        (["shop"], [], "\N{LATIN SMALL LETTER LONG S}hop", False),  # upper-cased, it would be SHOP
    ],
)
def test_who_may_publish_which_names(names: list[str], reserved: list[str], name: str, may: bool) -> None:
    grant = SinkGrant(namespaces=("shop",), names=tuple(names))
    assert (grants.may_publish([grant], reserved, "shop", name) is None) is may
    assert grants.may_publish([grant], reserved, "other", name) is not None


def test_without_grants_all_is_granted_but_what_is_reserved() -> None:
    assert grants.may_read([], "a", "b")
    assert grants.may_read(None, "a", "b")
    assert grants.may_publish([], [], "a", "b") is None
    assert grants.may_publish(None, ["b"], "a", "b") is not None
