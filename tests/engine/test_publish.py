"""What a sink is shown of an instance: tables of addresses, ports, readiness, weights, metadata and paths."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig import registration
from waypost.engine.match import Compiled
from waypost.engine.publish import Far, Near, Showing, Withheld, contact, present, show
from waypost.kit.cidrs import Allowed
from waypost.model import Address, Hop, Instance, Port, PublishedInstance, PublishedName, ServiceKey

KEY = ServiceKey("mem", "ns", "web")
HOST, V6, NAME = Address("10.0.0.1"), Address("2001:db8::1", "Host"), Address("web.example.com", "Hostname")
POD, LOOP, META = Address("10.1.0.1", "Container"), Address("127.0.0.1"), Address("169.254.169.254")
HTTP, ADMIN, BARE = Port(8080, "http"), Port(9090, "admin", "udp"), Port(7)


def shown(
    *instances: Instance,
    labels: dict[str, str] | None = None,
    near: Near | None = None,
    far: Far | None = None,
    entry: dict[str, Any] | None = None,
    weight: int | None = None,
    rest: int | None = None,
    addresses: dict[str, Any] | None = None,
    **spec: Any,
) -> Showing:
    found: dict[str, Any] = {"name": "all", "sourceRef": {"name": "mem"}, "service": {"namespace": "ns", "name": "web"}}
    sources = [found]
    if weight is not None:
        found["weight"] = weight
        other = {"name": "rest", "sourceRef": {"name": "mem"}, "service": {"namespace": "ns", "name": "rest"}}
        sources.append(other | {"weight": 100 - weight if rest is None else rest})
    if addresses is not None:
        found["addresses"] = addresses
    compiled = Compiled(registration("web", entry=entry, sources=sources, **spec))
    return show(
        compiled,
        compiled.sources[0],
        compiled.entries[0],
        KEY,
        labels or {},
        {i.id: i for i in instances},
        near or Near("test", Allowed()),
        far or Far("test", "me", frozenset({"test"}), Allowed()),
    )


def made(name: str = "a", *addresses: Address, **more: Any) -> Instance:
    return Instance(name, addresses or (HOST,), more.pop("ports", (HTTP, ADMIN, BARE)), **more)


def look(showing: Showing, instance: Instance, **state: Any) -> PublishedInstance | Withheld:
    given = {"verdict": True, "was_ready": False, "draining_seconds": None, "ready_count": 1, **state}
    given.setdefault("was_there", given["was_ready"])
    return present(showing, instance, **given)


# --- addresses


@pytest.mark.parametrize(
    ("rule", "addresses", "expected"),
    [
        (None, (POD, HOST), [POD, HOST]),
        ({"types": ["Host"]}, (POD, HOST), [HOST]),
        ({"types": ["Host", "Container"]}, (POD, HOST, V6), [HOST, V6, POD]),
        ({"families": ["IPv6"]}, (POD, HOST, V6), [V6]),
        ({"families": ["Hostname"]}, (NAME, HOST), [NAME]),
        ({"types": ["Host"], "families": ["IPv6"]}, (POD, HOST, V6), [V6]),
        (None, (LOOP, HOST, META), [HOST]),
        (None, (LOOP,), "loopback"),
        (None, (Address("localhost", "Hostname"),), "this machine"),
        ({"types": ["Node"]}, (POD, HOST), "no address of type Node"),
        ({"families": ["IPv6"]}, (HOST,), "no address of family IPv6"),
    ],
)
def test_addresses(rule: Any, addresses: tuple[Address, ...], expected: Any) -> None:
    found = look(shown(addresses=rule), made("a", *addresses))
    if isinstance(expected, str):
        assert isinstance(found, Withheld)
        assert expected in found.reason
        assert found.problem
    else:
        assert isinstance(found, PublishedInstance)
        assert list(found.addresses) == expected


def test_an_instance_without_an_address_is_a_problem() -> None:
    found = look(shown(), Instance("a"))
    assert found == Withheld("source", "it has no address", problem=True)


@pytest.mark.parametrize(
    ("source", "sink", "restricted", "ok"),
    [
        (["127.0.0.0/8"], [], False, True),
        (["127.0.0.0/8"], ["10.0.0.0/8"], True, False),
        (["127.0.0.0/8"], ["127.0.0.0/8"], True, True),
        (["10.0.0.0/8"], ["127.0.0.0/8"], True, False),
    ],
)
def test_source_and_sink_both_must_allow_an_address(
    source: list[str], sink: list[str], restricted: bool, ok: bool
) -> None:
    near = Near("test", Allowed(source))
    far = Far("test", "me", frozenset({"test"}), Allowed(sink), restricted=restricted)
    assert isinstance(look(shown(near=near, far=far), made("a", LOOP)), PublishedInstance) is ok


# --- ports and names


@pytest.mark.parametrize(
    ("rules", "entry", "expected"),
    [
        ([], None, [HTTP, ADMIN, BARE]),
        ([], ["admin"], [ADMIN]),
        ([{"name": "web", "match": {"name": "http"}}], None, [Port(8080, "web")]),
        (
            [{"name": "b", "match": {"index": 1}}, {"name": "a", "match": {"index": 0}}],
            None,
            [Port(9090, "b", "udp"), Port(8080, "a")],
        ),
        ([{"name": "n", "match": {"number": 7}}], None, [Port(7, "n")]),
        ([{"name": "a", "match": {"index": 0}}, {"name": "b", "match": {"index": 1}}], ["b"], [Port(9090, "b", "udp")]),
        ([{"name": "a", "match": {"index": 3}}], None, None),
        ([{"name": "a", "match": {"name": "x"}}], None, None),
        ([{"name": "a", "match": {"number": 1}}], None, None),
        ([], ["x"], None),
    ],
)
def test_ports(rules: Any, entry: Any, expected: list[Port] | None) -> None:
    found = look(shown(ports=rules, entry={"ports": entry} if entry else None), made())
    if expected is None:
        assert isinstance(found, Withheld)
        assert found.problem
    else:
        assert isinstance(found, PublishedInstance)
        assert list(found.ports) == expected


def test_an_instance_without_ports_is_published_where_none_is_asked_for() -> None:
    assert isinstance(look(shown(), made(ports=())), PublishedInstance)


@pytest.mark.parametrize(
    ("names", "rules", "expected"),
    [
        (["{service}"], [], [("web", None)]),
        (["{service}.{namespace}", "x", "x"], [], [("web.ns", None), ("x", None)]),
        (["{port}-{service}"], [], [("admin-web", "admin"), ("http-web", "http")]),
        (["{port}"], [{"name": "z", "match": {"index": 0}}], [("z", "z")]),
        (["{label:app}"], [], [("shop", None)]),
        (["{registration}-{environment}-{source}"], [], [("web-test-mem", None)]),
        (["{label:no|'d'}"], [], [("d", None)]),
    ],
)
def test_names(names: list[str], rules: Any, expected: list[tuple[str, str | None]]) -> None:
    showing = shown(made(), labels={"app": "shop"}, names=names, ports=rules)
    assert [(n.name, n.port) for n in showing.publication.names] == expected
    assert not showing.refused


def test_a_missing_label_refuses_the_publication() -> None:
    showing = shown(made(), names=["{label:app}"])
    assert "label `app` is absent" in showing.refused
    assert showing.publication.names == ()


@pytest.mark.parametrize(
    ("near", "far", "text"),
    [
        ({"environment": "prod"}, {}, "accepts test"),
        ({"grants": [("other", None)]}, {}, "no grant of the source"),
        ({}, {"reserved": ["we*"]}, "reserved"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_reason(near: Any, far: Any, text: str) -> None:
    from waypost.settings import SourceGrant

    if "grants" in near:
        near = {"grants": [SourceGrant(namespaces=("other",))]}
    showing = shown(
        made(),
        near=Near(**{"environment": "test", "allowed": Allowed(), **near}),
        far=Far(**{"environment": "test", "owner": "me", "accepts": frozenset({"test"}), "allowed": Allowed(), **far}),
    )
    assert text in showing.refused


# --- readiness


@pytest.mark.parametrize(
    ("readiness", "verdict", "was_ready", "ready"),
    [
        ("ready", True, False, True),
        ("ready", False, True, "health"),
        ("ready", None, True, True),
        ("ready", None, False, "health"),
        ("not-ready", True, True, "source"),
        ("not-ready", None, True, "source"),
        ("unknown", True, True, True),
        ("unknown", True, False, "source"),
        ("unknown", False, True, "health"),
        ("unknown", None, True, True),
    ],
)
def test_readiness(readiness: Any, verdict: bool | None, was_ready: bool, ready: bool | str) -> None:
    instance = made(readiness=readiness)
    withheld = look(shown(), instance, verdict=verdict, was_ready=was_ready)
    published = look(shown(entry={"notReady": "Publish"}), instance, verdict=verdict, was_ready=was_ready)
    assert isinstance(published, PublishedInstance)
    assert published.ready is (ready is True)
    if ready is True:
        assert isinstance(withheld, PublishedInstance)
    else:
        assert isinstance(withheld, Withheld)
        assert (withheld.cause, withheld.problem) == (ready, False)


@pytest.mark.parametrize("policy", ["Withhold", "Publish"])
@pytest.mark.parametrize(
    ("seconds", "was_there", "was_ready", "there"),
    [
        (0.0, True, True, True),
        (9.9, True, True, True),
        (9.9, True, False, True),
        (10.0, True, True, False),
        (None, True, True, False),
        (None, True, False, False),
        (0.0, False, False, False),  # what was never published is not published in order to go
    ],
)
def test_a_draining_instance_is_shown_as_not_ready_for_its_time(
    policy: str, seconds: float | None, was_there: bool, was_ready: bool, there: bool
) -> None:
    showing = shown(entry={"notReady": policy}, drainSeconds=10)
    draining = made(readiness="draining")
    found = look(showing, draining, draining_seconds=seconds, was_there=was_there, was_ready=was_ready)
    if there:
        assert isinstance(found, PublishedInstance)
        assert not found.ready
    else:
        assert found == Withheld("source", "it is draining")


# --- weights


@pytest.mark.parametrize(
    ("own", "share", "ready", "weight"),
    [
        (7, None, 3, 7),
        (1, 90, 1, 9000),
        (1, 90, 3, 3000),
        (2, 10, 4, 500),
        (0, 50, 4, 0),
        (1, 1, 1000, 1),
        (65535, 100, 1, 65535),
        (1, 50, 0, 5000),
    ],
)
def test_weights(own: int, share: int | None, ready: int, weight: int) -> None:
    showing = shown(weight=share)
    assert showing.weighted is (share is not None)
    found = look(showing, made(weight=own), ready_count=ready)
    assert isinstance(found, PublishedInstance)
    assert found.weight == weight


def test_a_share_of_nothing_is_an_edit_and_no_problem() -> None:
    found = look(shown(weight=0), made())
    assert isinstance(found, Withheld)
    assert (found.cause, found.problem) == ("edit", False)


@pytest.mark.parametrize(("share", "rest"), [(9, 1), (90, 10), (900, 100), (58_500, 6_500)])
def test_only_the_ratio_of_the_shares_counts(share: int, rest: int) -> None:
    assert [
        found.weight
        for found in (look(shown(weight=share, rest=rest), made()), look(shown(weight=rest, rest=share), made()))
        if isinstance(found, PublishedInstance)
    ] == [9000, 1000]


@given(st.integers(1, 100), st.integers(1, 400), st.integers(1, 6))
def test_the_weights_of_a_share_add_up_to_it(share: int, ready: int, own: int) -> None:
    found = look(shown(weight=share), made(weight=own), ready_count=ready)
    assert isinstance(found, PublishedInstance)
    assert abs(found.weight * ready - own * share * 100) <= max(ready, 1)


@given(st.integers(1, 100), st.integers(1, 400), st.integers(1, 65_535))
def test_a_weight_fits_into_every_sink(share: int, ready: int, own: int) -> None:
    found = look(shown(weight=share), made(weight=own), ready_count=ready)
    assert isinstance(found, PublishedInstance)
    assert 1 <= found.weight <= 65_535


# --- metadata, labels and paths


def test_metadata_reads_the_instance_first_and_leaves_out_what_is_absent() -> None:
    showing = shown(
        made(),
        labels={"app": "shop", "v": "1"},
        metadata={
            "v": "{label:v}",
            "a": "{label:app}",
            "no": "{label:no}",
            "d": "{label:no|'x'}",
            "z": "{instance.zone}",
        },
    )
    found = look(showing, made(labels={"v": "2"}, zone="z1"))
    assert isinstance(found, PublishedInstance)
    assert found.metadata == {"v": "2", "a": "shop", "d": "x", "z": "z1"}
    assert found.labels == {"app": "shop", "v": "2"}


def test_the_path_grows_by_where_it_is_published() -> None:
    found = look(shown(far=Far("dmz", "edge", frozenset({"test"}), Allowed())), made(path=(Hop("far", "f"),)))
    assert isinstance(found, PublishedInstance)
    assert found.path == (Hop("far", "f"), Hop("test", "edge"))


@pytest.mark.parametrize(
    ("path", "ok"),
    [
        ((), True),
        ((Hop("x", "o"),), True),
        ((Hop("x", "me"),), False),
        ((Hop("test", "o"),), False),
        ((Hop("x", "o"), Hop("y", "me")), False),
        (tuple(Hop(f"e{n}", "o") for n in range(3)), True),
        (tuple(Hop(f"e{n}", "o") for n in range(4)), False),
    ],
)
def test_nothing_goes_in_circles_nor_too_far(path: tuple[Hop, ...], ok: bool) -> None:
    found = look(shown(), made(path=path))
    assert isinstance(found, PublishedInstance) is ok
    if isinstance(found, Withheld):
        assert (found.cause, found.problem) == ("edit", True)


# --- where it is checked


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(None, ("10.0.0.1", 8080)), ("admin", ("10.0.0.1", 9090)), (1, ("10.0.0.1", 1)), ("x", "it has no port `x`")],
)
def test_where_an_instance_is_checked(wanted: Any, expected: Any) -> None:
    assert contact(shown(), made(), wanted) == expected


def test_an_address_that_is_not_allowed_is_never_contacted() -> None:
    assert "loopback" in contact(shown(), made("a", LOOP), 80)
    assert contact(shown(), made(ports=(ADMIN,)), None) == "it has no TCP port"


# --- sameness


def test_showings_are_the_same_where_all_instances_look_the_same_through_both() -> None:
    one = shown(made())
    again = show(one.compiled, one.rule, one.entry, KEY, {}, {}, one.near, one.far)
    assert again.same(one)
    for near, far in (
        (Near("test", Allowed(["10.0.0.0/8"])), one.far),
        (one.near, Far("test", "you", one.far.accepts, Allowed())),
    ):
        assert not show(one.compiled, one.rule, one.entry, KEY, {}, {}, near, far).same(one)
    assert not show(one.compiled, one.rule, one.entry, KEY, {"x": "1"}, {}, one.near, one.far).same(one)
    assert not shown(made()).same(one), "another spec may show anything"
    assert one.publication.names == (PublishedName("web"),)
