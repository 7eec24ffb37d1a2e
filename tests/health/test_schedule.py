"""When what is checked is due."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from waypost.health.check import Check, Target, TcpSocket
from waypost.health.schedule import AGAIN_SECONDS, NEW_PER_SECOND, Schedule
from waypost.health.subject import Subject


def subject(number: int = 0, period: float = 10) -> Subject:
    return Subject(Target(Check(TcpSocket(), period), "mem", str(number), "10.0.0.1", 80))


def drain(schedule: Schedule, until: float, *, took: float = 0.0) -> list[tuple[float, Subject]]:
    """Check all that is due until then, each at once, and return when what was checked."""
    found = []
    while (due := schedule.next_due()) is not None and due <= until:
        it = schedule.take(due)
        assert it is not None
        it.began = due
        found.append((due, it))
        schedule.again(due + took, it)
    return found


def test_one_that_is_new_is_checked_at_once() -> None:
    schedule = Schedule(Random(0))
    schedule.add(100, subject())
    assert schedule.next_due() == 100


def test_ten_thousand_new_ones_are_spread_over_their_period() -> None:
    schedule = Schedule(Random(0))
    for number in range(10_000):
        schedule.add(0, subject(number))
    found = drain(schedule, 40)
    steady = Counter(int(due) for due, _ in found if due >= 10)
    assert all(850 <= count <= 1150 for second, count in steady.items() if second < 40)
    first = Counter(int(due) for due, _ in found if due < 10)
    assert max(first.values()) <= 1150 + NEW_PER_SECOND
    assert len({it for due, it in found if due < 10}) == 10_000


def test_a_period_is_kept_however_late_a_check_is() -> None:
    schedule = Schedule(Random(1))
    it = subject()
    schedule.add(0, it)
    drain(schedule, 9.99)
    place = it.due % 10
    now = it.due
    for late in (0.0, 0.5, 4.0, 0.1, 9.9, 0.0):
        assert schedule.take(now + late) is it
        it.began = now + late
        schedule.again(now + late + 0.2, it)
        assert abs(it.due % 10 - place) < 1e-6
        now = it.due


def test_checks_that_were_missed_are_counted_and_not_made_up_for() -> None:
    schedule = Schedule(Random(1))
    it = subject()
    schedule.add(0, it)
    schedule.take(0)
    it.began = 35.0
    schedule.again(35.0, it)
    assert schedule.skipped == 3
    assert 35 < it.due <= 45


def test_a_suspect_is_checked_now_and_keeps_its_place() -> None:
    schedule = Schedule(Random(2))
    it, other = subject(1), subject(2)
    for each in (it, other):
        schedule.add(0, each)
    drain(schedule, 20)
    place = it.due
    now = it.due - 5
    assert schedule.soon(now, it)
    assert schedule.take(now) is it
    it.began = now
    schedule.again(now + 0.1, it)
    assert it.due == place


def test_one_that_was_checked_just_before_its_time_is_left_out_once() -> None:
    schedule = Schedule(Random(2))
    it = subject()
    schedule.add(0, it)
    drain(schedule, 20)
    place = it.due
    assert schedule.soon(place - 0.2, it)
    assert schedule.take(place - 0.2) is it
    it.began = place - 0.2
    schedule.again(place - 0.1, it)
    assert it.due == place + 10
    assert schedule.skipped == 0


def test_suspicion_upon_suspicion_is_one_check_a_second() -> None:
    schedule = Schedule(Random(3))
    it = subject(period=3600)
    schedule.add(0, it)
    count = 0
    for step in range(10_000):
        now = step / 1000
        schedule.soon(now, it)
        if (found := schedule.take(now)) is not None:
            found.began = now
            schedule.again(now, found)
            count += 1
    assert count == 10 / AGAIN_SECONDS


def test_what_is_removed_is_never_due_again_and_takes_no_room() -> None:
    schedule = Schedule(Random(4))
    for number in range(100_000):
        it = subject(number, period=3600)
        schedule.add(number / 100, it)
        schedule.remove(it)
        assert not schedule.soon(number / 100, it)
        assert len(schedule._heap) < 5000
    assert schedule.next_due() is None


@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "soon", "take", "again"]), st.integers(0, 9)), max_size=80))
def test_each_subject_is_in_the_schedule_once_or_queued(steps: list[tuple[str, int]]) -> None:
    schedule = Schedule(Random(5))
    known: dict[int, Subject] = {}
    queued: list[Subject] = []
    now = 0.0
    for what, number in steps:
        now += 0.4
        if what == "add" and number not in known:
            known[number] = subject(number)
            schedule.add(now, known[number])
        elif what == "remove" and number in known:
            gone = known.pop(number)
            schedule.remove(gone)
            queued = [each for each in queued if each is not gone]
        elif what == "soon" and number in known:
            schedule.soon(now, known[number])
        elif what == "take" and (it := schedule.take(now)) is not None:
            assert it in known.values()
            it.began = now
            queued.append(it)
        elif what == "again" and queued:
            schedule.again(now, queued.pop())
        live = [item[2] for item in schedule._heap if item[1] == item[2].entry]
        assert Counter(map(id, live + queued)) == Counter(map(id, known.values()))
        assert schedule._stale == len(schedule._heap) - len(live)
