"""Panic."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.health.check import Check, Target, TcpSocket
from waypost.health.subject import Subject
from waypost.health.ward import JURY, Ward

PERIOD = 10.0


class Scene:
    """A ward of some members, all of which pass at first; findings are told to it as the overlay tells them."""

    def __init__(self, members: int, percent: int = 50, fall: int = 1, seed: int = 0) -> None:
        check = Check(TcpSocket(), PERIOD, 2, 1, fall)
        self.members = [Subject(Target(check, "mem", str(n), "10.0.0.1", 80)) for n in range(members)]
        self.moved: list[Collection[Subject] | None] = []
        self.ward = Ward(percent, Random(seed), self.moved.append)
        self.ward.total = members
        self.asked: list[Subject] = []
        for member in self.members:
            self.find(member, -1.0, ok=True)

    def find(self, member: Subject, now: float, *, ok: bool | None) -> None:
        failing, verdict = member.failing, member.verdict
        member.take(ok, "", now, now)
        self.ward.failing += member.failing - failing
        if member.verdict is not verdict:
            if member.verdict is False:
                self.asked += self.ward.fell(now, member, 0.0, lambda: [m for m in self.members if m is not member])
            else:
                self.ward.rose(member)
        self.ward.heard(now, member)

    def fail(self, *which: int, now: float) -> None:
        for number in which:
            self.find(self.members[number], now, ok=False)

    def answer(self, now: float, *, ok: bool | None) -> None:
        asked, self.asked = self.asked, []
        for member in asked:
            self.find(member, now, ok=ok)

    @property
    def withdrawn(self) -> list[int]:
        return [n for n, member in enumerate(self.members) if self.ward.verdict(member) is False]


@pytest.mark.parametrize(
    ("members", "percent", "failing", "panics"),
    [
        (1, 50, 1, True),
        (1, 100, 1, False),
        (2, 50, 1, False),
        (2, 50, 2, True),
        (3, 60, 1, False),
        (3, 60, 2, True),
        (10, 50, 5, False),
        (10, 50, 6, True),
        (10, 100, 10, False),
        (100, 1, 1, False),
        (100, 1, 2, True),
    ],
)
def test_more_than_the_percentage_is_panic(members: int, percent: int, failing: int, panics: bool) -> None:
    scene = Scene(members, percent, fall=2)
    for number in range(failing):
        scene.fail(number, now=number / 1000)
    for number in range(failing):
        scene.fail(number, now=PERIOD + number / 1000)
    assert scene.ward.panics == panics
    assert scene.withdrawn == ([] if panics else list(range(failing)))


def test_all_failing_is_panic_before_the_first_is_withdrawn() -> None:
    scene = Scene(100, fall=3)
    for round_ in range(3):
        for number in range(100):
            scene.fail(number, now=round_ * PERIOD + number / 10)
            assert scene.withdrawn == []
    assert scene.ward.panics


def test_where_one_failure_is_enough_others_are_checked_before_it_counts() -> None:
    scene = Scene(10)
    scene.fail(0, now=1)
    assert len(scene.asked) == 9
    assert scene.withdrawn == []
    scene.answer(1.1, ok=True)
    assert not scene.ward.panics
    assert scene.withdrawn == [0]
    assert scene.moved == [{scene.members[0]}]


def test_a_jury_that_fails_is_panic_and_nothing_was_withdrawn() -> None:
    scene = Scene(1000)
    scene.fail(0, now=1)
    assert len(scene.asked) == JURY
    scene.fail(1, now=1.05)  # meanwhile another falls
    scene.answer(1.1, ok=False)
    assert scene.ward.panics
    assert scene.withdrawn == []


def test_those_who_were_checked_since_the_failure_began_need_no_jury() -> None:
    scene = Scene(4, fall=2)
    scene.fail(0, now=1)
    for other in scene.members[1:]:
        scene.find(other, 1.5, ok=True)
    scene.fail(0, now=2)  # sooner than its period: it was asked for
    assert scene.asked == []
    assert scene.withdrawn == [0]


def test_a_jury_member_that_goes_away_is_waited_for_no_more() -> None:
    scene = Scene(2)
    scene.fail(0, now=1)
    (other,) = scene.asked
    scene.ward.total -= 1
    scene.ward.left(other)
    assert scene.ward.panics  # who is left fails, and is all there is
    assert scene.withdrawn == []


def test_a_jury_that_cannot_be_checked_says_nothing_and_is_waited_for_no_more() -> None:
    scene = Scene(10)
    scene.fail(0, now=1)
    scene.answer(1.1, ok=None)
    assert scene.withdrawn == [0]


def test_one_that_recovers_while_the_jury_is_out_is_not_withdrawn() -> None:
    scene = Scene(10)
    scene.fail(0, now=1)
    scene.find(scene.members[0], 1.05, ok=True)
    scene.answer(1.1, ok=True)
    assert scene.withdrawn == []
    scene.fail(0, now=1.2)
    assert scene.withdrawn == []  # the next time a jury is asked again
    assert len(scene.asked) == 9


def test_in_panic_those_withdrawn_before_come_back_and_the_never_seen_well_stay_undecided() -> None:
    scene = Scene(10, fall=1)
    never = Subject(scene.members[0].target)
    scene.members.append(never)
    scene.ward.total += 1
    scene.find(never, 0, ok=False)
    scene.answer(0, ok=True)
    scene.fail(0, now=1)
    scene.answer(1, ok=True)
    assert scene.withdrawn == [0, 10]
    for number in range(1, 7):
        scene.fail(number, now=2)
        scene.answer(2, ok=None)
    assert scene.ward.panics
    assert scene.withdrawn == []
    assert scene.ward.verdict(scene.members[0]) is True
    assert scene.ward.verdict(never) is None
    assert scene.moved[-1] is None


def test_panic_ends_when_it_was_calm_for_two_periods() -> None:
    scene = Scene(10, fall=2)
    for now in (1.0, 11.0):
        scene.fail(*range(10), now=now)
    assert scene.ward.panics
    for number in range(4, 10):
        scene.find(scene.members[number], 20, ok=True)
    for now in (25.0, 30.0, 39.0):
        scene.fail(0, now=now)
        assert scene.ward.panics
    scene.fail(0, now=40)
    assert not scene.ward.panics
    assert scene.withdrawn == [0, 1, 2, 3]


def test_a_relapse_makes_the_calm_begin_anew() -> None:
    scene = Scene(10, fall=2)
    for now in (1.0, 11.0):
        scene.fail(*range(10), now=now)
    for number in range(4, 10):
        scene.find(scene.members[number], 20, ok=True)
    scene.fail(4, 5, now=30)
    for number in (4, 5):
        scene.find(scene.members[number], 35, ok=True)
    scene.fail(0, now=45)
    assert scene.ward.panics
    scene.fail(0, now=55)
    assert not scene.ward.panics


@given(st.integers(1, 40), st.integers(1, 100), st.integers(0, 2**20), st.data())
def test_never_are_more_withdrawn_by_one_failure_of_all_at_once_than_the_percentage(
    members: int, percent: int, seed: int, data: st.DataObject
) -> None:
    """Whoever falls first, and whatever the threshold: all of them fail from some moment on."""
    fall = data.draw(st.integers(1, 4))
    phases = data.draw(st.lists(st.floats(0, PERIOD - 0.01), min_size=members, max_size=members))
    scene = Scene(members, percent, fall, seed)
    for round_ in range(fall + 1):
        for phase, member in sorted(zip(phases, scene.members, strict=True), key=lambda pair: pair[0]):
            now = round_ * PERIOD + phase
            scene.find(member, now, ok=False)
            while scene.asked:
                scene.answer(now, ok=False)
            assert len(scene.withdrawn) * 100 <= members * percent
    assert scene.ward.panics == (percent < 100)


@given(
    st.integers(1, 12),
    st.integers(1, 100),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from([True, False, None])), max_size=120),
)
def test_all_well_for_long_enough_ends_every_panic_and_withdraws_none(
    members: int, percent: int, fall: int, history: list[tuple[int, bool | None]]
) -> None:
    scene = Scene(members, percent, fall)
    now = 0.0
    for number, ok in history:
        now += 0.7
        scene.find(scene.members[number % members], now, ok=ok)
    for _ in range(4):
        now += PERIOD
        for member in scene.members:
            scene.find(member, now, ok=True)
    assert not scene.ward.panics
    assert not scene.ward.listens
    assert scene.withdrawn == []
    assert scene.ward.failing == 0
