"""A leader of the past writes nothing: what the admission policy adds to the stamp, and what holds without it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed.servers import Kubernetes
from tests.adapters.kubernetes.sink_rig import Owner, Room, instance, many, owner
from tests.real_rig import until
from waypost.adapter import Fenced
from waypost_adapters.kubernetes.sink_cluster import CONFIG_MAPS
from waypost_adapters.kubernetes.sink_stamp import document


@pytest.fixture
async def room(kubernetes: Kubernetes) -> Room:
    return await Room(kubernetes).make()


@pytest.fixture
async def guarded(kubernetes: Kubernetes, fenced: None) -> Room:
    return await Room(kubernetes, fenced=True).make()


async def in_force(ours: Owner) -> None:
    """Wait until the API server has read the stamps: until then the policy refuses everything."""

    async def passes() -> bool:
        return await ours.sink._fencing._passes(ours.sink._config.namespace, ours.fence)

    await until(passes, "the policy knows the stamp")
    assert "in each write" in await ours.sink._fencing.policy_told()


def under_way(ours: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let its writes be past the look at the stamp already, as when they were sent just before another claimed."""

    async def barred(*_: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(ours.sink._fencing, "barred", barred)
    monkeypatch.setattr("waypost_adapters.kubernetes.sink.MOST_TRIES", 2)  # it would look each time, and stop there


@asynccontextmanager
async def two(room: Room, folder: Path) -> AsyncIterator[tuple[Owner, Owner]]:
    """Give a leader of the past, which knows what it wrote, and the present one."""
    async with owner(room, folder) as old, owner(room, folder, claim=False) as new:
        await old.put("web", *many(3))
        fence = await new.sink.claim("test", "me")
        assert fence is not None
        new.fence = fence
        yield old, new


async def test_without_the_policy_what_was_under_way_is_written_shows_and_is_put_right(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(room, tmp_path) as (old, new):
        wanted = new.records("web", *many(3))
        assert await new.repair(wanted) == []
        with monkeypatch.context() as patch:
            under_way(old, patch)
            await old.drop("web", *many(1))
        assert await new.repair(wanted) == ["web.1"]
        assert await room.addresses("web") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


async def test_without_the_policy_it_changes_nothing_that_the_new_leader_has_written_since(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(room, tmp_path) as (old, new):
        await new.put("web", instance("web.9", "10.0.0.9"))
        looks = 0
        real = old.sink._fencing.barred

        async def barred(*asked: Any) -> Any:
            nonlocal looks
            looks += 1
            return {} if looks == 1 else await real(*asked)

        monkeypatch.setattr(old.sink._fencing, "barred", barred)
        before = await room.slices("web")
        with pytest.raises(Fenced):
            await old.apply(old.records("web", *many(2)), delete=True)
        assert await room.slices("web") == before
        assert looks == 2


@pytest.mark.parametrize("kind", ["services", "endpointslices"])
async def test_a_late_deletion_deletes_nothing_that_is_needed_again(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with two(room, tmp_path) as (old, new):
        real = old.sink._cluster.delete
        came: list[Any] = []

        async def delete(resource: Any, *asked: Any) -> None:
            if resource.plural == kind and not came:
                came.append(resource)
                await new.put("web", *many(2))
            await real(resource, *asked)

        under_way(old, monkeypatch)
        monkeypatch.setattr(old.sink._cluster, "delete", delete)
        await old.apply(old.records("web", *many(3)), delete=True)
        assert came
        wanted = new.records("web", *many(2))
        await new.repair(wanted)
        assert await room.get("services", "web") is not None
        assert await room.addresses("web") == ["10.0.0.1", "10.0.0.2"]


# --- with the policy


async def test_what_was_sent_before_another_claimed_is_refused_by_the_api_server(
    guarded: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with owner(guarded, tmp_path) as first:
        await in_force(first)
    async with two(guarded, tmp_path) as (old, _):
        under_way(old, monkeypatch)
        before = [await guarded.all("endpointslices"), await guarded.all("services")]
        for outcomes in (
            await old.apply(old.records("web", instance("web.1", "10.0.0.1", ready=False))),
            await old.apply(old.records("web", *many(3)), delete=True),
            await old.apply(old.records("new", *many(1))),
        ):
            assert {each.status for each in outcomes.values()} == {"superseded"}
        assert [await guarded.all("endpointslices"), await guarded.all("services")] == before


async def test_a_late_write_of_our_own_is_refused_after_an_advance(
    guarded: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with owner(guarded, tmp_path) as ours:
        await in_force(ours)
        await ours.put("web", *many(1))
        higher = await ours.sink.advance(ours.fence)
        with monkeypatch.context() as patch:
            under_way(ours, patch)
            outcomes = await ours.apply(ours.records("web", *many(2)))
        assert {each.status for each in outcomes.values()} == {"superseded"}
        assert await guarded.addresses("web") == ["10.0.0.1"]
        ours.fence = higher
        await ours.put("web", *many(2))


async def test_the_policy_says_nothing_about_what_people_write(guarded: Room, tmp_path: Path) -> None:
    async with owner(guarded, tmp_path) as ours:
        await in_force(ours)
        await ours.put("web", *many(1))
        await ours.sink.claim("test", "me")  # now the objects carry a past epoch
    for arguments in (
        ("label", "service", "web", "team=shop"),
        ("annotate", "endpointslice", "-l", "kubernetes.io/service-name=web", "note=x"),
        ("create", "service", "clusterip", "other", "--tcp=80"),
        ("delete", "service", "web"),
    ):
        await asyncio.to_thread(guarded.kube.kubectl, "-n", guarded.namespace, *arguments)


async def test_a_stamp_reaches_the_policy_soon(guarded: Room, tmp_path: Path) -> None:
    async with owner(guarded, tmp_path) as ours:
        await in_force(ours)
        fencing, took = ours.sink._fencing, []
        for _ in range(20):
            before = ours.fence
            stamp = await fencing._cluster.stamp(guarded.namespace)
            assert stamp is not None
            ours.fence = type(before)(before.epoch + 1)
            body = document(stamp.meta, "test", "me", ours.fence)
            await fencing._cluster.update(CONFIG_MAPS, guarded.namespace, stamp.meta.name, body)
            began = time.monotonic()
            while await fencing._passes(guarded.namespace, before):
                assert time.monotonic() - began < 10
            took.append(1000 * (time.monotonic() - began))
        print(f"a stamp is seen after {statistics.median(took):.0f} ms, {max(took):.0f} at most")
        await ours.put("web", *many(1))
