"""Promise 11: a manifest that cannot be read is not gone; what vanished while Waypost was down waits in a Hold."""

from pathlib import Path

from tests.rig import Rig, registration, service
from waypost.testing.virtual import virtual_test


def two(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"), service("api", "x"))
    rig.declare(registration("web"), registration("api"))
    return rig


@virtual_test
async def test_at_start_an_unreadable_set_freezes_the_records(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running():
        await rig.settle()
    rig.withdraw("registrations", "default/web")
    rig.unreadable()
    async with rig.running() as engine:
        await rig.settle(3600)
        assert rig.found() == ["api/x", "web/a", "web/b"]
        assert {hold.cause for hold in engine.holds.holds.values()} == {"FeedUnreadable"}
        rig.declare(registration("web"))
        await rig.settle(60)
        assert not engine.holds.holds
    assert len(rig.target().log) == 3


@virtual_test
async def test_a_registration_that_vanished_while_waypost_was_down_waits_for_a_person(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running():
        await rig.settle()
    rig.withdraw("registrations", "default/web")
    async with rig.running() as engine:
        await rig.settle(3600)
        assert rig.found() == ["api/x", "web/a", "web/b"]
        (hold,) = engine.holds.holds.values()
        assert hold.cause == "UnknownRegistration"
        engine.orders.decide(hold.name, "Approve", "it was meant")
        await rig.settle(5)
        assert rig.found() == ["api/x"]


@virtual_test
async def test_a_registration_deleted_while_waypost_runs_is_deleted(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.settle(5)
        assert rig.found() == ["api/x"]
        assert not engine.holds.holds


@virtual_test
async def test_an_empty_set_at_start_deletes_nothing(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running():
        await rig.settle()
    for key in ("default/web", "default/api"):
        rig.withdraw("registrations", key)
    for kind, key in (("sources", "mem"), ("sinks", "out")):
        rig.withdraw(kind, key)
    async with rig.running():
        await rig.settle(3600)
    assert len(rig.found()) == 3


@virtual_test
async def test_what_waits_of_a_deleted_registration_stays_while_a_manifest_cannot_be_read(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", *[f"i{n}" for n in range(10)]))
    rig.declare(registration("web"))
    async with rig.running() as engine:
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.settle()
        assert len(rig.found()) == 5  # the budget's
        rig.unreadable()  # it may be this very manifest, and in the making
        await rig.settle(1500)
        assert len(rig.found()) == 5
        assert {hold.cause for hold in engine.holds.holds.values()} == {"FeedUnreadable"}
        rig.declare(complete=True)
        await rig.settle(700)
        assert rig.found() == []
