"""Which addresses may be registered and contacted."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.kit.cidrs import Allowed

REFUSED = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "100.100.100.200",
    "192.0.0.192",
    "fd20:ce::254",
    "fe80::1%eth0",
    "localhost",
    "a.localhost.",
    "LOCALHOST",
]
ALLOWED = [
    "10.0.0.7",
    "192.168.1.1",
    "8.8.8.8",
    "2001:db8::1",
    "fd00::1",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "web.example.com",
    "localhost.net",
]


@pytest.mark.parametrize("address", REFUSED)
def test_by_default_this_machine_its_link_and_metadata_are_refused(address: str) -> None:
    assert address in (Allowed().refusal(address) or "")


@pytest.mark.parametrize("address", ALLOWED)
def test_by_default_everything_else_is_allowed(address: str) -> None:
    assert Allowed().refusal(address) is None


def test_what_is_named_is_allowed_and_nothing_else() -> None:
    allowed = Allowed(["127.0.0.0/8", "2001:db8::/32"])
    assert [allowed.refusal(address) for address in ("127.0.0.1", "127.255.255.255", "2001:db8:ffff::1")] == [None] * 3
    assert "none of allowedCIDRs (127.0.0.0/8, 2001:db8::/32)" in (allowed.refusal("10.0.0.1") or "")
    assert allowed.refusal("2001:db9::1")
    assert allowed.refusal("localhost"), "a name cannot be allowed"


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        Allowed(["10.0.0.1/8"])


def test_the_same_networks_allow_the_same() -> None:
    assert Allowed(["10.0.0.0/8"]) == Allowed(["10.0.0.0/8"]) != Allowed()
    assert hash(Allowed(["10.0.0.0/8"])) == hash(Allowed(["10.0.0.0/8"]))


@given(st.ip_addresses(), st.integers(0, 32))
def test_it_agrees_with_the_standard_library(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> None:
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    allowed = Allowed([str(network)])
    for other in (address, network[0], network[-1], type(address)(0)):
        assert (allowed.refusal(str(other)) is None) == (other in network)
