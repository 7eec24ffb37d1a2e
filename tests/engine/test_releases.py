"""What is released stays in place, ours no more: by a person's word, and by `deletionPolicy: Orphan`."""

from pathlib import Path

import pytest

from tests.rig import Rig, instance, registration, service, sink
from waypost.adapter import AdapterError
from waypost.engine.releases import Release, Releases
from waypost.testing.target import owner_of
from waypost.testing.virtual import virtual_test


def ours(rig: Rig) -> list[str]:
    """Return the keys of the records that say that they are ours."""
    return sorted(key for key, content in rig.target().records.items() if owner_of(content) is not None)


def removed(rig: Rig) -> list[str]:
    """Return the keys that were deleted, by the target's own log."""
    return [write.key for write in rig.target().log if write.new is None]


def two(tmp_path: Path) -> Rig:
    """Return a rig with registrations `web` (a, b) and `api` (c)."""
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"), service("api", "c"))
    rig.declare(registration("web"), registration("api"))
    return rig


ALL = ["api/c", "web/a", "web/b"]


@pytest.mark.parametrize(
    ("release", "left"),
    [
        (Release(registration="default/web"), ["api/c"]),
        (Release(name="web"), ["api/c"]),
        (Release(sink="out"), []),
        (Release(), []),
        (Release(sink="elsewhere"), ALL),
        (Release(registration="default/web", sink="elsewhere"), ALL),
        (Release(registration="default/web", name="api"), ALL),
    ],
)
@virtual_test
async def test_what_a_person_releases_stays_and_is_ours_no_more(
    tmp_path: Path, release: Release, left: list[str]
) -> None:
    rig = two(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        engine.orders.release(release)
        await rig.settle()
        assert rig.found() == ALL
        assert ours(rig) == left
        assert not removed(rig)
        written = len(rig.target().log)
        await rig.settle(700)
        assert len(rig.target().log) == written


@virtual_test
async def test_what_is_released_is_not_written_again_by_changes_nor_after_a_restart(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        engine.orders.release(Release(registration="default/web"))
        await rig.settle()
        rig.memory["mem"].set(service("web", "a", "x"))
        await rig.settle()
        assert rig.found() == ALL
        assert any("a person released it" in problem for problem in rig.problems())
    async with rig.running():
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.settle()
        assert rig.found() == ALL
        assert not removed(rig)


@virtual_test
async def test_what_is_asked_for_again_meets_what_was_left_behind(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        engine.orders.release(Release(registration="default/web"))
        await rig.settle()
        rig.target().set("web/b", None)
        engine.orders.release(Release(registration="default/web"), undo=True)
        await rig.settle()
        assert ours(rig) == ["api/c", "web/b"], "what is there still is a conflict"
        assert any(problem.startswith("conflict") for problem in rig.problems())


@virtual_test
async def test_one_of_two_names_is_released_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.memory["mem"].set(service("web", "a", "b"))
    rig.declare(registration("web", names=["web", "www"]))
    async with rig.running() as engine:
        await rig.settle()
        engine.orders.release(Release(name="www"))
        await rig.settle()
        assert ours(rig) == ["web/a", "web/b"]
        rig.memory["mem"].set(service("web", "a", "b", "c"))
        await rig.settle()
        assert rig.found() == ["web/a", "web/b", "web/c", "www/a", "www/b"]


@virtual_test
async def test_what_goes_while_its_name_is_being_released_stays(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        rig.sinks["out"].down = AdapterError("away")
        engine.orders.release(Release(name="web"))
        rig.memory["mem"].set(service("web", "a"))
        await rig.settle(10)
        rig.sinks["out"].down = None
        await rig.settle(60)
        assert rig.found() == ALL
        assert ours(rig) == ["api/c"]


@virtual_test
async def test_what_waits_for_a_person_is_released_as_well(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running():
        await rig.settle()
    rig.withdraw("registrations", "default/web")
    async with rig.running() as engine:
        await rig.settle()
        assert [hold.cause for hold in engine.holds.holds.values()] == ["UnknownRegistration"]
        engine.orders.release(Release(registration="default/web"))
        await rig.settle()
        assert ours(rig) == ["api/c"]
        assert rig.found() == ALL
        assert not engine.holds.holds


@virtual_test
async def test_a_release_waits_for_a_sink_that_is_away(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        rig.sinks["out"].down = AdapterError("away")
        engine.orders.release(Release())
        await rig.settle(30)
        assert ours(rig) == ALL
        rig.sinks["out"].down = None
        await rig.settle(60)
        assert ours(rig) == []
        assert rig.found() == ALL


@virtual_test
async def test_a_release_that_cannot_be_kept_does_not_happen(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running() as engine:
        await rig.settle()
        (tmp_path / "state" / "released.tmp").mkdir()
        with pytest.raises(OSError, match=r"released\.tmp"):
            engine.orders.release(Release())
        await rig.settle()
        assert ours(rig) == ALL


def test_a_file_of_releases_that_cannot_be_read_stops_the_engine(tmp_path: Path) -> None:
    (tmp_path / "released.json").write_text("{")
    with pytest.raises(ValueError, match="Expected `array`"):
        Releases(tmp_path)


@pytest.mark.parametrize("release", [Release(registration="default/web"), Release(name="web")])
@virtual_test
async def test_an_engine_that_only_releases_writes_nothing_else(tmp_path: Path, release: Release) -> None:
    rig = two(tmp_path)
    rig.declare(registration("web", names=["web"]))
    async with rig.running():
        await rig.settle()
    rig.memory["mem"].set(service("web", instance("a", port=9), "z"), service("api", instance("c", port=9)))
    before = {key: rig.target().records[key] for key in ALL}
    Releases(rig.folder / "state").change(release, undo=False)
    rig.declare(registration("web", names=["web", "www"]))
    async with rig.running(only_releases=True):
        await rig.settle(700)
        assert rig.found() == ALL
        assert ours(rig) == ["api/c"]
        assert rig.target().records["api/c"] == before["api/c"]


@virtual_test
async def test_the_records_of_a_deleted_registration_stay_where_its_policy_is_orphan(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(registration("web", deletionPolicy="Orphan"), sink(safety={"minRemovals": 1, "maxRemovalPercent": 1}))
    async with rig.running() as engine:
        await rig.settle()
        rig.withdraw("registrations", "default/web")
        await rig.settle()
        assert rig.found() == ALL
        assert ours(rig) == ["api/c"]
        assert not removed(rig)
        assert not engine.holds.holds, "consumers see no change: no budget is spent"
        assert [c.action for c in engine.ring.since()][-2:] == ["released", "released"]


@virtual_test
async def test_of_a_registration_that_is_there_orphan_leaves_nothing_behind(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(registration("web", deletionPolicy="Orphan"))
    async with rig.running():
        await rig.settle()
        rig.memory["mem"].set(service("web", "a"))
        await rig.settle()
        assert rig.found() == ["api/c", "web/a"]


@virtual_test
async def test_an_orphan_waits_until_the_manifests_can_be_read(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(registration("web", deletionPolicy="Orphan"))
    async with rig.running():
        await rig.settle()
        rig.sinks["out"].down = AdapterError("away")
        rig.withdraw("registrations", "default/web")
        await rig.settle(1)
        rig.unreadable()
        rig.sinks["out"].down = None
        await rig.settle(60)
        assert ours(rig) == ALL
        rig.declare(complete=True)
        await rig.settle(60)
        assert ours(rig) == ["api/c"]
        assert rig.found() == ALL


@virtual_test
async def test_in_a_sink_that_keeps_nothing_else_the_records_stay_as_they_are(tmp_path: Path) -> None:
    rig = two(tmp_path)
    rig.declare(registration("web", deletionPolicy="Orphan"))
    async with rig.running() as engine:
        await rig.settle()
        engine.reconciler.targets["out"].releases = False
        rig.withdraw("registrations", "default/web")
        await rig.settle()
        assert ours(rig) == ALL
        assert any("keeps none that is not ours" in problem for problem in rig.problems())


@virtual_test
async def test_a_dry_run_tells_what_would_be_left_behind(tmp_path: Path) -> None:
    rig = two(tmp_path)
    async with rig.running():
        await rig.settle()
    Releases(rig.folder / "state").change(Release(registration="default/web"), undo=False)
    async with rig.running(dry_run=True) as engine:
        await rig.settle()
        assert sorted(step.step.instance for step in engine.reconciler.targets["out"].planned.values()) == ["a", "b"]
        assert all(step.step.release for step in engine.reconciler.targets["out"].planned.values())
        assert ours(rig) == ALL
