"""Desired against ledger: tables of current, desired and what follows; and the ledger that is compared with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.adapter import Observed, Record, fingerprint
from waypost.engine.ledger import Kept, Ledger
from waypost.engine.plan import diff
from waypost.model import PublicationKey, ServiceKey

SERVICE = ServiceKey("mem", "", "web")
KEY = PublicationKey("default/web", "out", SERVICE)
OTHER = PublicationKey("default/other", "out", SERVICE)


def kept(text: str) -> Kept:
    """`k1` is ready with content 1, `k1-` is not."""
    return Kept(text[0], fingerprint(text.encode()), not text.endswith("-"))


def record(text: str) -> Record:
    return Record(text[0], "i", text.encode(), ready=not text.endswith("-"))


@pytest.mark.parametrize(
    ("current", "desired", "may_remove", "puts", "removals", "withdraws", "changes"),
    [
        ("", "k1", True, "k+", "", False, False),
        ("k1", "k1", True, None, "", False, False),
        ("k1", "k2", True, "k", "", False, True),
        ("k1-", "k2-", True, "k", "", False, False),
        ("k1-", "k2", True, "k", "", False, False),
        ("k1", "k2-", True, "k", "", True, False),
        ("k1", "", True, "", "k", True, False),
        ("k1-", "", True, "", "k", False, False),
        ("k1", "l1", True, "l+", "k", False, False),
        ("k1", "l1-", True, "l+", "k", True, False),
        ("k1 l1", "k1", True, "", "l", False, False),
        ("k1 l1-", "l1-", True, "", "k", True, False),
        ("k1 l1", "k2 l2", True, "k l", "", False, True),
        ("k1", "", False, None, "", False, False),
        ("k1", "l1-", False, "l+", "", False, False),
        ("k1", "k2-", False, "k", "", True, False),
        ("k1 l1", "k2-", False, "k", "", False, False),
        ("k1", "k2", False, "k", "", False, True),
        ("", "", True, None, "", False, False),
    ],
)
def test_diff(
    current: str, desired: str, may_remove: bool, puts: str | None, removals: str, withdraws: bool, changes: bool
) -> None:
    step = diff(
        KEY, "i", [kept(t) for t in current.split()], [record(t) for t in desired.split()], may_remove=may_remove
    )
    if puts is None:
        assert step is None
        return
    assert step is not None
    assert [change.key + ("+" if change.create else "") for change in step.puts] == puts.split()
    assert list(step.removals) == removals.split()
    assert (step.withdraws, step.changes) == (withdraws, changes)


TEXTS = st.lists(st.sampled_from(["a1", "a2", "a1-", "b1", "b2-", "c1"]), unique_by=lambda text: text[0])


@given(TEXTS, TEXTS)
def test_after_its_steps_the_sink_is_as_desired_and_nothing_more_is_to_do(
    current: list[str], desired: list[str]
) -> None:
    have = {text[0]: kept(text) for text in current}
    step = diff(KEY, "i", list(have.values()), [record(t) for t in desired])
    was_ready = any(k.ready for k in have.values())
    if step is not None:
        for change in step.puts:
            assert change.record is not None
            assert change.create == (change.key not in have)
            have[change.key] = Kept(change.key, fingerprint(change.record.content), change.record.ready)
        for key in step.removals:
            del have[key]
        assert step.withdraws == (was_ready and not any(k.ready for k in have.values()))
    assert diff(KEY, "i", list(have.values()), [record(t) for t in desired]) is None


# --- the ledger


def seen(key: str, instance: str = "i", content: bytes = b"1", ready: bool = True) -> Observed:
    return Observed(key, fingerprint(content), KEY.registration, KEY.entry, SERVICE, instance, ready=ready)


def filled(*keys: str) -> Ledger:
    ledger = Ledger()
    for key in keys:
        ledger.put(KEY, key, Kept(key, fingerprint(b"1"), True))
    return ledger


def test_an_instance_is_ready_by_any_of_its_records() -> None:
    ledger = Ledger()
    assert ledger.put(KEY, "i", Kept("a", 1, False)) == 0
    assert ledger.put(KEY, "i", Kept("b", 1, True)) == 1
    assert ledger.put(KEY, "i", Kept("c", 1, True)) == 0
    assert (ledger.records, ledger.ready, ledger.count_ready(KEY), ledger.is_ready(KEY, "i")) == (3, 1, 1, True)
    assert ledger.drop(KEY, "i", "b") == 0
    assert ledger.put(KEY, "i", Kept("c", 2, False)) == -1
    assert ledger.drop(KEY, "i", "x") == 0
    assert ledger.drop(OTHER, "i", "a") == 0
    assert ledger.drop(KEY, "i", "a") == ledger.drop(KEY, "i", "c") == 0
    assert (ledger.shelves, ledger.by_service, ledger.by_registration, ledger.records) == ({}, {}, {}, 0)


def test_a_look_tells_what_differs_and_what_is_missing() -> None:
    ledger = filled("a", "b", "c")
    with ledger.look() as look:
        assert look.see(seen("a", "a"), KEY) is None
        assert look.see(seen("b", "b", b"2"), KEY) == 0
        assert look.see(seen("b", "b", b"2"), KEY) is None
        assert look.see(seen("new", "new"), KEY) == 1
        assert list(look.missing()) == [(KEY, "c", "c")]


def test_what_is_written_during_a_look_wins() -> None:
    ledger = filled("a", "b")
    with ledger.look() as look:
        ledger.put(KEY, "a", Kept("a", 7, True))
        ledger.put(KEY, "new", Kept("new", 7, True))
        ledger.drop(KEY, "b", "b")
        assert look.see(seen("a", "a"), KEY) is None
        assert look.see(seen("b", "b"), KEY) is None
        assert list(look.missing()) == []
    assert ledger.kept(KEY, "a") == (Kept("a", 7, True),)
    assert ledger.kept(KEY, "b") == ()
    with ledger.look() as look:
        assert sorted(key for _, _, key in look.missing()) == ["a", "new"], "the next look begins anew"


@given(st.lists(st.tuples(st.sampled_from("ij"), st.sampled_from("abc"), st.sampled_from([True, False, None]))))
def test_the_counts_of_a_ledger_are_those_of_its_records(steps: list[tuple[str, str, bool | None]]) -> None:
    ledger = Ledger()
    model: dict[tuple[str, str], bool] = {}
    for instance, key, ready in steps:
        if ready is None:
            ledger.drop(KEY, instance, key)
            model.pop((instance, key), None)
        else:
            ledger.put(KEY, instance, Kept(key, 1, ready))
            model[instance, key] = ready
        count = len({i for (i, _), r in model.items() if r})
        assert (ledger.records, ledger.ready, ledger.count_ready(KEY)) == (len(model), count, count)
        assert set(ledger.instances(KEY)) == {i for i, _ in model}
