"""Rise and fall."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.health.check import Check, Target, TcpSocket
from waypost.health.subject import UNDECIDED, Standing, Subject, judge

FINDINGS = {"+": True, "-": False, "?": None}
THRESHOLDS = st.integers(1, 6)
OUTCOMES = st.lists(st.sampled_from([True, False, None]), max_size=40)


def told(findings: str, rise: int, fall: int) -> Standing:
    standing = UNDECIDED
    for finding in findings:
        standing = judge(standing, FINDINGS[finding], rise, fall)
    return standing


@pytest.mark.parametrize(
    ("findings", "rise", "fall", "verdict"),
    [
        ("", 1, 1, None),
        ("+", 1, 3, True),
        ("-", 1, 1, False),
        ("-", 1, 2, None),
        ("--", 1, 2, False),
        ("+", 2, 1, None),
        ("++", 2, 1, True),
        ("+-", 1, 2, True),
        ("+--", 1, 2, False),
        ("+-+-+-", 1, 2, True),
        ("--+", 2, 2, False),
        ("--++", 2, 2, True),
        ("--+-+", 2, 2, False),
        ("+-+-+-", 2, 2, None),
        ("-?-", 1, 2, False),  # what could not be made breaks no row
        ("+?", 1, 2, True),
        ("+??", 1, 2, None),
        ("--??", 1, 2, None),
        ("--??+", 1, 2, True),
        ("+??-", 1, 2, None),  # and after it, rows begin anew
        ("+-??-", 1, 2, None),
        ("+?+?+?", 1, 2, True),
    ],
)
def test_a_row_of_findings_makes_a_verdict(findings: str, rise: int, fall: int, verdict: bool | None) -> None:
    assert told(findings, rise, fall).verdict is verdict


@given(OUTCOMES, THRESHOLDS, THRESHOLDS)
def test_a_verdict_changes_only_after_its_whole_row(outcomes: list[bool | None], rise: int, fall: int) -> None:
    standing = UNDECIDED
    for number, ok in enumerate(outcomes):
        after = judge(standing, ok, rise, fall)
        if after.verdict is not standing.verdict:
            need = {True: rise, False: fall, None: fall}[after.verdict]
            last = outcomes[: number + 1]
            if after.verdict is not None:
                last = [finding for finding in last if finding is not None]
            assert last[-need:] == [after.verdict] * need
        standing = after


@given(OUTCOMES, THRESHOLDS, THRESHOLDS)
def test_enough_of_the_same_always_decides(outcomes: list[bool | None], rise: int, fall: int) -> None:
    standing = UNDECIDED
    for ok in outcomes:
        standing = judge(standing, ok, rise, fall)
    for ok, need in ((True, rise), (False, fall), (None, fall)):
        end = standing
        for _ in range(need):
            end = judge(end, ok, rise, fall)
        assert end.verdict is ok


def subject(rise: int = 1, fall: int = 2) -> Subject:
    return Subject(Target(Check(TcpSocket(), 10, 2, rise, fall), "mem", "a", "10.0.0.1", 80))


def test_a_row_of_failures_began_with_its_first_check() -> None:
    it = subject()
    for at, ok in ((0, True), (10, False), (20, None), (30, False)):
        it.take(ok, "", at, at + 1)
    assert it.failing_since == 10
    assert it.finished == 31
    assert it.verdict is False
    it.take(ok=True, reason="", began=40, finished=41)
    assert it.failing_since == math.inf


def test_one_who_has_not_risen_yet_still_fails() -> None:
    it = subject(rise=2, fall=1)
    it.take(ok=False, reason="", began=0, finished=0)
    it.take(ok=True, reason="", began=1, finished=1)
    assert it.failing
    it.take(ok=True, reason="", began=2, finished=2)
    assert not it.failing


def test_one_failure_is_failing_before_it_is_a_verdict() -> None:
    it = subject(fall=3)
    it.take(ok=True, reason="", began=0, finished=0)
    it.take(ok=False, reason="no", began=1, finished=1)
    assert (it.verdict, it.failing, it.reason) == (True, True, "no")


def test_who_passed_once_is_remembered_to_have_passed() -> None:
    it = subject(rise=2, fall=1)
    it.take(ok=True, reason="", began=0, finished=0)
    assert not it.passed  # it has not risen
    it.take(ok=True, reason="", began=1, finished=1)
    it.take(ok=False, reason="", began=2, finished=2)
    assert (it.passed, it.verdict) == (True, False)
