"""What the view tells, event by event: as parts where it can, and never what it cannot know. No server."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.adapters.kubernetes.test_source_services import node, service
from tests.adapters.kubernetes.test_source_slices import text
from waypost.kit.problems import Problems
from waypost.model import Instance, Service, ServiceKey
from waypost.testing.changes import Recorder
from waypost.testing.context import RecordedMetrics, TestContext
from waypost_adapters.kubernetes.source import Fed, Watch
from waypost_adapters.kubernetes.source_config import SourceConfig
from waypost_adapters.kubernetes.source_services import ServiceRow
from waypost_adapters.kubernetes.source_slices import Slice
from waypost_adapters.kubernetes.source_text import Texts
from waypost_adapters.kubernetes.source_view import View

WEB = ServiceKey("k", "shop", "web")


class Said:
    """What was told: `whole` and `parts` count, `services` is what follows from all of it."""

    def __init__(self) -> None:
        self.services: dict[ServiceKey, dict[str, Instance]] = {}
        self.labels: dict[ServiceKey, Any] = {}
        self.whole = self.parts = 0
        self.last: tuple[list[str], list[str]] = ([], [])

    def put(self, service: Service) -> None:
        self.whole += 1
        self.services[service.key] = {each.id: each for each in service.instances}
        self.labels[service.key] = service.labels

    def amend(self, part: Service, gone: Collection[str] = ()) -> None:
        assert part.key in self.services, "a part of what was never put whole"
        self.parts += 1
        self.last = ([each.id for each in part.instances], list(gone))
        there = self.services[part.key]
        there.update({each.id: each for each in part.instances})
        for id in gone:
            del there[id]

    def remove(self, key: ServiceKey) -> None:
        del self.services[key]

    def ids(self, key: ServiceKey = WEB) -> list[str]:
        return sorted(self.services[key])


def view(config: SourceConfig | None = None) -> tuple[View, Said]:
    said = Said()
    problems = Problems(logging.LoggerAdapter(logging.getLogger("test")), RecordedMetrics(), "problems")
    return View("k", config or SourceConfig(), problems, said), said


def cut(
    name: str,
    *pods: str,
    of: str = "web",
    family: str = "IPv4",
    ready: Collection[str] | None = None,
    without: Collection[str] = (),
) -> Slice:
    """A slice with a pod at 10.0.0.N (fd00::N), where N is the pod's letter; but for those without an address."""
    prefix = "10.0.0." if family == "IPv4" else "fd00::"
    rows = [
        {
            "addresses": [f"{prefix}{ord(pod[0])}"] if pod not in without else [],
            "conditions": {"ready": ready is None or pod in ready},
            "targetRef": {"kind": "Pod", "name": pod},
            "nodeName": f"n-{pod}",
        }
        for pod in pods
    ]
    metadata = {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": of}}
    return Slice(text(rows, metadata=metadata, addressType=family))


def test_a_service_is_told_when_it_is_there_and_its_slices_are() -> None:
    known, said = view()
    known.put_slice(cut("a", "x"))
    assert not said.services, "a slice without its Service"
    known.put_service(service())
    assert said.ids() == ["x"]
    known.put_slice(cut("a", "x", "y"))
    assert (said.ids(), said.whole, said.parts, said.last) == (["x", "y"], 1, 1, (["y"], []))
    known.put_slice(cut("a", "y"))
    assert (said.ids(), said.last) == (["y"], ([], ["x"]))
    known.drop_service(service())
    assert not said.services
    known.put_slice(cut("a", "z"))
    assert not said.services, "slices that are left of a deleted Service"
    known.drop_slice(cut("a"))
    assert not known.groups, "nothing is kept of what is gone"


def test_of_two_endpoints_of_one_id_the_last_is_told_whichever_of_them_changed() -> None:
    def twice(first: str, last: str) -> Slice:
        rows = [{"addresses": [each], "targetRef": {"kind": "Pod", "name": "x"}} for each in (first, last)]
        metadata = {"name": "a", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}
        return Slice(text(rows, metadata=metadata))

    known, said = view()
    known.put_service(service())
    for first, last in (("10.0.0.1", "10.0.0.2"), ("10.0.0.3", "10.0.0.2"), ("10.0.0.3", "10.0.0.4")):
        known.put_slice(twice(first, last))
        assert [each.value for each in said.services[WEB]["x"].addresses] == [last]
        assert [tuple(group.endpoints()) for group in known.shown()] == [tuple(said.services[WEB].values())]
    known.put_slice(cut("a", "y"))
    assert (said.ids(), said.last) == (["y"], (["y"], ["x"]))


def test_an_event_that_changes_nothing_tells_nothing() -> None:
    known, said = view()
    known.put_service(service())
    known.put_slice(cut("a", "x"))
    before = (said.whole, said.parts)
    known.put_slice(cut("a", "x"))
    known.put_service(service())
    assert (said.whole, said.parts) == before


def test_a_service_with_a_selector_and_no_slice_is_not_known_to_be_empty() -> None:
    known, said = view()
    known.put_service(service(selector={"app": "web"}))
    assert not said.services
    assert not list(known.shown())
    known.put_slice(cut("a"))
    assert said.ids() == [], "an empty slice says that it is empty"
    known.put_slice(cut("a", "x"))
    known.drop_slice(cut("a"))
    assert said.ids() == ["x"], "its controller would have left it one"
    known.put_slice(cut("b", "y"))
    assert said.ids() == ["y"]
    bare, without = view()
    bare.put_service(service())
    assert without.ids() == [], "one without a selector may have none"


def test_an_instance_that_moves_between_slices_is_there_all_the_time() -> None:
    known, said = view()
    known.put_service(service())
    known.put_slice(cut("a", "x", "y"))
    known.put_slice(cut("b", "x", ready=[]))
    assert said.services[WEB]["x"].readiness == "ready", "of two that differ the better counts"
    known.put_slice(cut("a", "y"))
    assert said.ids() == ["x", "y"]
    assert said.services[WEB]["x"].readiness == "not-ready"
    known.drop_slice(cut("b"))
    assert said.ids() == ["y"]


def test_addresses_of_both_families_are_one_instance_the_services_first_family_first() -> None:
    for families, first in ((["IPv4", "IPv6"], "10.0.0.120"), (["IPv6", "IPv4"], "fd00::78")):
        known, said = view()
        known.put_service(service(ipFamilies=families))
        known.put_slice(cut("six", "x", family="IPv6"))
        known.put_slice(cut("four", "x"))
        found = [address.value for address in said.services[WEB]["x"].addresses]
        assert found[0] == ("10.0.0.120" if first.startswith("10") else f"fd00::{ord('x')}")
        assert len(found) == 2
        known.drop_slice(cut("six"))
        assert [address.value for address in said.services[WEB]["x"].addresses] == ["10.0.0.120"]


def test_a_slice_that_changes_its_service_leaves_the_former() -> None:
    known, said = view()
    known.put_service(service())
    other = service()
    other = msgspec.structs.replace(other, metadata=msgspec.structs.replace(other.metadata, name="api"))
    known.put_service(other)
    known.put_slice(cut("a", "x"))
    known.put_slice(cut("a", "x", of="api"))
    assert said.ids() == []
    assert said.ids(ServiceKey("k", "shop", "api")) == ["x"]


def test_what_is_hidden_is_removed_and_comes_back_whole() -> None:
    known, said = view()
    known.put_service(service())
    known.put_slice(cut("a", "x"))
    known.put_service(service(annotations={"waypost.dev/publish": "false"}))
    assert not said.services
    known.put_slice(cut("a", "x", "y"))
    assert not said.services
    known.put_service(service(annotations={"waypost.dev/name": "w"}))
    assert said.ids() == ["x", "y"]
    assert said.labels[WEB]["waypost.dev/name"] == "w"


def test_a_change_of_how_it_is_reached_puts_it_whole() -> None:
    known, said = view()
    known.put_node(node("n-x", ("InternalIP", "10.9.0.1")))
    known.put_service(service())
    known.put_slice(cut("a", "x", "y"))
    known.put_service(service("NodePort"))
    assert said.ids() == ["n-x"]
    whole = said.whole
    known.put_slice(cut("a", "x", "z"))
    assert said.whole == whole, "the same node, the same readiness: nothing to tell"
    known.put_node(node("n-z", ("InternalIP", "10.9.0.2")))
    assert said.ids() == ["n-x", "n-z"]
    known.put_node(node("n-z", ("InternalIP", "10.9.0.3")))
    assert said.services[WEB]["n-z"].addresses[0].value == "10.9.0.3"
    whole = said.whole
    known.put_node(node("n-unused", ("InternalIP", "10.9.0.9")))
    assert said.whole == whole
    known.drop_node(node("n-x"))
    assert said.ids() == ["n-z"]


def test_while_it_is_held_nothing_is_told_and_then_what_is_now() -> None:
    known, said = view()
    known.put_service(service())
    known.put_slice(cut("a", "x"))
    known.hold()
    known.put_slice(cut("a", "x", "y"))
    known.muted = True
    known.put_slice(cut("a", "x", "z"))
    known.muted = False
    assert said.ids() == ["x"]
    known.release()
    assert said.ids() == ["x", "z"]
    known.hold()
    known.drop_service(service())
    known.release()
    assert not said.services


def test_what_a_list_lacks_is_left_to_the_view_that_follows_it() -> None:
    known, said = view()
    known.put_service(service())
    known.put_slice(cut("a", "x", "y"))
    before = (said.whole, said.parts)
    known.hold()
    known.muted = True
    known.put_slice(cut("a", "x"))
    known.muted = False
    known.release()
    assert (said.whole, said.parts) == before, "it is no fact"
    assert [each.id for each in known.whole(known.groups["shop", "web"]).instances] == ["x"]


def test_a_slice_that_cannot_be_read_leaves_what_was_known() -> None:
    known, said = view()
    known.put_service(service())
    known.put_slice(cut("a", "x"))
    bad = Slice(text([{"addresses": ["10.0.0.1"], "zone": 7}], metadata=cut_metadata("a")))
    known.put_slice(bad)
    assert said.ids() == ["x"]
    known.put_slice(cut("a", "y"))
    assert said.ids() == ["y"]


def cut_metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "six"]),
        st.none()
        | st.lists(st.sampled_from("uvwxyz"), max_size=6)
        | st.sampled_from(["uvw", "uv", "uxw", "uuw", "uw", "vw"]).map(list),  # an event mostly changes one
        st.sets(st.sampled_from("uvwxyz")) | st.sampled_from([set("uvw"), set("uv"), set("vw")]),
        st.sampled_from(["", "", "u", "v"]),
    ),
    max_size=12,
)


@given(STEPS, st.booleans())
@example([("a", list("uuw"), set("uw"), ""), ("a", list("uw"), set("uw"), "")], True)
@settings(max_examples=400)
def test_parts_add_up_to_the_whole(
    steps: Iterable[tuple[str, list[str] | None, set[str], str]], forgetful: bool
) -> None:
    """Whatever slices do, duplicates in one and in several included: what was told is what a whole view would show."""
    known, said = view()
    if forgetful:
        known._texts = Texts(0)
    known.put_service(service(ipFamilies=["IPv4", "IPv6"]))
    for name, pods, ready, without in steps:
        family = "IPv6" if name == "six" else "IPv4"
        if pods is None:
            known.drop_slice(cut(name, family=family))
        else:
            known.put_slice(cut(name, *pods, family=family, ready=ready, without=without))
        group = known.groups["shop", "web"]
        assert said.services[WEB] == {each.id: each for each in known.whole(group).instances}
        held = {id for each in group.slices.values() for id in addressed(each)}
        assert group.where.keys() == held
        assert known._texts.bytes == sum(each.size for each in group.slices.values())


def addressed(slice: Slice) -> list[str]:
    return [instance.id for instance in slice.instances if instance.addresses]


def test_no_text_is_kept_of_what_is_gone_is_no_services_or_cannot_be_read() -> None:
    known, _ = view()
    known.put_service(service())
    foreign, unreadable = cut("b", "x", of=""), Slice(text([{"zone": 7}], metadata=cut_metadata("c")))
    for each in (cut("a", "x"), foreign, unreadable):
        known.put_slice(each)
    assert (foreign.size, unreadable.size) == (0, 0)
    assert known._texts.bytes > 0
    known.drop_slice(cut("a"))
    assert known._texts.bytes == 0
    known.put_slice(Slice(text([{"zone": 7}], metadata=cut_metadata("c") | {"namespace": "other"})))
    assert list(known.groups) == [("shop", "web")], "nor is a Service that only it names"


def test_only_the_row_that_matters_is_told() -> None:
    known, said = view()
    row: ServiceRow = service()
    known.put_service(row)
    for number in itertools.islice(itertools.count(), 3):
        metadata = msgspec.structs.replace(row.metadata, resource_version=str(number))
        known.put_service(msgspec.structs.replace(row, metadata=metadata))
    assert said.whole == 1


@pytest.mark.parametrize("reach", ["endpoints", "nodes", "loadBalancer", "clusterIP"])
def test_every_reach_lives_through_a_slice_without_endpoints(reach: Any) -> None:
    known, said = view(SourceConfig(reach=reach))
    known.put_service(service(clusterIPs=["10.96.0.1"]))
    known.put_slice(cut("a"))
    known.put_slice(cut("a", "x"))
    known.drop_slice(cut("a"))
    assert WEB in said.services


async def test_what_a_later_list_lacks_is_absent_from_a_view_and_not_removed(tmp_path: Path) -> None:
    recorder = Recorder()
    problems = Problems(logging.LoggerAdapter(logging.getLogger("test")), RecordedMetrics(), "problems")
    nobody: Any = None  # no server is asked
    watch = Watch(SourceConfig(), TestContext(tmp_path, name="k"), problems, nobody, recorder)
    fed = Fed[ServiceRow]("Service", watch, watch.view.put_service, watch.view.drop_service, tells=False)
    watch._opened = True
    fed.put(service(), None)
    assert WEB in recorder.view
    await fed.replaced({}, [service()])
    assert [event.kind for event in recorder.events] == ["put", "begun", "snapshot"]
    assert WEB not in recorder.view
