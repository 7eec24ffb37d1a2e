"""What the strategies promise: cases in tables, laws by Hypothesis."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.choice import order, pick, spread
from waypost.model import Strategy

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


class One(msgspec.Struct, frozen=True):
    id: str
    weight: int = 1
    zone: str = ""


candidates = st.lists(
    st.builds(One, st.text("abcdef", min_size=1, max_size=4), st.integers(0, 5), st.sampled_from(["", "z1", "z2"])),
    max_size=12,
    unique_by=lambda one: one.id,
)


def ids(ones: list[One]) -> str:
    return "".join(one.id for one in ones)


@pytest.mark.parametrize(
    ("strategy", "how", "expected"),
    [
        ("Ordered", {}, "bcda"),
        ("Ordered", {"turn": 3}, "bcda"),
        ("RoundRobin", {"turn": 0}, "bcda"),
        ("RoundRobin", {"turn": 1}, "cdba"),
        ("RoundRobin", {"turn": 5}, "dbca"),
        ("RoundRobin", {"turn": -1}, "dbca"),
    ],
)
def test_what_is_not_random_is_exact_and_weight_0_is_last(
    strategy: Strategy, how: dict[str, int], expected: str
) -> None:
    given = [One("a", 0), One("b", 5), One("c"), One("d")]
    assert ids(order(strategy, given, Random(1), **how)) == expected  # type: ignore[arg-type]  # only `turn`


def test_zone_prefers_the_consumers_and_least_failures_those_without() -> None:
    given = [One("a", 9, "z1"), One("b", 1, "z2"), One("c", 9), One("d", 1, "z2"), One("e", 0, "z2")]
    for seed in range(20):
        near = order("Zone", given, Random(seed), zone="z2")
        assert {one.id for one in near[:2]} == {"b", "d"}
        assert near[-1].id == "e", "weight 0 is the last resort in its zone, too"
        failing = order("LeastFailures", given, Random(seed), failures={"a": 2, "b": 1})
        assert ids(failing[2:4]) == "ba"
    assert len({ids(order("Zone", given, Random(seed))) for seed in range(20)}) > 5, "without a zone it is Weighted"


@given(st.sampled_from(STRATEGIES), candidates, st.integers(), st.integers(-9, 9))
def test_every_order_has_every_candidate_once(strategy: Strategy, given: list[One], seed: int, turn: int) -> None:
    result = order(strategy, given, Random(seed), turn=turn, zone="z1", failures={"a": 1})
    assert sorted(one.id for one in result) == sorted(one.id for one in given)
    weights = [one.weight > 0 for one in result]
    assert weights == sorted(weights, reverse=True), "weight 0 stands before another"


@given(st.sampled_from(STRATEGIES), candidates, st.integers())
def test_the_same_randomness_gives_the_same_order(strategy: Strategy, given: list[One], seed: int) -> None:
    first = order(strategy, given, Random(seed), zone="z1")
    assert first == order(strategy, given, Random(seed), zone="z1")
    assert (pick(strategy, given, Random(seed), zone="z1") is None) == (not given)


@given(st.sampled_from(STRATEGIES), candidates, st.integers(), st.integers(0, 9))
def test_who_is_picked_could_have_been_first(strategy: Strategy, given: list[One], seed: int, turn: int) -> None:
    failures = {"a": 2, "b": 1}
    picked = pick(strategy, given, Random(seed), turn=turn, zone="z1", failures=failures)
    if picked is None:
        return
    pool = [one for one in given if one.weight > 0] or given
    if strategy in {"Ordered", "RoundRobin"}:
        assert picked == order(strategy, given, Random(seed), turn=turn)[0]
    elif strategy == "LeastFailures":
        assert failures.get(picked.id, 0) == min(failures.get(one.id, 0) for one in pool)
    elif strategy == "Zone":
        assert picked.zone == "z1" or not any(one.zone == "z1" for one in pool)
    assert picked in pool


@pytest.mark.parametrize("first", [order, pick], ids=["order", "pick"])
def test_weighted_firsts_are_in_proportion(first: object) -> None:
    given, random, rounds = [One("a", 6), One("b", 3), One("c", 1)], Random(7), 20_000
    if first is pick:
        counts = Counter(chosen.id for _ in range(rounds) if (chosen := pick("Weighted", given, random)) is not None)
    else:
        counts = Counter(order("Weighted", given, random)[0].id for _ in range(rounds))
    for one in given:
        assert abs(counts[one.id] / rounds - one.weight / 10) < 0.015


@given(st.sampled_from(STRATEGIES), candidates, st.integers(), st.integers(1, 40))
def test_spread_orders_are_whole_and_their_firsts_in_proportion_to_within_one(
    strategy: Strategy, given: list[One], seed: int, count: int
) -> None:
    orders = list(spread(strategy, given, Random(seed), count))
    assert orders, "nothing to give out"
    for each in orders:
        assert sorted(one.id for one in each) == sorted(one.id for one in given)
    pool = [one for one in given if one.weight > 0]
    if strategy in {"Ordered", "RoundRobin"} or len(pool) < 2:
        return
    assert len(orders) == count
    firsts = Counter(each[0].id for each in orders)
    total = sum(one.weight for one in pool)
    for one in pool:
        share = count / len(pool) if strategy == "Random" else count * one.weight / total
        assert share - 1 <= firsts[one.id] <= share + 1
