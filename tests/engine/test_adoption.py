"""Records that are there already, the same and nobody's: taken over once a person says so, and never otherwise."""

from pathlib import Path
from typing import Any

import pytest

from tests.rig import Rig, instance, registration, service, sink
from waypost.engine.standing import standing
from waypost.settings import not_adopted
from waypost.testing import layout
from waypost.testing.target import owner_of
from waypost.testing.virtual import virtual_test

ADOPTS: dict[str, Any] = {"adopt": "Identical"}


def by_hand(rig: Rig) -> None:
    """Let the records that the rig's registration would write be there by hand."""
    for key, content in list(rig.target().records.items()):
        rig.target().records[key] = layout.released(content)
    rig.target().log.clear()


async def met(tmp_path: Path, *names: str, **spec: Any) -> Rig:
    """Return a rig whose target has the records of these instances, by hand; the state folder knows nothing."""
    first = Rig(tmp_path / "former")
    first.memory["mem"].set(service("web", *names))
    first.declare(registration("web", **spec))
    async with first.running():
        await first.settle()
    by_hand(first)
    rig = Rig(tmp_path)
    rig.targets["out"] = first.target()
    rig.targets["out"].stamps.clear()
    rig.memory["mem"].set(service("web", *names))
    rig.declare(sink(adoption="Identical"), registration("web", entry=ADOPTS, **spec))
    return rig


def ours(rig: Rig) -> list[str]:
    """Return the keys of the records that say that they are ours."""
    return sorted(key for key, content in rig.target().records.items() if owner_of(content) is not None)


@virtual_test
async def test_what_is_the_same_waits_for_a_person_and_is_then_taken_over_in_its_place(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a", "b")
    rig.memory["mem"].set(service("web", "a", "b", "new"))
    async with rig.running() as engine:
        await rig.settle()
        assert ours(rig) == ["web/new"], "what is not there is written at once"
        (hold,) = engine.holds.holds.values()
        assert (hold.cause, hold.removals, hold.changes) == ("Takeover", 0, 2)
        assert "bytes" in hold.sample[0], "the sample says what is there"
        found = standing(engine, "default/web", rig.clock.monotonic())
        assert found is not None
        assert (found.sinks[0].held, found.sinks[0].failed, found.sinks[0].conflicting) == (2, 0, 0)
        await rig.settle(700)
        assert ours(rig) == ["web/new"]
        assert list(engine.holds.holds) == [hold.name], "the hold stays what it is"
        engine.orders.decide(hold.name, "Approve", "known")
        await rig.settle()
        assert ours(rig) == ["web/a", "web/b", "web/new"]
        assert [write.key for write in rig.target().log if write.new is None] == []
        assert not rig.problems()
        assert not engine.reconciler.targets["out"].twins


@pytest.mark.parametrize(
    ("most", "asked", "told"),
    [
        ("Never", "Identical", "nothing is taken over"),
        ("Identical", "Never", ""),
        ("Never", "Never", ""),
    ],
)
@virtual_test
async def test_nothing_is_taken_over_unless_sink_and_entry_say_so(
    tmp_path: Path, most: str, asked: str, told: str
) -> None:
    rig = await met(tmp_path, "a")
    rig.declare(sink(adoption=most), registration("web", entry={"adopt": asked}))
    async with rig.running() as engine:
        await rig.settle(30)
        assert ours(rig) == []
        assert not engine.holds.holds
        assert any(problem.startswith("conflict") for problem in rig.problems())
    missing = not_adopted(rig.settings, rig.settings.registrations["default/web"])
    assert [told in each for each in missing] == ([True] if told else [])


@virtual_test
async def test_what_differs_is_a_conflict_and_asks_nobody(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a", "b")
    rig.memory["mem"].set(service("web", instance("a", port=9), "b"))
    async with rig.running() as engine:
        await rig.settle()
        assert [hold.changes for hold in engine.holds.holds.values()] == [1]
        assert any(problem.startswith("conflict") for problem in rig.problems())


@virtual_test
async def test_what_was_rejected_stays_by_hand(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a")
    async with rig.running() as engine:
        await rig.settle()
        (hold,) = engine.holds.holds
        engine.orders.decide(hold, "Reject", "ours is elsewhere", 86_400)
        await rig.settle(700)
        assert ours(rig) == []


@virtual_test
async def test_an_approval_is_for_what_it_names_and_for_no_other_kind_of_step(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a")
    async with rig.running() as engine:
        await rig.settle()
        (hold,) = engine.holds.holds
        engine.orders.decide(hold, "Approve", "known")
        await rig.settle()
        assert ours(rig) == ["web/a"]
        pair = (next(iter(engine.reconciler.targets["out"].ledger.shelves)), "a")
        assert engine.holds.decision("out", pair, removal=True) == ""
        assert engine.holds.decision("out", pair, removal=False) == ""
        assert engine.holds.decision("out", pair, removal=False, takeover=True) == "", "it is used up"


@virtual_test
async def test_what_changed_since_it_was_approved_is_a_conflict(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a")
    async with rig.running() as engine:
        await rig.settle()
        (hold,) = engine.holds.holds
        rig.target().set("web/a", b'{"by": "hand"}')
        engine.orders.decide(hold, "Approve", "known")
        await rig.settle()
        assert ours(rig) == []
        assert any(problem.startswith("conflict") for problem in rig.problems())


@virtual_test
async def test_what_is_gone_by_the_next_full_reading_is_written(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a", "b")
    async with rig.running() as engine:
        await rig.settle()
        rig.target().set("web/a", None)
        await rig.settle(700)
        assert ours(rig) == ["web/a"]
        waiting = engine.holds.waiting("out")
        assert [name for _, name in waiting] == ["b"]


@virtual_test
async def test_an_instance_that_goes_asks_no_more(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a", "b")
    async with rig.running() as engine:
        await rig.settle()
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle()
        assert [name for _, name in engine.holds.waiting("out")] == ["b"]
        rig.withdraw("registrations", "default/web")
        await rig.settle()
        assert engine.holds.waiting("out") == []
        assert not engine.reconciler.targets["out"].twins
        assert rig.found() == ["web/a", "web/b"]


@virtual_test
async def test_an_undecided_hold_and_a_decided_one_outlast_a_restart(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a")
    async with rig.running() as engine:
        await rig.settle()
        (name,) = engine.holds.holds
    async with rig.running() as engine:
        await rig.settle()
        assert list(engine.holds.holds) == [name]
        rig.sinks["out"].refuse = lambda c: None
        engine.orders.decide(name, "Approve", "known")
    async with rig.running():
        await rig.settle()
        assert ours(rig) == ["web/a"]


@virtual_test
async def test_waiting_holds_back_no_other_name_of_the_instance_and_no_deletion_beside_it(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a")
    rig.declare(registration("web", entry=ADOPTS, names=["web", "www"]))
    rig.memory["mem"].set(service("web", "a", "z"))
    async with rig.running():
        await rig.settle()
        assert ours(rig) == ["web/z", "www/a", "www/z"]
        rig.memory["mem"].set(service("web", "a"))
        await rig.settle()
        assert ours(rig) == ["www/a"]


@virtual_test
async def test_many_wait_in_one_hold_and_none_is_asked_for_twice_a_minute(tmp_path: Path) -> None:
    names = [f"i{number}" for number in range(300)]
    rig = await met(tmp_path, *names)
    async with rig.running() as engine:
        await rig.settle(30)
        (hold,) = engine.holds.holds.values()
        assert hold.changes == 300
        assert len(hold.sample) == 10
        called = rig.sinks["out"].calls["apply"]
        await rig.settle(60)
        assert rig.sinks["out"].calls["apply"] == called
        engine.orders.decide(hold.name, "Approve", "all known")
        await rig.settle()
        assert len(ours(rig)) == 300


@virtual_test
async def test_released_and_asked_for_again_it_is_adopted(tmp_path: Path) -> None:
    from waypost.engine.releases import Release

    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(sink(adoption="Identical"), registration("web", entry=ADOPTS))
    async with rig.running() as engine:
        await rig.settle()
        engine.orders.release(Release())
        await rig.settle()
        assert ours(rig) == []
        engine.orders.release(Release(), undo=True)
        await rig.settle()
        (hold,) = engine.holds.holds
        engine.orders.decide(hold, "Approve", "mine")
        await rig.settle()
        assert ours(rig) == ["web/a"]
        engine.orders.release(Release())
        await rig.settle()
        engine.orders.release(Release(), undo=True)
        await rig.settle()
        assert ours(rig) == [], "an approval is used up by the takeover that it lets pass"
        assert len(engine.holds.waiting("out")) == 1
        assert all(write.new is not None for write in rig.target().log)


def test_a_type_that_cannot_adopt_is_not_asked_to() -> None:
    from waypost.plugins import Plugins
    from waypost.settings.decode import decode

    document = {
        "apiVersion": "waypost.dev/v1alpha1",
        "kind": "ServiceSink",
        "metadata": {"name": "out"},
        "spec": {"type": "registry", "environment": "prod", "ownerID": "me", "adoption": "Identical", "config": {}},
    }
    decoded = decode(document, Plugins())
    assert decoded.object is None
    assert [fault.message for fault in decoded.faults] == [
        "the type `registry` takes no records over; supported: Never"
    ]


@virtual_test
async def test_a_renamed_registration_keeps_its_old_records_until_the_new_name_s_are_taken_over(tmp_path: Path) -> None:
    rig = await met(tmp_path, "a", "b", names=["shop"])
    rig.declare(registration("web", names=["web"], entry=ADOPTS))
    async with rig.running() as engine:
        await rig.settle()
        assert ours(rig) == ["web/a", "web/b"]
        rig.declare(registration("web", names=["shop"], entry=ADOPTS))
        await rig.settle(700)
        assert ours(rig) == ["web/a", "web/b"], "what is by hand is not ours, so the old ones are all there is"
        (hold,) = engine.holds.holds
        engine.orders.decide(hold, "Approve", "known")
        await rig.settle()
        assert ours(rig) == ["shop/a", "shop/b"]
        assert rig.found() == ["shop/a", "shop/b"]
