"""What a source has said, and when what it no longer says is believed."""

from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig import Rig, instance, registration, service, source
from waypost.adapter import AdapterError
from waypost.engine import catalog
from waypost.engine.catalog import Absence, SourceView
from waypost.engine.doubt import Loss
from waypost.engine.intake import SourceChanges
from waypost.model import Instance, Service, ServiceKey
from waypost.testing.virtual import virtual_test

WEB, API = ServiceKey("mem", "", "web"), ServiceKey("mem", "", "api")


class Told:
    """A view, its clock, and what it marked."""

    def __init__(self, **loss: float) -> None:
        self.now = 0.0
        self.marks: list[tuple[ServiceKey, frozenset[str] | None]] = []
        self.view = SourceView("mem", Loss(**loss), self._mark, lambda: self.now)  # type: ignore[arg-type]

    def _mark(self, key: ServiceKey, ids: Collection[str] | None) -> None:
        self.marks.append((key, None if ids is None else frozenset(ids)))

    def take(self, *services: Service, unknown: Collection[str] = (), touched: Collection[ServiceKey] = ()) -> None:
        self.view.take({s.key: s for s in services}, touched, unknown)

    def known(self, key: ServiceKey = WEB) -> list[str]:
        known = self.view.services.get(key)
        return [] if known is None else sorted(known.instances)

    def marked(self) -> list[tuple[str, list[str] | None]]:
        found, self.marks = self.marks, []
        return [(key.name, None if ids is None else sorted(ids)) for key, ids in found]


def web(*names: str) -> Service:
    return service("web", *names)


TEN = [f"i{n}" for n in range(10)]


# --- facts


def test_what_a_fact_removed_before_the_first_view_is_looked_at_with_the_first_view() -> None:
    told = Told()
    told.view.put(web("a"))
    told.view.remove(WEB)
    assert told.view.absence(WEB, "a") is Absence.UNKNOWN  # its record stays as yet
    told.marked()
    told.take(service("api", "b"), touched=[WEB])
    assert told.view.absence(WEB, "a") is Absence.FACT
    assert ("web", None) in told.marked()


def test_only_what_differs_is_marked_and_equal_objects_stay_the_same() -> None:
    told = Told()
    told.take(web("a", "b"))
    before = told.view.services[WEB].instances["a"]
    told.marked()
    told.view.put(web("a", "b"))
    assert told.marked() == []
    told.view.put(service("web", "a", instance("b", port=1), "c"))
    assert told.marked() == [("web", ["b", "c"])]
    assert told.view.services[WEB].instances["a"] is before
    told.view.put(web("a"))
    assert told.marked() == [("web", ["b", "c"])]
    told.view.put(service("web", "a", labels={"x": "1"}))
    assert told.marked() == [("web", None)]
    told.view.remove(WEB)
    assert told.marked() == [("web", None)]
    assert told.view.count == 0


@pytest.mark.parametrize(("how", "absence"), [("put", Absence.FACT), ("empty", Absence.FACT), ("remove", Absence.FACT)])
def test_what_a_source_states_is_a_fact(how: str, absence: Absence) -> None:
    told = Told()
    told.take(web("a", "b"), service("api", "x"))
    if how == "put":
        told.view.put(web("b"))
    elif how == "empty":
        told.take(web(), service("api", "x"))
    else:
        told.view.remove(WEB)
    assert told.view.absence(WEB, "a") is absence
    assert told.view.absence(API, "x") is Absence.PRESENT
    told.view.put(web("a", "b"))
    assert told.view.absence(WEB, "a") is Absence.PRESENT
    told.take(service("web", "b"), service("api", "x"))
    assert told.view.absence(WEB, "a") is Absence.INFERRED, "what came back and is absent now was not stated"


def test_before_a_complete_view_nothing_is_known_of_what_is_absent() -> None:
    told = Told()
    told.view.put(web("a"))
    assert told.view.absence(WEB, "b") is Absence.UNKNOWN
    assert told.view.absence(WEB, "a") is Absence.PRESENT
    told.view.current()
    told.view.resume()
    assert told.view.reads == 0
    assert told.view.absence(WEB, "b") is Absence.UNKNOWN
    told.take(web("a"))
    assert told.view.absence(WEB, "b") is Absence.INFERRED


# --- views


@pytest.mark.parametrize(
    ("minimum", "percent", "lost", "doubted"),
    [
        (0, 30, 3, False),
        (0, 30, 4, True),
        (4, 30, 4, False),
        (4, 30, 5, True),
        (0, 0, 1, True),
        (0, 100, 9, False),
    ],
)
def test_how_much_a_view_may_lack(minimum: int, percent: int, lost: int, doubted: bool) -> None:
    told = Told(minimum=minimum, max_percent=percent)
    told.take(web(*TEN))
    told.take(web(*TEN[lost:]))
    assert len(told.known()) == (10 if doubted else 10 - lost)
    assert told.view.absence(WEB, "i0") is (Absence.PRESENT if doubted else Absence.INFERRED)


def test_a_whole_service_is_doubted_however_small_and_its_neighbour_is_judged_alone() -> None:
    told = Told()
    told.take(web("a"), service("api", "x", "y"))
    told.take(service("api", "x"))
    assert told.known(WEB) == ["a"]
    assert told.known(API) == ["x"]


def test_doubt_ends_after_time_and_three_reads() -> None:
    told = Told(empty_seconds=300)
    told.take(web("a"), service("api", "x"))
    told.take(service("api", "x"))  # the first read that lacks it
    for _ in range(5):
        told.take(service("api", "x"))
    told.now = 299.9
    told.view.current()
    assert told.known() == ["a"], "six reads, but not enough time"
    assert told.view.next_due() == 300
    told.now = 300
    told.marked()
    told.view.believe()
    assert told.known() == []
    assert told.marked() == [("web", None), ("web", ["a"])]
    assert told.view.absence(WEB, "a") is Absence.INFERRED


@given(st.floats(0, 1e9), st.floats(1, 1e6))
def test_what_is_due_is_believed_when_it_is_due_whatever_floats_round_to(began: float, seconds: float) -> None:
    told = Told(empty_seconds=seconds)
    told.take(web("a"), service("api", "x"))
    told.now = began
    for _ in range(3):
        told.take(service("api", "x"))
    due = told.view.next_due()
    if due is not None:
        told.now = due
        told.view.believe()
    assert told.view.next_due() is None


@pytest.mark.parametrize("how", ["take", "current", "resume"])
def test_the_third_read_counts_whichever_way_it_comes(how: str) -> None:
    told = Told(empty_seconds=300)
    told.take(web("a"), service("api", "x"))
    told.take(service("api", "x"))
    told.now = 1000
    told.take(service("api", "x"))
    assert told.known() == ["a"]
    assert told.view.next_due() is None, "no time is enough for two reads"
    if how == "take":
        told.take(service("api", "x"))
    elif how == "current":
        told.view.current()
    else:
        told.view.resume()
    assert told.known() == []


def test_what_comes_back_is_doubted_no_more() -> None:
    told = Told(empty_seconds=300)
    told.take(web("a"), service("api", "x"))
    told.take(service("api", "x"))
    told.now = 299
    told.take(web("a"), service("api", "x"))
    told.now = 1000
    told.take(service("api", "x"))
    told.take(service("api", "x"))
    told.view.current()
    assert told.known() == ["a"], "the time of doubt begins anew"
    assert told.view.next_due() == 1300


def test_a_fact_beside_a_view_wins_and_settles_no_doubt() -> None:
    told = Told(empty_seconds=300)
    told.take(web(*TEN), service("api", "x"))
    told.take(service("api", "x"))
    told.view.put(web("i0"))  # from the same narrow view
    told.take(web("i0"), service("api", "x"), touched={WEB})
    assert told.known() == TEN, "all but i0 are doubted still"
    told.now = 300
    told.view.current()
    told.view.current()
    assert told.known() == ["i0"]


def test_a_fact_wins_over_the_view_that_was_under_way() -> None:
    told = Told()
    told.take(web("a", "b"), service("api", "x"))
    told.view.put(web("a"))
    told.view.remove(API)
    told.take(web("a", "b"), service("api", "x"), touched={WEB, API})
    assert told.known(WEB) == ["a"]
    assert told.known(API) == []


# --- what only records know


def test_a_source_that_was_down_at_start_and_comes_back_empty_is_doubted_from_then_on() -> None:
    told = Told(empty_seconds=300)
    told.view.recall([(WEB, "a"), (WEB, "b")])
    told.now = 3600
    for _ in range(3):
        told.take(service("api", "x"))
        told.now += 5
    assert told.view.absence(WEB, "a") is Absence.DOUBTED
    told.now = 3600 + 299
    told.view.current()
    assert told.view.absence(WEB, "a") is Absence.DOUBTED
    told.now = 3600 + 300
    told.view.current()
    assert told.view.absence(WEB, "a") is Absence.INFERRED


def test_records_recalled_after_the_view_are_judged_as_any_absence() -> None:
    told = Told(empty_seconds=300)
    told.take(web(*TEN))
    told.marked()
    told.view.recall([(WEB, "gone"), (WEB, "i1"), (API, "x")])
    assert told.view.absence(WEB, "gone") is Absence.INFERRED
    assert told.view.absence(API, "x") is Absence.DOUBTED
    assert told.marked() == [("web", ["gone"])]
    told.view.recall([(WEB, f"old{n}") for n in range(50)])
    assert told.view.absence(WEB, "old7") is Absence.DOUBTED
    told.now = 300
    told.view.current()
    told.view.current()
    assert told.view.absence(WEB, "old7") is Absence.INFERRED
    assert not told.view.doubt


def test_what_the_source_said_is_gone_is_not_doubted_when_recalled() -> None:
    told = Told()
    told.take(web("a", "b"))
    told.view.put(web("b"))
    told.view.recall([(WEB, "a")])
    assert told.view.absence(WEB, "a") is Absence.FACT


# --- parts


def test_a_part_marks_what_it_names_and_leaves_the_rest() -> None:
    told = Told()
    told.take(web("a", "b", "c"))
    a = told.view.services[WEB].instances["a"]
    told.marked()
    told.view.amend(service("web", "a", instance("b", port=1), "d"), ["c", "unheard-of"])
    assert told.marked() == [("web", ["b", "c", "d"])]
    assert told.known() == ["a", "b", "d"]
    assert told.view.services[WEB].instances["a"] is a
    assert (told.view.count, told.view.absence(WEB, "c")) == (3, Absence.FACT)
    told.view.amend(web("a"), ())
    assert told.marked() == []
    told.view.amend(service("web", labels={"x": "1"}), ())
    assert told.marked() == [("web", None)]
    told.view.amend(service("web", labels={"x": "1"}), ["a", "b", "d"])
    assert told.marked() == [("web", None)]
    told.view.amend(web("e"), ())
    assert (told.known(), told.view.count) == (["e"], 1)


async def test_a_part_is_not_amended_while_a_view_is_open() -> None:
    told = Told()
    changes = SourceChanges(told.view, lambda *_: None)
    async with changes.snapshot() as snapshot:
        snapshot.put(web("a"))
        with pytest.raises(RuntimeError, match="put it whole then"):
            changes.amend(web("b"))
    changes.amend(web("b"))
    assert told.known() == ["a", "b"]
    changes.closed = True
    changes.amend(web("c"), ["a"])
    assert told.known() == ["a", "b"]


# --- nodes


def test_instances_on_unknown_nodes_stay_through_views_and_facts() -> None:
    told = Told()
    far, near, bare = instance("far", node="n1"), instance("near", node="n2"), instance("bare")
    told.take(service("web", far, near, bare))
    told.take(service("web", near), unknown={"n1"})
    assert told.known() == ["far", "near"], "who is on no node is not on an unknown one"
    told.view.put(service("web", near, "new"))
    assert told.known() == ["far", "near", "new"]
    told.view.remove(WEB)
    assert told.known() == ["far"]
    told.take(service("web", near))
    assert told.known() == ["near"]


def test_an_unknown_node_named_by_nothing_keeps_nobody_without_a_node() -> None:
    told = Told()
    told.take(web("a", "b"))
    told.take(web("a", "b"), unknown={""})
    told.view.put(web("a"))
    assert told.known() == ["a"]


def test_a_node_that_turns_unknown_ends_the_doubt_of_who_lives_there() -> None:
    told = Told(empty_seconds=300)
    told.take(service("web", instance("a", node="n1")), service("api", "x"))
    told.take(service("api", "x"))
    told.take(service("api", "x"), unknown={"n1"})
    assert not told.view.doubt
    told.now = 5000
    for _ in range(5):
        told.take(service("api", "x"), unknown={"n1"})
    assert told.known() == ["a"]


# --- frozen


def test_a_frozen_view_believes_nothing_and_has_nothing_due() -> None:
    told = Told(empty_seconds=300)
    told.take(web("a"), service("api", "x"))
    for _ in range(4):
        told.take(service("api", "x"))
    told.view.frozen = True
    told.now = 5000
    assert told.view.next_due() is None
    told.view.believe()
    assert told.known() == ["a"]
    assert told.view.absence(WEB, "b") is Absence.UNKNOWN


@virtual_test
async def test_what_a_frozen_or_replaced_watch_says_is_not_heard() -> None:
    told = Told()
    suspects: list[str] = []
    out = SourceChanges(told.view, lambda _key, name, _reason: suspects.append(name))
    async with out.snapshot() as snapshot:
        snapshot.put(web("a"))
    out.suspect(WEB, "a", "x")
    for close in (False, True):
        told.view.frozen = not close
        out.closed = close
        out.put(web("b"))
        out.remove(WEB)
        out.current()
        out.resumed()
        out.suspect(WEB, "a", "x")
        async with out.snapshot() as snapshot:
            snapshot.put(web("c"))
        assert told.known() == ["a"]
        assert (told.view.reads, suspects) == (1, ["a"])


@virtual_test
async def test_a_view_that_breaks_off_has_no_effect() -> None:
    told = Told()
    told.take(web("a", "b"))
    out = SourceChanges(told.view, lambda _k, _i, _r: None)
    with pytest.raises(AdapterError):  # noqa: PT012 - the block is the view
        async with out.snapshot() as snapshot:
            snapshot.put(web("a"))
            raise AdapterError("cut")
    assert told.known() == ["a", "b"]
    assert told.view.reads == 1


# --- in the engine


@virtual_test
async def test_three_quick_reads_are_believed_when_their_time_has_come_without_a_fourth(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"), service("api", "x"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].delete_quietly(WEB)
        for _ in range(3):
            rig.memory["mem"].snapshot_now()
            await rig.settle(1)
        await rig.settle(290)
        assert rig.found() == ["web/a"]
        await rig.settle(10)
        assert rig.found() == []


@virtual_test
async def test_a_source_down_at_start_that_comes_back_empty_deletes_nothing_at_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"), service("api", "x"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
    rig.memory["mem"].fail(AdapterError("down"))
    async with rig.running():
        await rig.settle(3600)
        rig.memory["mem"].delete_quietly(WEB)
        rig.memory["mem"].recover()
        await rig.settle(60)
        for _ in range(5):
            rig.memory["mem"].snapshot_now()
            await rig.settle(10)
        assert rig.found() == ["web/a"]


@virtual_test
async def test_what_waited_when_its_source_was_frozen_goes_on_when_it_thaws(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    names = [f"i{n:02}" for n in range(20)]
    rig.memory["mem"].set(service("web", *names))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].set(service("web", *names[12:]))
        rig.memory["mem"].delete(WEB)
        await rig.settle(20)
        assert len(rig.found()) == 14
        rig.declare(source(mode="Frozen"))
        await rig.settle(20)
        assert not engine.holds.waiting("out")
        rig.declare(source())
        await rig.settle(700)
        assert len(rig.found()) < 14


@virtual_test
async def test_what_a_source_said_at_the_moment_it_was_frozen_is_done_when_it_thaws(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", "a"))
        rig.declare(source(mode="Frozen"))
        await rig.settle(60)
        assert rig.found() == ["web/a", "web/b"]
        rig.declare(source())
        await rig.settle(60)
        assert rig.found() == ["web/a"]


# --- laws


READS = st.lists(
    st.tuples(st.sampled_from(["put", "take", "remove"]), st.sets(st.sampled_from("abcdefgh")), st.floats(0, 400)),
    max_size=30,
)


@given(READS)
def test_the_count_is_always_right_and_no_empty_doubt_is_left(reads: list[tuple[str, set[str], float]]) -> None:
    told = Told(minimum=1)
    for how, names, seconds in reads:
        told.now += seconds
        made = web(*sorted(names))
        if how == "put":
            told.view.put(made)
        elif how == "remove":
            told.view.remove(WEB)
        else:
            told.take(*([made] if names else []))
        view = told.view
        assert view.count == sum(len(known.instances) for known in view.services.values())
        assert all(view.doubt.of(key) for key in view.doubt)
        if how == "put":
            assert names <= set(told.known())


POOL = {(name, how): instance(name, readiness=how) for name in "abcdefgh" for how in ("ready", "draining")}
LISTS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "take", "remove"]),
        st.lists(st.sampled_from(sorted(POOL)), unique_by=lambda each: each[0]),
        st.floats(0, 400),
        st.sampled_from([(), (), ("n1",)]),
    ),
    max_size=30,
)


@given(LISTS)
def test_a_large_service_is_compared_by_places_to_the_same_effect(
    lists: list[tuple[str, list[tuple[str, str]], float, Collection[str]]],
) -> None:
    views = Told(minimum=1), Told(minimum=1)
    for how, names, seconds, unknown in lists:
        for large, told in zip((1, 10**9), views, strict=True):
            told.now += seconds
            made = service("web", *(POOL[each] for each in names))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(catalog, "LARGE", large)
                if how == "put":
                    told.view.put(made)
                elif how == "remove":
                    told.view.remove(WEB)
                else:
                    told.take(*([made] if names else []), unknown=unknown)
        quick, plain = views
        assert quick.marked() == plain.marked()
        assert quick.view.count == plain.view.count
        assert quick.view.draining == plain.view.draining
        assert [(key, quick.view.doubt.of(key)) for key in quick.view.doubt] == [
            (key, plain.view.doubt.of(key)) for key in plain.view.doubt
        ]
        assert quick.known() == plain.known()
        for name in "abcdefgh":
            assert quick.view.absence(WEB, name) == plain.view.absence(WEB, name)
            if name in quick.known():
                assert quick.view.services[WEB].instances[name] == plain.view.services[WEB].instances[name]


@given(LISTS)
def test_to_amend_what_differs_has_the_effect_of_a_put(
    lists: list[tuple[str, list[tuple[str, str]], float, Collection[str]]],
) -> None:
    parts, whole = Told(minimum=1), Told(minimum=1)
    said: dict[str, Instance] | None = None
    for how, names, seconds, unknown in lists:
        made = service("web", *(POOL[each] for each in names))
        now = {each.id: each for each in made.instances}
        for told in (parts, whole):
            told.now += seconds
            if how == "remove":
                told.view.remove(WEB)
            elif how == "take":
                told.take(*([made] if names else []), unknown=unknown)
            elif told is whole or said is None:
                told.view.put(made)
            else:
                differing = tuple(each for each in made.instances if said.get(each.id) != each)
                told.view.amend(service("web", *differing), said.keys() - now.keys())
        said = None if how == "remove" or not names else now
        assert parts.marked() == whole.marked()
        assert parts.view.count == whole.view.count
        assert parts.view.draining == whole.view.draining
        assert parts.known() == whole.known()
        for name in "abcdefgh":
            assert parts.view.absence(WEB, name) == whole.view.absence(WEB, name)


@given(READS)
def test_whatever_happened_three_agreeing_reads_and_their_time_end_it(
    reads: list[tuple[str, set[str], float]],
) -> None:
    told = Told(minimum=1)
    for how, names, seconds in reads:
        told.now += seconds
        if how == "put":
            told.view.put(web(*sorted(names)))
        else:
            told.take(*([web(*sorted(names))] if names else []))
    last = web("a", "z")
    for _ in range(3):
        told.take(last)
    told.now += 301
    told.view.believe()
    assert told.known() == ["a", "z"]
    assert not told.view.doubt
