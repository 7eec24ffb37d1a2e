"""Events are posted by kopf, the probe tells a loop that stands still, and kopf's end ends nothing."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

from testbed.ports import free_port
from tests.kube.rig import Cluster, until
from tests.rig import service
from waypost.adapter import AdapterError
from waypost.settings.schema import NAMES


async def _event(cluster: Cluster, reason: str, kind: str, name: str = "", namespace: str = "") -> dict[str, Any]:
    """Return the Event with that reason about an object of that kind, once there is one, as kubectl shows it.

    `name`: about this object. `namespace`: of a registration, in place of the tenants'.
    """
    namespace = namespace or (cluster.shop if kind == "ServiceRegistration" else "default")

    async def found() -> dict[str, Any] | None:
        done = await asyncio.to_thread(cluster.kube.kubectl, "get", "events", "-n", namespace, "-o", "json")
        items = json.loads(done.stdout)["items"]
        about = [each for each in items if each["involvedObject"]["kind"] == kind]
        about = [each for each in about if name in {"", each["involvedObject"]["name"]}]
        return next((each for each in about if each["reason"] == reason), None)

    event: dict[str, Any] = await until(found, f"there is an Event {reason} about a {kind}")
    return event


async def test_what_a_person_should_know_is_an_event(cluster: Cluster) -> None:
    cluster.services(service("web", *(f"i{n:02}" for n in range(20))), service("bad", "b"))
    await cluster.source()
    await cluster.sink(safety={"maxRemovalPercent": 30, "minRemovals": 2})
    async with cluster.operator(bound=1.0) as operator:
        await cluster.register("web")
        await cluster.register("bad", sinks=[{"name": "out", "sinkRef": {"name": "out"}, "options": {"colour": "red"}}])
        refused = await _event(cluster, "NotAccepted", "ServiceRegistration")
        assert refused["involvedObject"]["name"] == "bad"
        assert refused["type"] == "Warning"
        assert "options" in refused["message"]
        await until(lambda: len(cluster.published()) == 20, "all are published")
        await until(cluster.ready, "it is ready")
        cluster.services(service("web", "i00"), service("bad", "b"))
        held = await _event(cluster, "Held", "ServiceRegistration")
        assert held["involvedObject"]["name"] == "web"
        await _event(cluster, "Held", "ServiceHold")
        sink: Any = operator.engine.reconciler.targets["out"].sink
        sink.down = AdapterError("unplugged")
        await cluster.delete("serviceregistrations", "web", cluster.shop)
        late = await _event(cluster, "DeletionTimedOut", "ServiceRegistration")
        assert "still to be withdrawn" in late["message"]
        sink.down = None


async def test_a_name_that_another_holds_is_an_event(cluster: Cluster) -> None:
    cluster.services(service("web", "a"), service("api", "b"))
    await cluster.source()
    await cluster.sink()
    await cluster.register("web")
    async with cluster.operator():
        await until(cluster.ready, "the first holds the name")
        held = cluster.published()
        await cluster.register("api", names=["web"])
        for name, said in (
            ("api", f"the name `web` is held by registration {cluster.shop}/web"),
            ("web", f"the name `web` stays with it, though registration {cluster.shop}/api wants it"),
        ):
            event = await _event(cluster, "Conflicted", "ServiceRegistration", name)
            assert event["type"] == "Warning"
            assert said in event["message"]
        await cluster.sink(grants=[{"namespaces": [cluster.shop, cluster.home]}])
        await cluster.source(grants=[{"namespaces": [cluster.shop, cluster.home]}])
        await cluster.register("api", namespace=cluster.home, names=["web"])
        event = await _event(cluster, "Conflicted", "ServiceRegistration", "api", namespace=cluster.home)
        assert "the name `web` is held by another registration" in event["message"]
        assert cluster.shop not in event["message"]
        assert cluster.published() == held


async def test_a_decision_is_an_event(cluster: Cluster) -> None:
    cluster.services(service("web", *(f"i{n:02}" for n in range(20))))
    await cluster.source()
    await cluster.sink(safety={"maxRemovalPercent": 30, "minRemovals": 2})
    await cluster.register("web")
    async with cluster.operator():
        await until(lambda: len(cluster.published()) == 20, "all are published")
        cluster.services(service("web", "i00"))
        plural = NAMES["ServiceHold"][0]

        async def made() -> Any:
            return (await cluster.kube.call("GET", cluster.path(plural)))["items"]

        (hold, *_) = await until(made, "there is a hold")
        body = {"spec": {"decision": "Approve", "reason": "CHG-1 they are switched off"}}
        await cluster.patch(plural, hold["metadata"]["name"], body)
        event = await _event(cluster, "Approved", "ServiceHold")
        assert event["message"] == "CHG-1 they are switched off"
        shown = await asyncio.to_thread(cluster.kube.kubectl, "describe", "servicehold", hold["metadata"]["name"])
        (line,) = (line for line in shown.stdout.splitlines() if "CHG-1" in line and "Approved" in line)
        assert line.split()[:2] == ["Normal", "Approved"]
        assert "waypost" in line.split()


async def test_the_probe_answers_and_fails_while_the_loop_stands_still(cluster: Cluster) -> None:
    port = free_port()

    def ask(seconds: float) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=seconds) as answer:
            return json.load(answer)

    async def answers() -> Any:
        try:
            return await asyncio.to_thread(ask, 5.0)
        except OSError:
            return None

    async with cluster.operator(probe=f"127.0.0.1:{port}"):
        said = await until(answers, "the probe answers")
        assert set(said["engine"]) == {"read", "leads"}
        await asyncio.sleep(10.5)  # kopf keeps an answer for ten seconds
        asked = asyncio.ensure_future(asyncio.to_thread(ask, 1.0))
        await asyncio.sleep(0)
        time.sleep(2.5)  # noqa: ASYNC251 - what is tried: the loop stands still
        assert isinstance((await asyncio.gather(asked, return_exceptions=True))[0], OSError)


async def test_where_kopf_may_do_nothing_all_else_goes_on(cluster: Cluster, caplog: Any) -> None:
    cluster.services(service("web", "a"))
    await cluster.source()
    await cluster.sink()
    await cluster.register("web")
    async with cluster.operator(probe="no such address:1"):  # it ends at once, and again
        await until(cluster.ready, "it is ready")
        await until(lambda: "kopf=ended" in caplog.text, "its end is told")
        await cluster.register("web", names=["other"])
        await until(lambda: any("other" in key for key in cluster.published()), "edits are followed")
