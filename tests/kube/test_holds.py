"""Holds are objects: Waypost makes them, kubectl decides them, the next leader knows them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.kube.rig import Cluster, always, until
from tests.rig import service
from waypost.settings.schema import NAMES

ALL = [f"i{number:02}" for number in range(20)]
PLURAL = NAMES["ServiceHold"][0]


async def _hold(cluster: Cluster, seconds: float = 60.0) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        items = (await cluster.kube.call("GET", cluster.path(PLURAL)))["items"]
        return next((item for item in items if item.get("status", {}).get("pairs")), None)

    hold: dict[str, Any] = await until(found, "there is a hold, with its set", seconds)
    return hold


async def _begin(cluster: Cluster) -> None:
    cluster.services(service("web", *ALL))
    await cluster.source()
    await cluster.sink(safety={"maxRemovalPercent": 30, "minRemovals": 2})
    await cluster.register()


async def _lose(cluster: Cluster, left: int) -> None:
    await until(lambda: len(cluster.published()) == 20, "all are published")
    cluster.services(service("web", *ALL[:left]))


async def _decide(cluster: Cluster, hold: dict[str, Any], decision: str) -> None:
    body = {"spec": {"decision": decision, "reason": "CHG-4711: old machines"}}
    await cluster.patch(PLURAL, hold["metadata"]["name"], body)


async def test_a_hold_is_made_and_an_approval_by_kubectl_lets_it_pass(cluster: Cluster) -> None:
    await _begin(cluster)
    async with cluster.operator():
        await _lose(cluster, 5)
        hold = await _hold(cluster)
        assert hold["status"]["cause"] == "BudgetExceeded"
        assert hold["status"]["sinkRef"] == {"name": "out"}
        waits = hold["status"]["removals"]
        assert 0 < waits <= 15
        assert len(cluster.published()) == 5 + waits
        conditions = await until(lambda: _held(cluster), "the registration says that something is held")
        assert conditions["Held"] == "True Held"
        await always(lambda: len(cluster.published()) == 5 + waits, 1.0, "it waits")
        await _decide(cluster, hold, "Approve")
        await until(lambda: len(cluster.published()) == 5, "what was approved is withdrawn")
        await until(lambda: _decided(cluster, hold), "the object says when it was decided")


async def _held(cluster: Cluster) -> dict[str, str] | None:
    found = await cluster.conditions("serviceregistrations", "web", cluster.shop)
    return found if "Held" in found else None


async def _decided(cluster: Cluster, hold: dict[str, Any]) -> bool:
    found = await cluster.get(PLURAL, hold["metadata"]["name"])
    return found is None or bool(found["status"].get("decidedTime"))


async def test_the_next_leader_knows_the_set_and_the_decision(cluster: Cluster) -> None:
    await _begin(cluster)
    async with cluster.operator():
        await _lose(cluster, 5)
        hold = await _hold(cluster)
    held = len(cluster.published())
    await _decide(cluster, hold, "Approve")  # while nobody runs
    async with cluster.operator() as operator:  # with a state folder of its own: it knows only what the objects say
        await until(lambda: len(cluster.published()) == 5, "what was approved is withdrawn")
        assert held > 5
        (known,) = operator.engine.holds.holds.values()
        assert known.digest == hold["spec"]["digest"]


async def test_a_rejection_keeps_what_was_to_go_and_a_deleted_hold_takes_the_decision_back(cluster: Cluster) -> None:
    await _begin(cluster)
    async with cluster.operator():
        await _lose(cluster, 5)
        hold = await _hold(cluster)
        held = len(cluster.published())
        await _decide(cluster, hold, "Reject")
        await until(lambda: _decided(cluster, hold), "it is decided")
        await always(lambda: len(cluster.published()) == held, 1.0, "what was rejected stays")
        await cluster.delete(PLURAL, hold["metadata"]["name"])

        async def anew() -> dict[str, Any] | None:
            found = await cluster.get(PLURAL, hold["metadata"]["name"])
            again = found is not None and found["metadata"]["uid"] != hold["metadata"]["uid"]
            return found if again and found is not None and found.get("status", {}).get("pairs") else None

        new = await until(anew, "it is made anew")
        assert "decision" not in new["spec"], "what was decided of the former one is taken back"
        assert len(cluster.published()) == held
        await _decide(cluster, new, "Approve")
        await until(lambda: len(cluster.published()) == 5, "the new decision counts")


async def test_the_set_cannot_be_changed_by_who_may_decide(cluster: Cluster) -> None:
    await _begin(cluster)
    async with cluster.operator():
        await _lose(cluster, 5)
        hold = await _hold(cluster)
        name = hold["metadata"]["name"]
        done = await asyncio.to_thread(
            cluster.kube.kubectl,
            *("patch", "shold", name, "--type=merge", "-p", '{"spec":{"digest":"sha256-0"},"status":{"pairs":"AAAA"}}'),
            check=False,
        )
        assert done.returncode != 0
        assert "digest is immutable" in done.stderr
        await cluster.patch(PLURAL, name, {"status": {"pairs": "AAAA"}})  # the main resource ignores it
        found = await cluster.get(PLURAL, name)
        assert found is not None
        assert found["status"]["pairs"] == hold["status"]["pairs"]
