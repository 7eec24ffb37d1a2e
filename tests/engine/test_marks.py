"""Which instances come first, however they were marked."""

from hypothesis import given
from hypothesis import strategies as st

from waypost.engine.marks import Marks

IDS = st.sets(st.sampled_from("abcdefghij"))


@given(st.lists(st.tuples(IDS, st.integers(1, 5))), IDS)
def test_each_is_taken_once_in_the_order_of_ids_and_what_is_gone_comes_last(
    rounds: list[tuple[set[str], int]], gone: set[str]
) -> None:
    marks, expected = Marks(), set[str]()
    for ids, most in rounds:
        marks.add(ids)
        expected |= ids
        first = sorted(expected, key=lambda name: (name in gone, name))[:most]
        assert marks.take(most, gone.__contains__) == first
        expected -= set(first)
        assert set(marks) == expected
        assert len(marks) == len(expected)
        assert marks.only_gone() == (expected <= gone)


def test_only_gone_means_nothing_that_was_just_marked() -> None:
    marks = Marks("ab")
    assert not marks.only_gone()
    assert marks.take(2, lambda _: True) == ["a", "b"]
    assert marks.only_gone()
    marks.add("a")
    assert not marks.only_gone()
