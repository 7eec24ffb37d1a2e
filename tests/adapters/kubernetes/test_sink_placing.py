"""Which slice an instance stands in: tables, and what holds for every history."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost_adapters.kubernetes.sink_objects import Meta, Part, annotation
from waypost_adapters.kubernetes.sink_placing import MOST_TEXT, Draft, Parts, place_all
from waypost_adapters.kubernetes.sink_record import Line, Whose

WHOSE = Whose("shop/web", "k8s", "mesos/shop/web")
HTTP = (("http", 8080, "TCP"),)


def line(
    *addresses: str, ports: tuple[tuple[str, int, str], ...] = HTTP, instance: str = "web.1", ready: bool = True
) -> Line:
    return Line("prod-eu", WHOSE, instance, "web", ready, addresses or ("10.0.0.1",), "", ports, "")


def label(number: int) -> str:
    return f"i-{number:016d}"


def written(parts: Parts, draft: Draft) -> Parts:
    """What the slices are when all of a draft is written, as the work writes it."""
    for part in (*draft.grown, *draft.shrunk):
        if part.lines:
            parts.put(part)
        else:
            parts.drop(part.meta.name)
    return parts


def filled(count: int, most: int = 100) -> Parts:
    parts = Parts()
    return written(parts, place_all(parts, {label(n): line(f"10.0.0.{n % 250}") for n in range(count)}, "web", most))


def sizes(parts: Parts) -> list[int]:
    return sorted(len(part.lines) for part in parts)


def touched(draft: Draft) -> list[str]:
    return [part.meta.name for part in (*draft.grown, *draft.shrunk)]


def test_slices_are_filled_one_after_the_other() -> None:
    assert sizes(filled(250)) == [50, 100, 100]


def test_one_more_instance_writes_one_slice_and_moves_nobody() -> None:
    parts = filled(250)
    before = {part.meta.name: dict(part.lines) for part in parts}
    draft = place_all(parts, {label(1000): line()}, "web", 100)
    assert len(touched(draft)) == 1
    after = written(parts, draft)
    for name, lines in before.items():
        assert lines.items() <= after.by_name[name].lines.items()


def test_a_removal_writes_one_slice_and_leaves_room_that_is_taken_again() -> None:
    parts = filled(300)
    full = {part.meta.name for part in parts}
    draft = place_all(parts, {label(7): None}, "web", 100)
    assert len(touched(draft)) == 1
    assert sizes(written(parts, draft)) == [99, 100, 100]
    written(parts, place_all(parts, {label(5000): line()}, "web", 100))
    assert {part.meta.name for part in parts} == full


def test_new_instances_go_into_the_slice_that_is_written_anyway() -> None:
    parts = filled(150)  # one full, one half full
    written(parts, place_all(parts, {label(0): None}, "web", 100))  # 99 and 50
    holder = parts.holding(label(120))[0].meta.name
    draft = place_all(parts, {label(120): line(ready=False), label(999): line()}, "web", 100)
    assert touched(draft) == [holder]


def test_else_into_the_fullest_that_has_room() -> None:
    parts = filled(150)
    fuller = parts.holding(label(0))[0].meta.name
    written(parts, place_all(parts, {label(0): None}, "web", 100))
    assert touched(place_all(parts, {label(999): line()}, "web", 100)) == [fuller]


def test_an_instance_of_both_families_stands_in_two_slices_and_changes_in_both() -> None:
    parts = Parts()
    written(parts, place_all(parts, {label(1): line("10.0.0.1", "2001:db8::1")}, "web", 100))
    assert sorted(part.family for part in parts) == ["IPv4", "IPv6"]
    draft = place_all(parts, {label(1): line("10.0.0.1", "2001:db8::1", ready=False)}, "web", 100)
    assert len(draft.grown) == 2


def test_who_moves_to_other_ports_stands_in_the_new_slice_before_it_leaves_the_old_one() -> None:
    parts = filled(2)
    old = parts.holding(label(1))[0].meta.name
    draft = place_all(parts, {label(1): line(ports=(("http", 9090, "TCP"),))}, "web", 100)
    (new,) = draft.grown
    assert label(1) in new.lines
    assert new.meta.name != old
    assert [(part.meta.name, sorted(part.lines)) for part in draft.shrunk] == [(old, [label(0)])]


def test_who_moves_stays_in_a_slice_that_others_join_until_it_stands_in_the_new_one() -> None:
    parts = filled(2)
    old = parts.holding(label(1))[0].meta.name
    changes = {label(1): line(ports=(("http", 9090, "TCP"),)), label(2): line()}
    draft = place_all(parts, changes, "web", 100)
    grown = {part.meta.name: part for part in draft.grown}
    assert label(1) in grown[old].lines
    assert label(1) not in written(parts, draft).by_name[old].lines


def test_an_altered_slice_is_written_again_when_anything_in_it_is_asked_for() -> None:
    parts = filled(3)
    for part in parts:
        part.altered = True
    kept = parts.holding(label(1))[0].lines[label(1)]
    (part,) = place_all(parts, {label(1): kept}, "web", 100).grown
    assert not part.altered


def test_what_stands_twice_stands_once_afterwards() -> None:
    one = Part(Meta("web-a"), "IPv4", HTTP, {label(1): line()})
    two = Part(Meta("web-b"), "IPv4", HTTP, {label(1): line(), label(2): line()})
    parts = Parts([one, two])
    written(parts, place_all(parts, {label(1): line()}, "web", 100))
    assert len(parts.holding(label(1))) == 1


def test_an_empty_slice_goes_with_the_next_write() -> None:
    parts = Parts([Part(Meta("web-a"), "IPv4", HTTP, {}), Part(Meta("web-b"), "IPv4", HTTP, {label(1): line()})])
    assert "web-a" not in written(parts, place_all(parts, {label(2): line(ports=())}, "web", 100)).by_name


def test_a_new_slice_has_no_name_that_is_taken() -> None:
    parts = Parts()
    (first,) = place_all(parts, {label(1): line()}, "web", 100).grown
    (second,) = place_all(parts, {label(1): line()}, "web", 100, {first.meta.name}).grown
    assert second.meta.name != first.meta.name


def test_a_slice_takes_no_more_text_than_an_annotation_holds() -> None:
    long = {label(n): line(instance="ü" * 500 + str(n)) for n in range(300)}
    parts = Parts()
    written(parts, place_all(parts, long, "web", 1000))
    assert len(parts) > 1
    assert all(len(annotation(part.lines.items()).encode()) < 262_144 - 10_000 for part in parts)
    assert max(len(annotation(part.lines.items()).encode()) for part in parts) > MOST_TEXT // 4


def test_so_does_one_of_many_publications_whose_names_are_long() -> None:
    long = {
        label(n): msgspec.structs.replace(line(), whose=Whose("shop/" + "w" * 300 + str(n), "k", "m/s/" + "x" * 3000))
        for n in range(300)
    }
    parts = Parts()
    written(parts, place_all(parts, long, "web", 1000))
    assert all(len(annotation(part.lines.items()).encode()) < 262_144 - 10_000 for part in parts)


# --- for every history

addresses = st.sampled_from([("10.0.0.1",), ("10.0.0.2",), ("2001:db8::1",), ("10.0.0.1", "2001:db8::1")])
shapes = st.sampled_from([(), HTTP, (("http", 9090, "TCP"),)])
lines = st.builds(lambda a, p, r: line(*a, ports=p, ready=r), addresses, shapes, st.booleans())
batches = st.lists(
    st.dictionaries(st.integers(0, 12).map(label), st.one_of(st.none(), lines), min_size=1, max_size=5), max_size=8
)


def families(each: Line) -> list[str]:
    return ["IPv6" if ":" in address else "IPv4" for address in each.addresses]


@settings(max_examples=60)
@given(batches, st.integers(1, 4))
def test_everybody_stands_once_in_each_family_in_a_slice_of_his_ports_and_none_is_too_full(
    history: list[dict[str, Line | None]], most: int
) -> None:
    parts = Parts()
    model: dict[str, Line] = {}
    for batch in history:
        before = {(part.family, label): part.meta.name for part in parts for label in part.lines if label not in batch}
        draft = place_all(parts, batch, "web", most)
        for part in draft.grown:  # nobody who stays is missing, whichever step the writer has come to
            was = parts.by_name.get(part.meta.name)
            for each in was.lines if was else ():
                assert each in part.lines or batch.get(each, line()) is None
        written(parts, draft)
        for each, new in batch.items():
            if new is None:
                model.pop(each, None)
            else:
                model[each] = new
        shown = sorted((each, part.family) for part in parts for each in part.lines)
        assert shown == sorted((each, family) for each, new in model.items() for family in families(new))
        for part in parts:
            assert 0 < len(part.lines) <= most
            assert all(part.lines[each] == model[each] and part.shape == model[each].ports for each in part.lines)
        for (family, each), name in before.items():
            assert [part.meta.name for part in parts.holding(each) if part.family == family] == [name]
        assert place_all(parts, dict(model), "web", most) == Draft([], [])


@pytest.mark.parametrize("most", [1, 3, 100])
def test_as_many_slices_as_are_needed_and_no_more(most: int) -> None:
    assert len(filled(120, most)) == -(-120 // most)
