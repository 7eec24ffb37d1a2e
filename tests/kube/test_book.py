"""Which custom resources are in force, and which deletions are believed; what an API server tells is scripted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from waypost.kube.book import Book
from waypost.kube.objects import Item, Maker
from waypost.settings import ServiceRegistration, ServiceSink, ServiceSource, Settings, TypesOf
from waypost.testing.memory import MemorySource, SharedTarget, sink_type, source_type

TYPES = TypesOf({"memory": source_type(MemorySource())}, {"memory": sink_type(SharedTarget())})
SOURCE, SINK, REGISTRATION = ServiceSource.kind, ServiceSink.kind, ServiceRegistration.kind
SPECS: dict[str, dict[str, Any]] = {
    SOURCE: {"type": "memory", "environment": "test"},
    SINK: {"type": "memory", "environment": "test", "ownerID": "me"},
    REGISTRATION: {
        "sources": [{"name": "all", "sourceRef": {"name": "mem"}, "service": {"name": "web"}}],
        "sinks": [{"name": "out", "sinkRef": {"name": "out"}}],
    },
}


class Server:
    """What an API server would tell of objects."""

    def __init__(self) -> None:
        self.book = Book(TYPES)
        self.makers = {kind: Maker(kind, TYPES, "home") for kind in SPECS}

    def item(self, kind: str, name: str = "web", *, uid: str = "1", generation: int = 1, **more: Any) -> Item:
        ends = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if more.pop("ends", False) else {}
        where = {"namespace": "shop"} if kind == REGISTRATION else {}
        metadata = {"name": name, "uid": f"{kind}-{name}-{uid}", "generation": generation, "resourceVersion": "1"}
        spec = {**SPECS[kind], **more}
        return self.makers[kind](msgspec.json.encode({"metadata": {**metadata, **where, **ends}, "spec": spec}))

    def list_all(self, *registrations: str) -> Settings:
        self.book.replaced(SOURCE, [self.item(SOURCE, "mem")])
        self.book.replaced(SINK, [self.item(SINK, "out")])
        self.book.replaced(REGISTRATION, [self.item(REGISTRATION, name) for name in registrations])
        return self.book.settings()

    def judge(self, *, there: bool) -> Settings:
        for told in self.book.told():
            (self.book.order if there else self.book.doubt)(told)
        return self.book.settings()


@pytest.fixture
def server() -> Server:
    return Server()


def test_nothing_is_complete_before_all_kinds_are_listed(server: Server) -> None:
    server.book.replaced(REGISTRATION, [server.item(REGISTRATION)])
    assert not server.book.settings().complete
    assert server.list_all("web").complete


def test_equal_objects_stay_the_same_object_when_only_their_status_or_metadata_changed(server: Server) -> None:
    before = server.list_all("web")
    assert not server.book.put(REGISTRATION, server.item(REGISTRATION))
    assert server.book.settings() is before
    server.book.replaced(REGISTRATION, [server.item(REGISTRATION)])
    assert server.book.settings() is before


def test_a_spec_that_is_wrong_keeps_its_last_good_form_and_holds_nothing_else_back(server: Server) -> None:
    before = server.list_all("web", "api")
    server.book.put(REGISTRATION, server.item(REGISTRATION, generation=2, sources=[]))
    after = server.book.settings()
    assert after.registrations["shop/web"] is before.registrations["shop/web"]
    assert after.complete
    assert {problem.name for problem in after.problems} == {"shop/web"}
    server.book.put(REGISTRATION, server.item(REGISTRATION, "api", ends=True))
    assert set(server.judge(there=True).registrations) == {"shop/web"}


@pytest.mark.parametrize("ends", [True, False], ids=["the mark of a deletion", "an end"])
def test_a_deletion_that_is_told_counts_once_the_crd_is_known_to_be_there(server: Server, ends: bool) -> None:
    server.list_all("web", "api")
    if ends:
        server.book.put(REGISTRATION, server.item(REGISTRATION, ends=True))
    else:
        server.book.removed(REGISTRATION, server.item(REGISTRATION))
    waiting = server.book.settings()
    assert set(waiting.registrations) == {"shop/web", "shop/api"}, "it counts before anybody asked"
    assert not waiting.deleted
    after = server.judge(there=True)
    assert set(after.registrations) == {"shop/api"}
    assert not after.vanished
    if ends:
        assert after.deleted == {"shop/web": "Delete"}


@pytest.mark.parametrize("kind", [SOURCE, SINK, REGISTRATION])
def test_what_ends_with_its_crd_stays_in_force(server: Server, kind: str) -> None:
    before = server.list_all("web")
    name = {SOURCE: "mem", SINK: "out", REGISTRATION: "web"}[kind]
    server.book.removed(kind, server.item(kind, name))
    assert server.judge(there=False) is before
    server.book.replaced(kind, [])  # the CRD is back, and nothing in it
    assert server.book.settings() is before


def test_a_registration_that_ends_while_nobody_runs_is_known_as_deleted_with_its_policy(server: Server) -> None:
    server.list_all("api")
    server.book.replaced(
        REGISTRATION,
        [
            server.item(REGISTRATION, "api"),
            server.item(REGISTRATION, "web", ends=True),
            server.item(REGISTRATION, "kept", ends=True, deletionPolicy="Orphan"),
        ],
    )
    after = server.judge(there=True)
    assert after.deleted == {"shop/web": "Delete", "shop/kept": "Orphan"}
    assert set(after.registrations) == {"shop/api"}


def test_what_a_list_no_longer_has_vanished_and_was_not_deleted(server: Server) -> None:
    server.list_all("web", "api")
    server.book.replaced(REGISTRATION, [server.item(REGISTRATION, "api")])
    after = server.judge(there=True)
    assert set(after.registrations) == {"shop/api"}
    assert after.vanished == {"shop/web"}
    assert not after.deleted
    server.book.put(REGISTRATION, server.item(REGISTRATION))
    assert not server.book.settings().vanished, "it is there again"


def test_a_list_that_is_empty_where_something_was_is_not_believed(server: Server) -> None:
    before = server.list_all("web", "api")
    for kind in SPECS:
        server.book.replaced(kind, [])
    assert server.book.settings() is before


def test_a_deletion_that_was_told_before_a_list_is_still_judged(server: Server) -> None:
    server.list_all("web", "api")
    server.book.removed(REGISTRATION, server.item(REGISTRATION))
    server.book.replaced(REGISTRATION, [server.item(REGISTRATION, "api")])
    after = server.judge(there=True)
    assert set(after.registrations) == {"shop/api"}
    assert not after.vanished


def test_what_was_told_after_the_question_is_not_judged_by_its_answer(server: Server) -> None:
    server.list_all("web", "api")
    server.book.removed(REGISTRATION, server.item(REGISTRATION))
    (asked,) = server.book.told()
    server.book.put(REGISTRATION, server.item(REGISTRATION, uid="2"))  # made anew meanwhile
    server.book.order(asked)
    assert set(server.book.settings().registrations) == {"shop/web", "shop/api"}


def test_another_object_under_the_same_name_is_not_bound_by_the_former(server: Server) -> None:
    server.list_all("web")
    server.book.removed(SINK, server.item(SINK, "out"))
    server.book.put(SINK, server.item(SINK, "out", uid="2", environment="other"))
    assert server.book.settings().sinks["out"].spec.environment == "other"
    server.book.put(SINK, server.item(SINK, "out", uid="2", generation=2, environment="third"))
    after = server.book.settings()
    assert after.sinks["out"].spec.environment == "other", "an immutable field changed"
    assert after.problems


def test_without_grants_waypost_s_own_namespace_alone_is_granted(server: Server) -> None:
    settings = server.list_all("web")
    assert settings.sources["mem"].spec.grants[0].namespaces == ("home",)
    assert settings.sinks["out"].spec.grants[0].namespaces == ("home",)
    server.book.put(SOURCE, server.item(SOURCE, "mem", generation=2, grants=[{"namespaces": ["shop"]}]))
    assert server.book.settings().sources["mem"].spec.grants[0].namespaces == ("shop",)
