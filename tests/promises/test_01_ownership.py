"""Promise 1: it never changes or deletes a record that it does not own; equal data is never ours."""

from pathlib import Path

import msgspec

from tests.rig import Rig, registration, service
from waypost.adapter import Outcome
from waypost.testing.memory import SharedTarget
from waypost.testing.virtual import virtual_test


def written_by_others(target: SharedTarget) -> dict[str, bytes]:
    return {write.key: write.new for write in target.log if write.by == "" and write.new is not None}


@virtual_test
async def test_a_foreign_record_under_our_key_is_a_conflict_and_stays(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.target().set("web/a", b'{"by": "hand"}')
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle(700)
        assert rig.target().records["web/a"] == b'{"by": "hand"}'
        assert "web/b" in rig.found()
        assert any("conflict" in problem for problem in rig.problems())
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.settle()
    assert rig.found() == ["web/a"]
    assert all(write.by == "" for write in rig.target().log if write.key == "web/a")


@virtual_test
async def test_an_equal_record_by_hand_is_never_ours(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
    ours = msgspec.json.decode(rig.target().records["web/a"])
    del ours["ownership"]
    twin = msgspec.json.encode(ours)
    rig.targets["out"] = SharedTarget()
    rig.target().set("web/a", twin)
    async with rig.running(folder=tmp_path / "second"):
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.settle()
    assert rig.target().records == {"web/a": twin}


@virtual_test
async def test_a_record_that_another_took_over_is_theirs_from_then_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web"))
    async with rig.running():
        await rig.settle()
        rig.target().set("web/a", b'{"by": "hand"}')
        await rig.settle(700)
        rig.memory["mem"].set(service("web", "b"))
        await rig.settle(700)
    assert rig.target().records["web/a"] == b'{"by": "hand"}'


@virtual_test
async def test_two_owners_share_a_name_and_never_touch_each_other(tmp_path: Path) -> None:
    first, second = Rig(tmp_path / "1"), Rig(tmp_path / "2")
    from tests.rig import sink

    second.targets = first.targets
    second.declare(sink(owner="other"))
    for rig, names in ((first, "ab"), (second, "cd")):
        rig.memory["mem"].set(service("web", *names))
        rig.declare(registration("web"))
    async with first.running(), second.running():
        await first.settle()
        assert first.found() == ["web/a", "web/b", "web/c", "web/d"]
        first.withdraw("registrations", "default/web")
        await first.settle(700)
        assert first.found() == ["web/c", "web/d"]
    assert {w.by for w in first.target().log if w.key in {"web/c", "web/d"}} == {"other"}


@virtual_test
async def test_a_target_that_refuses_one_record_refuses_it_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b", "c"))
    rig.declare(registration("web"))
    rig.on_sink = lambda sink: setattr(
        sink, "refuse", lambda change: Outcome("invalid", "too long") if change.key == "web/b" else None
    )
    async with rig.running():
        await rig.settle()
        assert rig.found() == ["web/a", "web/c"]
        assert rig.problems() == ["invalid: too long"]
