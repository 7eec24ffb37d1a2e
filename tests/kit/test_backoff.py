"""Backoff: full jitter under a ceiling that doubles, and forgotten after what lasted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.kit.backoff import Backoff

SECONDS = st.floats(0.01, 1000)


@given(st.integers(), SECONDS, SECONDS, st.floats(1, 10), st.integers(1, 2000))
def test_every_delay_is_under_a_ceiling_that_grows_to_the_limit(
    seed: int, first: float, more: float, factor: float, failures: int
) -> None:
    limit = first + more
    backoff = Backoff(random.Random(seed), first=first, limit=limit, factor=factor)
    ceilings = []
    for _ in range(failures):
        delay = backoff.failed()
        ceilings.append(backoff.ceiling)
        assert 0 <= delay <= backoff.ceiling <= limit
    assert ceilings[0] == first
    assert ceilings == sorted(ceilings)
    if factor >= 2 and failures >= 20:
        assert ceilings[-1] == limit


@given(st.integers(), st.floats(0, 1000), st.integers(1, 50))
def test_only_what_worked_long_enough_is_forgiven(seed: int, worked: float, failures: int) -> None:
    backoff = Backoff(random.Random(seed), steady=60)
    for _ in range(failures):
        backoff.failed()
    backoff.failed(worked)
    assert backoff.failures == (1 if worked >= 60 else failures + 1)


def test_delays_are_spread_over_the_whole_ceiling() -> None:
    chance = random.Random(7)
    delays = [Backoff(chance, first=8.0, limit=8.0).failed() for _ in range(1000)]
    assert min(delays) < 0.5
    assert max(delays) > 7.5
    assert 3.5 < sum(delays) / len(delays) < 4.5


def test_a_reset_begins_again() -> None:
    backoff = Backoff(random.Random(1), first=1, limit=100)
    for _ in range(5):
        backoff.failed()
    backoff.reset()
    assert backoff.ceiling == 0
    backoff.failed()
    assert backoff.ceiling == 1


@pytest.mark.parametrize(
    "figures",
    [{"first": 0.0}, {"first": 9.0, "limit": 1.0}, {"factor": 0.5}, {"limit": float("inf")}, {"steady": -1.0}],
)
def test_figures_that_make_no_backoff_are_refused(figures: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="no backoff"):
        Backoff(random.Random(1), **figures)
