"""What is a DNS name, and what is told of one that is none. dnspython is the witness for the wire."""

from __future__ import annotations

import dns.name
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.kit import dnsnames

label_texts = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?", fullmatch=True)
names = st.lists(label_texts, min_size=1, max_size=6).map(".".join)


@pytest.mark.parametrize("text", ["a", "0", "a-b", "A" * 63, "xn--bcher-kva", "1-2"])
def test_a_label_comes_back_in_lower_case(text: str) -> None:
    assert dnsnames.label(text) == text.lower()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("a" * 64, "has 64 characters, at most 63"),
        ("-a", "begins with `-`"),
        ("a-", "ends with `-`"),
        ("a_b", "'_' at character 2"),
        ("a b", "' ' at character 2"),
        ("bücher", "'ü' at character 2"),
        ("a\n", "'\\n' at character 2"),
        ("a.b", "'.' at character 2"),
        ("\u0661", "at character 1"),
    ],
)
def test_what_is_no_label_is_told_where(text: str, says: str) -> None:
    with pytest.raises(dnsnames.BadName) as raised:
        dnsnames.label(text)
    assert says in str(raised.value)


@pytest.mark.parametrize("text", ["_http", "_tcp", "a_b", "_a_b"])
def test_underscores_are_possible_where_asked_for(text: str) -> None:
    assert dnsnames.label(text, underscore=True) == text
    with pytest.raises(dnsnames.BadName):
        dnsnames.label(text)


@pytest.mark.parametrize("text", ["__a", "a_", "_", "-_a"])
def test_not_every_place_of_an_underscore_is(text: str) -> None:
    with pytest.raises(dnsnames.BadName):
        dnsnames.label(text, underscore=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "empty name"), (".", "empty name"), ("a..b", "empty label"), ("a." * 127 + "a", "255 characters")],
)
def test_what_is_no_name_is_told(text: str, says: str) -> None:
    with pytest.raises(dnsnames.BadName, match=says):
        dnsnames.name(text)


@given(names)
def test_the_wire_form_is_that_of_another_library_and_reads_back(text: str) -> None:
    wire = dnsnames.encode(dnsnames.name(text))
    assert wire == dns.name.from_text(text.lower()).to_wire()
    assert dnsnames.decode(b"xx" + wire + b"yy", 2) == (text.lower(), 2 + len(wire))


@given(st.binary(max_size=300))
def test_no_octets_make_decode_do_anything_but_answer_or_refuse(octets: bytes) -> None:
    try:
        text, end = dnsnames.decode(octets)
    except dnsnames.BadName:
        return
    assert octets[end - 1] == 0
    assert dns.name.from_text(text + ".").to_wire() == octets[:end]


@given(names, names)
def test_within_is_what_another_library_calls_a_subdomain(child: str, zone: str) -> None:
    for text in (child, f"{child}.{zone}", f"{child}{zone}"):
        expected = dns.name.from_text(text).is_subdomain(dns.name.from_text(zone))
        assert dnsnames.within(text, zone) == expected


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_reverse_names_are_those_of_another_library(address: str) -> None:
    assert dnsnames.reverse(address) + "." == dns.reversename.from_address(address).to_text()
