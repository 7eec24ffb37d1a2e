"""What is absent at a start is judged alike, whichever was read first: the source or the sink that had the records."""

from __future__ import annotations

import pytest

from tests.rig import service
from waypost.engine.catalog import Absence, SourceView
from waypost.engine.doubt import Loss


@pytest.mark.parametrize(
    ("lost", "expected"), [(30, Absence.INFERRED), (31, Absence.DOUBTED), (5, Absence.INFERRED), (99, Absence.DOUBTED)]
)
@pytest.mark.parametrize("source_first", [True, False])
def test_the_loss_is_a_share_of_all_that_was_there(lost: int, expected: Absence, source_first: bool) -> None:
    names = [f"i{n:03}" for n in range(100)]
    view = SourceView("mem", Loss(), lambda _key, _ids: None, lambda: 0.0)
    now = service("web", *names[lost:])
    records = [(now.key, name) for name in names]

    def read() -> None:
        view.take({now.key: now}, (), ())

    if source_first:
        read()
        view.recall(records)
    else:
        view.recall(records)
        read()
    assert {view.absence(now.key, name) for name in names[:lost]} == {expected}


def test_a_second_sink_with_few_of_the_records_ends_no_doubt() -> None:
    names = [f"i{n:03}" for n in range(100)]
    view = SourceView("mem", Loss(), lambda _key, _ids: None, lambda: 0.0)
    now = service("web", *names[50:])
    view.take({now.key: now}, (), ())
    view.recall([(now.key, name) for name in names])
    view.recall([(now.key, name) for name in names[:3]])
    assert {view.absence(now.key, name) for name in names[:50]} == {Absence.DOUBTED}


def test_what_a_service_listed_without_instances_had_is_gone_however_many_records_name() -> None:
    names = [f"i{n:03}" for n in range(100)]
    view = SourceView("mem", Loss(), lambda _key, _ids: None, lambda: 0.0)
    now = service("web")
    view.take({now.key: now}, (), ())
    view.recall([(now.key, name) for name in names])
    assert {view.absence(now.key, name) for name in names} == {Absence.FACT}


def test_what_each_of_several_sinks_names_counts_together() -> None:
    names = [f"i{n:03}" for n in range(12)]
    view = SourceView("mem", Loss(), lambda _key, _ids: None, lambda: 0.0)
    now, other = service("web", "here"), service("mail", "gone0", "gone1", "gone2")
    view.take({now.key: now}, (), ())
    view.recall([(other.key, instance.id) for instance in other.instances])
    view.recall([(now.key, name) for name in names[:4]])  # with the whole service that is doubted: 7
    assert {view.absence(now.key, name) for name in names[:4]} == {Absence.DOUBTED}
