"""`syncPolicy`: Sync deletes and changes, UpsertOnly never deletes, CreateOnly never deletes nor changes."""

from pathlib import Path

import pytest

from tests.rig import Rig, instance, registration, service
from waypost.testing.virtual import virtual_test

POLICIES = pytest.mark.parametrize("policy", ["Sync", "UpsertOnly", "CreateOnly"])


@POLICIES
def test_what_is_gone_or_not_ready_goes_by_sync_alone(tmp_path: Path, policy: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.memory["mem"].set(service("web", "a", "b", "c"))
        rig.declare(registration("web", syncPolicy=policy))
        async with rig.running():
            await rig.settle()
            rig.memory["mem"].set(service("web", "a", instance("b", readiness="not-ready")))
            await rig.settle(30)
            assert rig.found() == (["web/a"] if policy == "Sync" else ["web/a", "web/b", "web/c"])
            assert len([text for text in rig.problems() if "never deletes" in text]) == (0 if policy == "Sync" else 2)
            rig.memory["mem"].set(service("web", "a", "b", "c"))
            await rig.settle()
            assert rig.found() == ["web/a", "web/b", "web/c"]
            assert rig.problems() == []

    scenario()


@POLICIES
def test_an_old_name_goes_by_sync_alone_and_the_new_one_is_written_by_all(tmp_path: Path, policy: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.memory["mem"].set(service("web", "a"))
        rig.declare(registration("web", names=["old"], syncPolicy=policy))
        async with rig.running():
            await rig.settle()
            rig.declare(registration("web", names=["new"], syncPolicy=policy))
            await rig.settle(30)
            assert rig.found() == (["new/a"] if policy == "Sync" else ["new/a", "old/a"])

    scenario()


@POLICIES
def test_a_change_is_written_unless_only_what_is_new_may_be(tmp_path: Path, policy: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.memory["mem"].set(service("web", instance("a", port=1)))
        rig.declare(registration("web", syncPolicy=policy))
        async with rig.running():
            await rig.settle()
            was = rig.records()["web/a"]
            rig.memory["mem"].set(service("web", instance("a", port=2), "b"))
            await rig.settle(30)
            assert rig.found() == ["web/a", "web/b"]
            assert (rig.records()["web/a"] == was) is (policy == "CreateOnly")

    scenario()


@POLICIES
def test_a_registration_that_is_deleted_takes_its_records_along(tmp_path: Path, policy: str) -> None:
    @virtual_test
    async def scenario() -> None:
        rig = Rig(tmp_path)
        rig.memory["mem"].set(service("web", "a"))
        rig.declare(registration("web", syncPolicy=policy))
        async with rig.running():
            await rig.settle()
            rig.withdraw("registrations", "default/web")
            await rig.settle(30)
            assert rig.found() == []

    scenario()
