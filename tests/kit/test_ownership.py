"""The flat form of ownership: everything goes in and comes out unchanged, and nothing can pretend to be two."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.kit.ownership import KEYS, Ownership, of, quoted
from waypost.model import Address, Hop, Publication, PublicationKey, PublishedInstance, PublishedName, ServiceKey

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAME = st.from_regex(r"[a-z]([a-z0-9.-]{0,10}[a-z0-9])?", fullmatch=True)
HOP = st.builds(Hop, environment=TEXT, owner=TEXT)
OWNERSHIP = st.builds(
    Ownership,
    owner=TEXT,
    registration=st.tuples(NAME, NAME).map("/".join),
    entry=TEXT,
    service=st.builds(ServiceKey, source=TEXT, namespace=TEXT, name=TEXT),
    instance=TEXT,
    path=st.lists(HOP, max_size=4).map(tuple),
)


@given(OWNERSHIP)
def test_what_is_encoded_decodes_to_the_same(ownership: Ownership) -> None:
    flat = ownership.encode()
    assert tuple(flat) == KEYS
    assert all(value.isascii() and value.isprintable() and " " not in value for value in flat.values())
    assert Ownership.decode(flat) == ownership


@given(OWNERSHIP, OWNERSHIP)
def test_different_owners_never_look_the_same(one: Ownership, other: Ownership) -> None:
    assert (one.encode() == other.encode()) == (one == other)


@given(st.dictionaries(st.sampled_from([*KEYS, "other"]), st.text()))
def test_what_others_wrote_decodes_to_nothing_or_to_something_whole(flat: dict[str, str]) -> None:
    decoded = Ownership.decode(flat)
    assert decoded is None or flat.keys() >= set(KEYS)


@given(OWNERSHIP, st.sampled_from(KEYS))
def test_without_any_one_of_its_parts_it_is_not_ours(ownership: Ownership, missing: str) -> None:
    flat = ownership.encode()
    del flat[missing]
    assert Ownership.decode(flat) is None


def test_a_record_s_ownership_is_its_publication_s_and_its_instance_s() -> None:
    key = PublicationKey("shop/web", "dns", ServiceKey("marathon", "shop", "web"))
    path = (Hop("edge", "edge-1"),)
    published = Publication(key, (PublishedName("web"),), "prod", "prod-eu")
    instance = PublishedInstance("i-1", (Address("10.0.0.7"),), path=path)
    assert of(published, instance) == Ownership("prod-eu", "shop/web", "dns", key.service, "i-1", path)


@given(st.text())
def test_quoted_is_what_the_standard_library_makes_of_it(text: str) -> None:
    try:
        expected = quote(text, safe="")
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            quoted(text)
    else:
        assert quoted(text) == expected
