"""Which family an address is of: as the package ipaddress says, of every text."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model import family

OCTETS = st.lists(
    st.sampled_from(["0", "1", "01", "255", "256", "0x1", "", " 1", "1 ", "\N{ARABIC-INDIC DIGIT ONE}"]),
    min_size=1,
    max_size=5,
)
TEXTS = st.text(max_size=12) | st.ip_addresses().map(str) | OCTETS.map(".".join)


def said(text: str) -> str:
    try:
        return f"IPv{ipaddress.ip_address(text).version}"
    except ValueError:
        return "Hostname"


@given(TEXTS)
def test_it_is_as_strict_as_ipaddress(text: str) -> None:
    assert family(text) == said(text)


@pytest.mark.parametrize("text", ["10.0.0.1\0", "10.0.0.1\n", "\ud800", "::ffff:10.0.0.1", "fe80::1%eth0", "10.1", "1"])
def test_of_texts_that_other_parsers_take_or_trip_over(text: str) -> None:
    assert family(text) == said(text)
