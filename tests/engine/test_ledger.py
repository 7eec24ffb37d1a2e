"""What a sink holds, and how it is found by its key."""

from typing import NoReturn

from waypost.engine.ledger import Kept, Ledger, Shelf
from waypost.model import PublicationKey, ServiceKey


def key(name: str) -> PublicationKey:
    return PublicationKey("default/web", "out", ServiceKey("mem", "", name))


def kept(record: str) -> Kept:
    return Kept(record, 1, ready=True)


class Unread(dict[PublicationKey, Shelf]):
    """Shelves that are got one by one, and never passed over."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("a pass over everything")

    items = keys = values = __iter__


def test_records_are_found_by_their_keys_without_a_pass_over_all() -> None:
    ledger = Ledger(indexed=True)
    for n in range(10):
        for i in ("a", "b"):
            ledger.put(key(f"s{n}"), i, kept(f"s{n}/{i}"))
    ledger.shelves = Unread(ledger.shelves)
    assert ledger.find({"s7/a", "s3/b", "foreign"}) == [(key("s3"), "b", "s3/b"), (key("s7"), "a", "s7/a")]


def test_what_went_is_not_found() -> None:
    ledger = Ledger(indexed=True)
    ledger.put(key("s"), "a", kept("s/a"))
    ledger.drop(key("s"), "a", "s/a")
    assert ledger.find({"s/a"}) == []


def test_what_another_publication_took_over_is_found_there() -> None:
    ledger = Ledger(indexed=True)
    ledger.put(key("old"), "a", kept("web/a"))
    ledger.put(key("new"), "a", kept("web/a"))
    ledger.drop(key("old"), "a", "web/a")
    assert ledger.find({"web/a"}) == [(key("new"), "a", "web/a")]


def test_whatever_its_key_is_made_of_a_record_is_kept_as_it_was_put() -> None:
    ledger = Ledger(indexed=True)
    put = {
        "frame/a-1": ("web/frame%2Fa-1@x", "web/frame%2Fa-1:http@x"),
        "frame/a-2": ("web/frame%2Fa-2@x",),
        "other/a-3": ("web/other%2Fa-3@x",),
        "frame/": ("web/frame%2F@x",),
        "a": ("quite another",),
    }
    for number, (instance, keys) in enumerate(put.items()):
        for record in keys:
            ledger.put(key("web"), instance, Kept(record, -number, ready=bool(number % 2)))
    ledger.drop(key("web"), "frame/a-1", "web/frame%2Fa-1:http@x")
    for number, (instance, keys) in enumerate(put.items()):
        assert ledger.kept(key("web"), instance) == (Kept(keys[0], -number, ready=bool(number % 2)),)
    assert ledger.count_ready(key("web")) == 2
    assert sorted(found for _, _, found in ledger.find({"web/other%2Fa-3@x", "quite another"})) == [
        "quite another",
        "web/other%2Fa-3@x",
    ]
    assert ledger.shelves[key("web")].records() == 5
    for instance, keys in put.items():
        ledger.drop(key("web"), instance, keys[0])
    assert not ledger.shelves
    assert not ledger.by_service
