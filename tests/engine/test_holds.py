"""What waits for a person: sets that never change, decisions that hold for exactly those and for a time."""

from pathlib import Path

import pytest

from waypost.engine.holds import Hold, Holds, pair_hash
from waypost.model import PublicationKey, ServiceKey

WEB = PublicationKey("default/web", "out", ServiceKey("mem", "", "web"))


class Kept:
    """Holds with a clock of their own, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.folder = folder
        self.holds = Holds(folder, lambda: self.now)

    def wait(self, *names: str, cause: str = "BudgetExceeded", removal: bool = True) -> list[Hold]:
        for name in names:
            self.holds.wait("out", cause, (WEB, name), removal=removal)  # type: ignore[arg-type]
        return self.show()

    def show(self) -> list[Hold]:
        return self.holds.show(lambda _sink: 100)

    def decided(self, name: str, removal: bool = True) -> str:
        return self.holds.decision("out", (WEB, name), removal=removal)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "holds")


def test_a_hold_says_what_waits_and_why(kept: Kept) -> None:
    kept.holds.wait("out", "BudgetExceeded", (WEB, "z"), removal=False)
    (hold,) = kept.wait(*"cab")
    assert (hold.sink, hold.cause, hold.source, hold.of) == ("out", "BudgetExceeded", "mem", 100)
    assert (hold.removals, hold.changes, hold.created_time) == (3, 1, 1000)
    assert hold.sample == [f"{WEB} instance {name}" for name in "abcz"]
    assert hold.pairs == sorted(hold.pairs)
    assert len(hold.pairs) == 4
    assert kept.show() == [], "it is told once"


def test_a_sample_is_ten_at_most(kept: Kept) -> None:
    (hold,) = kept.wait(*(f"i{n:02}" for n in range(30)))
    assert len(hold.sample) == 10
    assert hold.removals == 30


def test_causes_and_sinks_have_holds_of_their_own_and_a_pair_waits_for_one(kept: Kept) -> None:
    kept.wait("a")
    kept.wait("a", "b", cause="MinReady")
    kept.holds.wait("other", "MinReady", (WEB, "a"), removal=True)
    kept.show()
    assert {(h.sink, h.cause, h.removals) for h in kept.holds.holds.values()} == {
        ("out", "MinReady", 2),
        ("other", "MinReady", 1),
    }
    assert kept.holds.waits("out", (WEB, "a")) == "MinReady"
    assert kept.holds.waits("out", (WEB, "x")) is None


@pytest.mark.parametrize(("after", "replaced"), [(0.0, False), (9.9, False), (10.0, True)])
def test_a_set_that_grew_takes_the_place_of_an_undecided_one_every_ten_seconds(
    kept: Kept, after: float, replaced: bool
) -> None:
    (first,) = kept.wait("a")
    kept.now += after
    new = kept.wait("b")
    assert bool(new) is replaced
    if replaced:
        assert set(kept.holds.holds) == {new[0].name}
        assert set(first.pairs) < set(new[0].pairs)
    else:
        assert set(kept.holds.holds) == {first.name}
        assert kept.holds.due() == 1010


def test_a_set_that_shrank_stays_as_it_was(kept: Kept) -> None:
    (hold,) = kept.wait("a", "b")
    kept.now += 60
    kept.holds.release("out", (WEB, "a"))
    assert kept.show() == []
    assert list(kept.holds.holds) == [hold.name]
    kept.holds.release("out", (WEB, "b"))
    kept.show()
    assert not kept.holds.holds
    assert not list(kept.folder.glob("*.json"))
    assert not kept.holds.anything_waits("out")


@pytest.mark.parametrize("decision", ["Approve", "Reject"])
def test_a_decision_covers_exactly_those_and_only_what_is_new_makes_another(kept: Kept, decision: str) -> None:
    (hold,) = kept.wait("a", "b")
    kept.holds.decide(hold.name, decision, "CHG-1")  # type: ignore[arg-type]
    assert [kept.decided(name) for name in "abc"] == [decision, decision, ""]
    assert kept.decided("a", removal=False) == "", "who lets it go has not let it be rewritten"
    assert kept.holds.decision("other", (WEB, "a"), removal=True) == ""
    assert kept.show() == []
    (second,) = kept.wait("c")
    assert second.removals == 1
    assert len(second.pairs) == 1
    assert set(kept.holds.holds) == {hold.name, second.name}


def test_the_latest_decision_of_two_is_in_force(kept: Kept) -> None:
    (hold,) = kept.wait("a")
    kept.holds.decide(hold.name, "Reject", "no", 5)
    kept.now += 10
    (again,) = kept.wait("a")
    assert kept.decided("a") == ""
    kept.holds.decide(again.name, "Approve", "yes")
    assert kept.decided("a") == "Approve"
    kept.holds.decide(again.name, "Reject", "no, after all")
    assert kept.decided("a") == "Reject"


@pytest.mark.parametrize(("after", "holds"), [(0, True), (899.9, True), (900, False), (-59, True), (-61, False)])
def test_a_decision_holds_for_its_time(kept: Kept, after: float, holds: bool) -> None:
    (hold,) = kept.wait("a")
    kept.holds.decide(hold.name, "Approve", "CHG-1")
    kept.now += after
    assert kept.decided("a") == ("Approve" if holds else "")
    new = kept.show()
    assert bool(new) is not holds, "what waits still is asked for anew"
    assert len(kept.holds.holds) == 1


def test_one_that_went_and_came_back_is_not_covered_any_more(kept: Kept) -> None:
    (hold,) = kept.wait("a", "b")
    kept.holds.decide(hold.name, "Approve", "CHG-1")
    kept.holds.withdrawn("out", (WEB, "a"))
    assert [kept.decided(name) for name in "ab"] == ["", "Approve"]
    (new,) = kept.wait("a")
    assert new.removals == 1


def test_what_is_withdrawn_elsewhere_or_undecided_changes_no_hold(kept: Kept) -> None:
    (hold,) = kept.wait("a")
    kept.holds.withdrawn("out", (WEB, "a"))
    kept.holds.decide(hold.name, "Approve", "CHG-1")
    kept.holds.withdrawn("other", (WEB, "a"))
    assert kept.decided("a") == "Approve"


def test_a_restart_keeps_holds_and_decisions(kept: Kept) -> None:
    (hold,) = kept.wait("a", "b")
    again = Kept(kept.folder)
    assert again.holds.holds[hold.name] == hold
    assert again.wait("a", "b") == [], "the same set is the same hold"
    again.holds.decide(hold.name, "Approve", "CHG-1")
    third = Kept(kept.folder)
    assert third.decided("a") == "Approve"
    assert third.show() == []
    third.now += 900
    assert third.decided("a") == ""


@pytest.mark.parametrize("planned", [True, False])
def test_after_a_restart_a_hold_goes_once_it_is_known_that_nothing_waits(kept: Kept, planned: bool) -> None:
    kept.wait("a")
    again = Kept(kept.folder)
    again.holds.show(lambda _: 1, lambda _sink, _source: planned)
    assert bool(again.holds.holds) is not planned


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "x"}', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_left_alone(kept: Kept, content: bytes) -> None:
    (hold,) = kept.wait("a")
    bad = kept.folder / "bad.json"
    bad.write_bytes(content)
    assert list(Kept(kept.folder).holds.holds) == [hold.name]
    assert bad.read_bytes() == content


def test_a_folder_that_cannot_be_written_stops_nothing(kept: Kept) -> None:
    kept.folder.rmdir()
    kept.folder.write_text("a file where the folder should be")
    (hold,) = kept.wait("a")
    kept.holds.decide(hold.name, "Approve", "CHG-1")
    assert kept.decided("a") == "Approve"


def test_a_decision_on_what_is_not_there_is_a_key_error(kept: Kept) -> None:
    with pytest.raises(KeyError):
        kept.holds.decide("out-12345678", "Approve", "")


def test_a_sink_that_is_no_longer_declared_waits_for_nobody(kept: Kept) -> None:
    (hold,) = kept.wait("a")
    kept.holds.decide(hold.name, "Reject", "no")
    kept.wait("b")
    kept.holds.forget_sink("out")
    assert list(kept.holds.holds) == [hold.name], "what was decided stays decided"
    assert not kept.holds.waiting("out")


def test_names_of_pairs_are_the_same_in_every_process_and_different_for_each() -> None:
    other = PublicationKey("default/web", "out", ServiceKey("mem", "we", "b"))
    names = {
        pair_hash(pair, removal=removal) for pair in ((WEB, "a"), (WEB, "b"), (other, "a")) for removal in (True, False)
    }
    assert len(names) == 6
    assert pair_hash((WEB, "a"), removal=True) == "c97646e79b56cd2d"
    assert pair_hash((WEB, "\ud83d"), removal=True), "half a surrogate pair is no reason to fail"


def test_a_hold_that_cannot_be_read_is_told_and_left_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (broken := tmp_path / "out-1.json").write_text('{"name": "out-1", ')
    assert Holds(tmp_path, lambda: 0.0).holds == {}
    assert "out-1.json" in caplog.text
    assert broken.exists()
