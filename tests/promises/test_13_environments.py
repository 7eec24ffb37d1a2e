"""Promise 13.

Nothing is written into a target of another environment; of two installations with one ownerID only the later writes.
"""

from pathlib import Path

from tests.rig import Rig, registration, service, sink, source
from waypost.testing.virtual import virtual_test


@virtual_test
async def test_a_target_whose_stamp_says_another_environment_is_never_written(tmp_path: Path) -> None:
    prod, staging = Rig(tmp_path / "p"), Rig(tmp_path / "s")
    prod.declare(source(environment="prod"), sink(environment="prod", owner="prod"), registration("web"))
    staging.declare(source(environment="staging"), sink(environment="staging", owner="staging"), registration("web"))
    staging.targets = prod.targets
    prod.memory["mem"].set(service("web", "a"))
    staging.memory["mem"].set(service("web", "b"))
    async with prod.running():
        await prod.settle()
    async with staging.running() as engine:
        await staging.settle(3600)
        condition = engine.reconciler.targets["out"].condition
        assert not condition.ok
        assert "prod" in condition.message
    assert staging.found() == ["web/a"]
    assert set(prod.target().stamps) == {"prod"}


@virtual_test
async def test_of_two_with_one_owner_only_the_later_writes_and_the_other_never_claims_again(tmp_path: Path) -> None:
    first, second = Rig(tmp_path / "1"), Rig(tmp_path / "2")
    second.targets = first.targets
    for rig, names in ((first, ["a", "b"]), (second, ["a", "b"])):
        rig.memory["mem"].set(service("web", *names))
        rig.declare(registration("web"))
    async with first.running() as one:
        await first.settle()
        async with second.running():
            await second.settle()
            first.memory["mem"].set(service("web", "a", "b", "mine"))
            await first.settle(3600)
            assert "web/mine" not in first.found()
            assert one.reconciler.targets["out"].condition.reason == "Fenced"
            assert first.target().stamps["me"].fence.epoch == 2
            first.declare(sink(safety={"minRemovals": 7}))  # an edit is no reason to claim again either
            await first.settle(600)
            assert first.target().stamps["me"].fence.epoch == 2
            second.memory["mem"].set(service("web", "a", "b", "theirs"))
            await second.settle()
            assert "web/theirs" in second.found()
