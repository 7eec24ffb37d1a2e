"""How much may go before a person is asked: windows, peaks, net loss, scopes, and what is kept across restarts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.engine.budgets import SpentFile
from waypost.engine.policy import Budget, Cause, Policy, SinkSafety, SourceSafety
from waypost.model import PublicationKey, ServiceKey


def key(name: str = "web", source: str = "mem", entry: str = "out") -> PublicationKey:
    return PublicationKey(f"default/{name}", entry, ServiceKey(source, "", name))


def policy(owned: int = 100, *, source: SourceSafety | None = None, **safety: float) -> Policy:
    made = Policy(SinkSafety(**safety), lambda _name: source or SourceSafety())  # type: ignore[arg-type]
    made.observed(0, {key(): owned})
    return made


def withdraw(made: Policy, now: float, count: int, cause: Cause = "source", ready: int = 100) -> int:
    """Withdraw as many as may go; return how many went."""
    for n in range(count):
        if made.may_withdraw(now, key(), cause, ready - n, 0) is not None:
            return n
        made.charge(now, key(), cause, ready - n)
        made.own(now, key(), -1)
    return count


# --- one budget


@pytest.mark.parametrize(
    ("percent", "minimum", "owned", "limit"),
    [(30, 5, 100, 30), (30, 5, 10, 5), (0, 0, 100, 0), (100, 0, 7, 7), (30, 5, 19, 5), (30, 5, 20, 6), (33, 0, 10, 3)],
)
def test_a_limit_is_a_share_of_the_most_but_never_less_than_the_minimum(
    percent: int, minimum: int, owned: int, limit: int
) -> None:
    budget = Budget(percent, minimum, 600)
    budget.own(0, owned)
    assert budget.limit(0) == limit


def test_the_most_is_that_of_the_window() -> None:
    budget = Budget(30, 5, 600)
    budget.own(0, 100)
    budget.own(10, -50)
    budget.own(20, -30)
    assert budget.most(610) == 100
    assert budget.most(610.1) == 50
    assert budget.most(621) == 20
    budget.own(622, 5)
    assert budget.most(622) == 25
    budget.own(623, -1)
    budget.own(624, 30)
    assert budget.most(1224) == 54


# --- withdrawals


def test_what_fits_passes_and_the_next_does_not() -> None:
    made = policy()
    assert withdraw(made, 1, 50) == 30
    assert made.may_withdraw(1, key(), "source", 70, 0) == "BudgetExceeded"


@pytest.mark.parametrize(("now", "more"), [(600.9, 0), (601.1, 30)])
def test_the_window_slides(now: float, more: int) -> None:
    made = policy()
    assert withdraw(made, 1, 50) == 30
    made.own(2, key("other"), 30)  # so that the most stays
    assert withdraw(made, now, 50, ready=70) == more


def test_a_window_that_slid_lets_others_go() -> None:
    made = policy()
    assert withdraw(made, 1, 30) == 30
    assert made.may_withdraw(601, key(), "source", 70, 0) == "BudgetExceeded"
    assert made.may_withdraw(601.1, key(), "source", 70, 0) is None


@pytest.mark.parametrize(
    ("cause", "charged"),
    [
        ("inferred", {(), ("source", "mem"), ("entry", "default/web", "out")}),
        ("health", {(), ("entry", "default/web", "out")}),
        ("source", {()}),
        ("edit", {()}),
        ("target", {()}),
    ],
)
def test_each_cause_is_charged_to_its_scopes(cause: Cause, charged: set[tuple[str, ...]]) -> None:
    made = policy()
    made.charge(0, key(), cause, 100)
    assert {scope for scope, budget in made.budgets.items() if budget.used} == charged


def test_an_inferred_loss_is_bound_by_its_source_and_a_fact_is_not() -> None:
    made = policy(source=SourceSafety(10, 0))
    assert withdraw(made, 0, 50, "inferred") == 10
    assert withdraw(made, 0, 50, "source", ready=90) == 20


def test_an_entry_is_bound_by_what_it_has_itself() -> None:
    made = policy(0, min_removals=2)
    made.own(0, key("small"), 4)
    made.own(0, key("big"), 1000)
    for n in range(2):
        assert made.may_withdraw(0, key("small"), "health", 4 - n, 0) is None
        made.charge(0, key("small"), "health", 4 - n)
    assert made.may_withdraw(0, key("small"), "health", 2, 0) == "BudgetExceeded"
    assert made.may_withdraw(0, key("small"), "source", 2, 0) is None


@pytest.mark.parametrize(
    ("cause", "ready", "held"),
    [
        ("inferred", 3, None),
        ("inferred", 2, "MinReady"),
        ("health", 2, "MinReady"),
        ("source", 1, None),
        ("edit", 1, None),
    ],
)
def test_a_minimum_guards_what_is_inferred_or_checked(cause: Cause, ready: int, held: str | None) -> None:
    assert policy().may_withdraw(0, key(), cause, ready, 2) == held


# --- net loss


def test_a_loss_that_leaves_as_many_as_there_were_is_free() -> None:
    made = policy(10)
    made.own(5, key(), 3)  # 13 now
    for ready in (13, 12, 11):
        assert made.charge(6, key(), "source", ready) is None
        made.own(6, key(), -1)
    assert made.charge(6, key(), "source", 10) is not None


def test_what_was_there_before_the_window_is_the_measure() -> None:
    made = policy(10)
    made.own(5, key(), 3)
    assert made.charge(605, key(), "source", 13) is None
    assert made.charge(605.1, key(), "source", 13) is not None, "13 have been there for longer than the window"


def test_a_first_sync_earns_nothing() -> None:
    made = policy(0)
    made.own(0, key(), 100)
    assert made.charge(1, key(), "source", 100) is not None


def test_a_publication_that_is_new_has_its_measure_when_it_is_complete() -> None:
    made = policy(0)
    made.own(0, key(), 20)
    made.complete(key())
    made.own(1, key(), 20)
    assert withdraw(made, 2, 20, ready=40) == 20
    assert not made.budgets[()].used, "a switch right after a first sync"
    assert withdraw(made, 3, 20, ready=20) == 12, "and no more: of the most there was"


def test_what_went_before_it_was_complete_is_counted() -> None:
    made = policy(0)
    made.own(0, key(), 50)
    made.own(1, key(), -1)
    made.own(2, key(), 50)
    made.complete(key())
    assert withdraw(made, 3, 99, ready=99) == 29


def test_the_measure_outlives_a_session() -> None:
    made = policy(30)
    made.own(5, key(), 20)
    made.left(6)
    made.observed(9, {key(): 45})
    assert withdraw(made, 10, 15, ready=45) == 15
    assert not made.budgets[()].used
    assert withdraw(made, 10, 30, ready=30) == 15


def test_what_came_while_nobody_looked_came_when_the_session_ended() -> None:
    made = policy(30)
    made.left(6)
    made.observed(9, {key(): 50})
    assert made.charge(606, key(), "source", 50) is None, "a write whose answer was lost"
    made = policy(30)
    made.left(6)
    made.observed(700, {key(): 50})
    assert made.charge(701, key(), "source", 50) is not None, "nobody knows how many there were since"


def test_what_passed_to_another_publication_meanwhile_is_not_counted_twice() -> None:
    made = policy(100)
    made.left(1)
    made.observed(2, {key("other"): 100})
    assert made.budgets[()].most(3) == 100


def test_what_was_counted_outlives_a_session_and_other_limits() -> None:
    made = policy(100)
    assert withdraw(made, 1, 20) == 20
    made.left(2)
    made.follow(SinkSafety(max_removal_percent=25))
    made.observed(3, {key(): 80})
    assert withdraw(made, 4, 20, ready=80) == 5


def test_a_replacement_gives_back_once() -> None:
    made = policy()
    assert withdraw(made, 0, 30) == 30
    made.own(1, key(), 2)
    assert made.budgets[()].used == 28
    made.own(1, key("other"), 10)
    assert made.budgets[()].used == 28, "what another publication adds replaces nothing here"
    made.own(1, key(), 100)
    assert made.budgets[()].used == 0


def test_a_refund_takes_back_that_charge_and_only_once() -> None:
    made = policy()
    first, second = made.charge(0, key(), "inferred", 100), made.charge(0, key(), "inferred", 99)
    assert first is not None
    assert second is not None
    made.refund(first)
    made.refund(first)
    assert {budget.used for budget in made.budgets.values()} == {1}
    made.own(1, key(), 1)
    made.refund(second)
    assert {budget.used for budget in made.budgets.values()} == {0}


# --- changes


def test_rewritings_are_counted_once_each_and_slide() -> None:
    made = policy(10, max_change_percent=50, min_removals=0)
    for n in range(5):
        assert made.may_change(0, key(), f"i{n}", "source") is None
        assert made.note_change(0, key(), f"i{n}", "source")
    assert made.may_change(1, key(), "i5", "source") == "MassChange"
    assert made.may_change(1, key(), "i0", "source") is None, "it was counted already"
    assert made.may_change(1, key(), "i5", "edit") is None
    assert made.may_change(1, key(), "i5", "target") is None
    assert not made.note_change(1, key(), "i5", "edit")
    assert made.may_change(599, key(), "i5", "source") == "MassChange"
    assert made.may_change(661, key(), "i5", "source") is None


def test_of_rewritings_the_oldest_slide_out_first() -> None:
    made = policy(10, max_change_percent=50, min_removals=0)
    for now, name in ((0, "old"), (400, "new")):
        made.note_change(now, key(), name, "source")
    made.may_change(700, key(), "other", "source")
    assert list(made._changed) == [(key(), "new")]


def test_as_many_changes_as_removals_always_pass() -> None:
    made = policy(2, max_change_percent=0, min_removals=3)
    for n in range(3):
        assert made.may_change(0, key(), f"i{n}", "source") is None
        made.note_change(0, key(), f"i{n}", "source")
    assert made.may_change(0, key(), "i3", "source") == "MassChange"


# --- across restarts


def saved(made: Policy, now: float, later: float, folder: Path) -> Policy:
    times = [now, 1000 + now]
    file = SpentFile(folder / "budgets" / "out.json", lambda: times[0], lambda: times[1])
    file.save(made)
    fresh = policy()
    times[:] = [0, 1000 + later]
    assert file.load(fresh)
    return fresh


def test_what_was_spent_is_spent_after_a_restart_until_its_window_is_over(tmp_path: Path) -> None:
    made = policy()
    withdraw(made, 100, 20)
    withdraw(made, 300, 5, ready=80)
    made.note_change(300, key(), "x", "source")
    fresh = saved(made, 310, 320, tmp_path)
    assert fresh.budgets[()].used == 25
    assert withdraw(fresh, 0, 50) == 5
    assert fresh.may_withdraw(300, key(), "source", 95, 0) == "BudgetExceeded"
    assert withdraw(fresh, 445, 10, ready=95) == 10, "the older ones have slid out"


def test_what_is_saved_is_never_less_than_what_counts(tmp_path: Path) -> None:
    made = policy()
    withdraw(made, 1, 30)
    assert saved(made, 600.5, 600.6, tmp_path).budgets[()].used == 30
    assert () not in saved(made, 602, 602, tmp_path).budgets or saved(made, 602, 602, tmp_path).budgets[()].used == 0


def test_a_large_budget_is_saved_in_hundredths_rounded_up_and_no_more_often_than_that(tmp_path: Path) -> None:
    made = policy(owned=100_000)
    file = SpentFile(tmp_path / "out.json", lambda: 100.0, lambda: 1100.0)
    versions = set()
    for count in range(1, 1000):
        withdraw(made, 100, 1, ready=100_000 - count)
        file.save(made)
        versions.add((tmp_path / "out.json").read_bytes())
        fresh = policy(owned=100_000)
        if not count % 99:
            assert file.load(fresh)
            assert count <= fresh.budgets[()].used <= count + 300
    assert len(versions) == 4


def test_a_wall_clock_that_was_set_back_makes_nothing_older(tmp_path: Path) -> None:
    made = policy()
    withdraw(made, 100, 30)
    fresh = saved(made, 100, -5000, tmp_path)
    assert fresh.may_withdraw(599, key(), "source", 100, 0) == "BudgetExceeded"


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"[[1, 2, 3]]", b'[["x", [], 1]]', b"\xff"])
def test_a_file_that_cannot_be_read_is_no_history(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(content)
    assert not SpentFile(path, lambda: 0, lambda: 0).load(policy())


def test_no_file_is_no_history_and_an_empty_one_is(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert not SpentFile(path, lambda: 0, lambda: 0).load(policy())
    SpentFile(path, lambda: 0, lambda: 0).save(policy())
    assert SpentFile(path, lambda: 0, lambda: 0).load(policy())


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "budgets").write_text("a file where the folder should be")
    made = policy()
    withdraw(made, 0, 30)
    SpentFile(tmp_path / "budgets" / "out.json", lambda: 0, lambda: 0).save(made)
    assert made.may_withdraw(0, key(), "source", 70, 0) == "BudgetExceeded"


def test_a_window_without_history_is_spent_but_for_what_always_passes() -> None:
    made = policy()
    made.spend_all(0)
    assert withdraw(made, 0, 50) == 5
    for n in range(5):
        assert made.may_change(0, key(), f"i{n}", "source") is None
        made.note_change(0, key(), f"i{n}", "source")
    assert made.may_change(0, key(), "i5", "source") == "MassChange"
    assert withdraw(made, 601, 50, ready=95) > 5


# --- laws


EVENTS = st.lists(st.tuples(st.integers(-4, 4), st.floats(0, 300), st.sampled_from(["source", "inferred", "health"])))


@given(EVENTS)
def test_what_goes_within_a_window_never_exceeds_the_limit(events: list[tuple[int, float, Cause]]) -> None:
    made = policy(20, min_removals=3)
    now, ready = 0.0, 20
    history = [(0.0, ready)]
    for delta, seconds, cause in events:
        now += seconds
        for _ in range(abs(delta)):
            step = 1 if delta > 0 else -1
            if step < 0 and (not ready or made.may_withdraw(now, key(), cause, ready, 0) is not None):
                break
            if step < 0:
                made.charge(now, key(), cause, ready)
            made.own(now, key(), step)
            ready += step
            history.append((now, ready))
        before = [(at, count) for at, count in history if at < now - 600]
        earlier = [count for at, count in before if at >= now - 1200] + [count for _, count in before[-1:]]
        entered = [count for at, count in before if at < now - 1200][-1:]
        base = min([*earlier, *entered, *([history[0][1]] if not before or not entered else [])])
        most = max(count for at, count in history)
        assert base - ready <= max(3, most * 30 // 100), "what grew within a window may fall back, and no more"
        assert all(budget.used >= 0 for budget in made.budgets.values())
