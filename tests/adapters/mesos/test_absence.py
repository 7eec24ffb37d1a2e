"""An agent that a new master does not know yet is neither there nor gone, for as long as that master waits for it."""

from __future__ import annotations

import pytest

from waypost_adapters.mesos.absence import MARGIN, Absence, duration

ALL = {"S1": "n1", "S2": "n2"}


def test_before_any_failover_only_the_registry_is_waited_for() -> None:
    absence = Absence()
    absence.view("m1", {"S1": "n1"}, {"S9": "n9"}, 0, 600)
    assert absence.nodes == {"n9"}


def test_after_a_failover_agents_seen_before_are_unknown_until_they_come_back() -> None:
    absence = Absence()
    absence.view("m1", ALL, {}, 0, 600)
    assert absence.nodes == frozenset()
    absence.view("m2", {}, {}, 100, 600)
    assert absence.nodes == {"n1", "n2"}
    assert absence.added("S1", "n1")
    assert not absence.added("S1", "n1")
    assert absence.nodes == {"n2"}
    absence.view("m2", {"S1": "n1"}, {}, 200, 600)
    assert absence.nodes == {"n2"}, "a new connection to the same master does not end the waiting"
    assert absence.removed("S2")
    assert absence.nodes == frozenset()


def test_a_second_failover_begins_the_waiting_anew() -> None:
    absence = Absence()
    absence.view("m1", ALL, {}, 0, 600)
    absence.view("m2", {"S1": "n1"}, {}, 100, 600)
    absence.view("m3", {}, {}, 600, 600)
    assert absence.nodes == {"n1", "n2"}
    assert not absence.expire(600 + 600)
    assert absence.expire(600 + 600 + MARGIN)
    assert absence.nodes == frozenset()
    assert not absence.expire(10_000)


def test_under_the_same_master_an_agent_that_is_not_listed_is_gone() -> None:
    absence = Absence()
    absence.view("m1", ALL, {}, 0, 600)
    absence.view("m1", {"S1": "n1"}, {}, 10, 600)
    assert absence.nodes == frozenset()


def test_an_agent_seen_in_the_stream_only_is_remembered_too() -> None:
    absence = Absence()
    absence.view("m1", {}, {}, 0, 600)
    absence.added("S3", "n3")
    absence.view("m2", {}, {}, 10, 600)
    assert absence.nodes == {"n3"}


def test_what_the_master_still_waits_for_past_the_time_stays_unknown() -> None:
    absence = Absence()
    absence.view("m1", {}, {"S9": "n9"}, 0, 600)
    absence.view("m1", {}, {"S9": "n9"}, 700, 600)
    assert absence.nodes == {"n9"}
    absence.view("m1", {}, {}, 800, 600)
    assert absence.nodes == frozenset()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("10mins", 600), ("600secs", 600), ("1.5hrs", 5400), ("15000ms", 15), ("1days", 86400), ("", None), ("10", None)],
)
def test_a_duration_is_read_as_mesos_writes_it(given: str, seconds: float | None) -> None:
    assert duration(given) == seconds
