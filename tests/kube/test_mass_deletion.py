"""A thousand registrations are deleted by one request: what lives is not touched, and no object waits for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from testbed.servers import Etcd
from tests.kube.rig import Cluster
from tests.kube.stage import OnKubernetes, Stage, stage
from waypost.kit.kubernetes.errors import ApiError

COUNT, KEPT = 1000, 100
PERCENT = 30
SECONDS = 180.0


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_thousand_are_deleted_at_once(
    cluster: Cluster, etcd: Etcd, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    doomed = [f"web{number:04}" for number in range(COUNT)]
    kept = [f"api{number:03}" for number in range(KEPT)]
    places = {f"{name}/a" for name in (*doomed, *kept)}
    path = cluster.path("serviceregistrations", namespace=cluster.shop)
    async with stage(cluster, etcd) as made, OnKubernetes(tmp_path / "a", cluster, lease=10) as process:
        await made.declare(maxRemovalPercent=PERCENT)
        await made.register_many(kept)
        await made.register_many(doomed, {"end": "now"})
        await process.start()
        await made.published(places, process, "all are published", SECONDS)
        await process.until(made.have_finalizers, "all have the finalizer", SECONDS)
        before = await made.records()

        began = time.monotonic()
        await _delete(made, path)
        told = time.monotonic() - began
        await process.until(partial(_held, made, COUNT), "what is beyond the budget is held", SECONDS)
        assert len(await made.records()) >= len(places) * (100 - PERCENT) // 100
        objects = {f"{each['metadata']['name']}/a" for each in await made.listed()}
        assert set(await made.records()) <= objects, "an object went before its record"
        held = time.monotonic() - began

        decided = time.monotonic()
        await process.until(partial(_gone_if_approved, made, KEPT), "all objects are gone", SECONDS)
        gone = time.monotonic() - decided
        line = f"{COUNT} registrations: marked in {told:.1f} s, held after {held:.1f} s; once approved {gone:.1f} s"
        record_property("deletion", line)
        print(line)

        await made.published((f"{name}/a" for name in kept), process, "nothing but what lives is there", SECONDS)
        after = await made.records()
        assert after == {place: before[place] for place in after}, "what lives was written again"
        assert await made.removed() == {f"{name}/a" for name in doomed}
        assert {each["metadata"]["name"] for each in await made.listed()} == set(kept)


async def _delete(made: Stage, path: str) -> None:
    """Delete them by one request; again where the API server gave up after its minute, having done a part of it."""
    while True:
        try:
            await made.api.request("DELETE", path, params={"labelSelector": "end=now"}, seconds=SECONDS)
        except ApiError as error:
            if error.status not in {500, 504}:
                raise
        else:
            return


async def _held(made: Stage, count: int) -> bool:
    waits: int = sum(each["status"]["removals"] for each in await made.holds("BudgetExceeded"))
    return waits > 0 and waits + len(await made.removed()) == count


async def _gone_if_approved(made: Stage, left: int) -> bool:
    for hold in await made.holds():
        await made.approve(hold)
    return len(await made.listed()) == left
