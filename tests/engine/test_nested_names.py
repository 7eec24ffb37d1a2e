"""Names that cannot stand together, as in SkyDNS those that are nested: who has one keeps it; none waits for ever."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rig import Rig, registration, service
from waypost.engine.names import Names
from waypost.model import PublicationKey, ServiceKey
from waypost.testing.memory import MemorySink
from waypost.testing.virtual import virtual_test


def above(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[n:]) for n in range(1, len(labels))]


def key(name: str) -> PublicationKey:
    return PublicationKey(f"default/{name}", "out", ServiceKey("mem", "", name))


@pytest.mark.parametrize(("first", "second"), [("web", "api.web"), ("api.web", "web"), ("web", "a.b.web")])
def test_who_has_a_name_keeps_it_when_a_nested_one_is_wanted(first: str, second: str) -> None:
    names = Names(above)
    names.want(key("one"), [first])
    names.want(key("two"), [second])
    assert names.conflict(key("one"), first) is None
    assert "cannot stand together" in (names.conflict(key("two"), second) or "")
    assert key("two") in names.want(key("one"), ()), "who waited is asked again"
    assert names.conflict(key("two"), second) is None
    names.want(key("one"), [first])
    assert names.conflict(key("one"), first) is not None


def test_names_side_by_side_stand_together() -> None:
    names = Names(above)
    for name in ("web", "api", "a.b", "c.b"):
        names.want(key(name), [name])
        assert names.conflict(key(name), name) is None


def test_records_hold_their_name_against_nested_ones_until_they_are_gone() -> None:
    names = Names(above)
    names.found(key("one"), "web")
    names.reset([(key("two"), ["api.web"])])
    assert names.conflict(key("two"), "api.web") is not None
    assert key("two") in names.emptied(key("one"))
    assert names.conflict(key("two"), "api.web") is None


@virtual_test
async def test_a_nested_name_waits_for_the_one_above_and_then_stands(tmp_path: Path) -> None:
    class Nested(MemorySink):
        def above(self, name: str) -> list[str]:
            return above(name)

    rig = Rig(tmp_path)
    rig.on_sink = lambda made: setattr(made, "__class__", Nested)
    rig.memory["mem"].set(service("one", "a"), service("two", "b"))
    rig.declare(registration("one", names=["web"]))
    async with rig.running():
        await rig.settle()
        rig.declare(registration("two", names=["api.web"]))
        rig.memory["mem"].set(service("one", "a", "c"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/c"], "the incumbent goes on as before"
        (problem,) = rig.problems()
        assert "cannot stand together" in problem
        rig.withdraw("registrations", "default/one")
        await rig.settle()
        assert rig.found() == ["api.web/b"]
        assert rig.problems() == []


POOL = ["w", "a.w", "b.w", "c.a.w", "x"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["want", "found", "emptied"]), st.sampled_from("pqrs"), st.sets(st.sampled_from(POOL))),
    max_size=25,
)


@given(STEPS)
def test_no_two_names_that_cannot_stand_together_are_ever_free_to_be_written(
    steps: list[tuple[str, str, set[str]]],
) -> None:
    names = Names(above)
    for how, who, which in steps:
        if how == "want":
            names.want(key(who), which)
        elif how == "found":
            for name in sorted(which):
                names.found(key(who), name)
        else:
            names.emptied(key(who))
        free: dict[str, set[str]] = {}
        for publication, wanted in names.wanted.items():
            for name in wanted:
                if names.conflict(publication, name) is None:
                    free.setdefault(name, set()).add(publication.registration)
        assert all(len(holders) == 1 for holders in free.values())
        assert not [(a, b) for a in free for b in free if b in above(a)]
    for who in "pqrs":
        names.want(key(who), ())
        names.emptied(key(who))
    assert not names._holder
    assert not names._under
    assert not any(names._beneath.values())
