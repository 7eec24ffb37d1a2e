"""The promises through custom resources, as far as no other file here has them.

The fourth is in test_holds.py and test_mass_deletion.py, the fifth in test_failover.py, the eleventh and twelfth in
test_disruption.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.kube.rig import Cluster, Operator, always, until
from tests.rig import service
from waypost.adapter import AdapterError
from waypost.testing.memory import SharedTarget


async def _begin(cluster: Cluster, *names: str) -> None:
    cluster.services(*(service(name, "a", "b") for name in names))
    await cluster.source()
    await cluster.sink()
    for name in names:
        await cluster.register(name)


async def _says(cluster: Cluster, condition: str, begins: str, name: str = "web") -> bool:
    found = await cluster.conditions("serviceregistrations", name, cluster.shop)
    return found.get(condition, "").startswith(begins)


async def _is_gone(cluster: Cluster, name: str = "web") -> bool:
    return await cluster.get("serviceregistrations", name, cluster.shop) is None


def _sink(operator: Operator, name: str = "out") -> Any:
    return operator.engine.reconciler.targets[name].sink


def _deletions(cluster: Cluster) -> list[str]:
    return [write.key for write in cluster.targets["out"].log if write.new is None]


async def test_1_a_record_of_nobody_s_stays_and_the_registration_says_that_it_is_in_conflict(cluster: Cluster) -> None:
    await _begin(cluster)
    target, by_hand = cluster.targets["out"], b'{"by": "hand"}'
    target.set("web/a", by_hand)
    cluster.services(service("web", "a", "b"))
    async with cluster.operator():
        await cluster.register()
        await until(partial(_says, cluster, "Conflicted", "True"), "it says so")
        assert cluster.published() == ["web/a", "web/b"]
        await cluster.delete("serviceregistrations", "web", cluster.shop)
        await until(partial(_is_gone, cluster), "the object goes")
    assert target.records == {"web/a": by_hand}
    assert {write.by for write in target.log if write.key == "web/a"} == {""}


async def test_2_a_source_that_cannot_be_read_by_a_new_operator_costs_no_record(cluster: Cluster) -> None:
    await _begin(cluster, "web")
    async with cluster.operator():
        await until(cluster.ready, "it is ready")
    written = len(cluster.targets["out"].log)
    cluster.memory["mem"].fail()
    async with cluster.operator() as operator:

        async def told() -> bool:
            return (await cluster.conditions("servicesources", "mem")).get("Ready", "").startswith("False")

        await until(told, "the source says that it is down")
        assert cluster.published() == ["web/a", "web/b"]
        cluster.memory["mem"].recover()
        await until(operator.engine.settled, "all is settled")
    assert len(cluster.targets["out"].log) == written


async def test_3_and_8_a_sink_that_is_down_delays_no_other_and_is_filled_when_it_is_back(cluster: Cluster) -> None:
    await _begin(cluster, "web")
    await cluster.sink("dead")
    both = [{"name": name, "sinkRef": {"name": name}} for name in ("out", "dead")]
    await cluster.register("web", sinks=both)
    async with cluster.operator() as operator:
        await until(lambda: len(cluster.published("dead")) == 2, "both are filled")
        _sink(operator, "dead").down = AdapterError("unplugged")
        cluster.services(service("web", "a", "b", "c"))
        await until(lambda: "web/c" in cluster.published(), "the other goes on")
        await until(partial(_says, cluster, "Programmed", "False"), "the registration says what is missing")
        assert cluster.published("dead") == ["web/a", "web/b"]
        _sink(operator, "dead").down = None
        await until(lambda: "web/c" in cluster.published("dead"), "it is filled")
        await until(cluster.ready, "the registration says that all is well")


async def test_6_and_10_a_restart_writes_no_record_and_idle_nothing_is_written(cluster: Cluster) -> None:
    await _begin(cluster, "web", "api")
    async with cluster.operator():
        await until(cluster.ready, "it is ready")
        await until(partial(cluster.ready, "api"), "the other too")
    written = len(cluster.targets["out"].log)
    async with cluster.operator() as operator:
        await until(operator.engine.settled, "all is settled")
        await always(lambda: len(cluster.targets["out"].log) == written, 2.0, "nothing is written")


async def test_6_a_registration_that_is_renamed_leaves_no_gap(cluster: Cluster) -> None:
    await _begin(cluster, "web")
    entry = {"name": "all", "sourceRef": {"name": "mem"}, "service": {"name": "web"}}
    async with cluster.operator():
        await until(cluster.ready, "it is ready")
        await cluster.register("web2", sources=[entry])
        await until(partial(_says, cluster, "Conflicted", "True", "web2"), "the name is another's yet")
        await cluster.delete("serviceregistrations", "web", cluster.shop)
        await until(partial(_is_gone, cluster), "the former goes")
        await until(partial(cluster.ready, "web2"), "the other has the name")
        assert cluster.published() == ["web/a", "web/b"]
    assert not _deletions(cluster)


async def test_7_what_replaces_another_is_written_before_that_goes(cluster: Cluster) -> None:
    await _begin(cluster, "web")
    async with cluster.operator():
        await until(cluster.ready, "it is ready")
        cluster.services(service("web", "c", "d"))
        await until(lambda: cluster.published() == ["web/c", "web/d"], "they are replaced")
    log = [(write.key, write.new is not None) for write in cluster.targets["out"].log]
    written = [log.index((key, True)) for key in ("web/c", "web/d")]
    gone = [log.index((key, False)) for key in ("web/a", "web/b")]
    assert max(written) < min(gone), log


async def test_9_what_is_deleted_while_its_write_is_under_way_does_not_come_back(cluster: Cluster) -> None:
    await _begin(cluster, "web")
    async with cluster.operator() as operator:
        await until(cluster.ready, "it is ready")
        _sink(operator).latency = 1.0
        cluster.services(service("web", "a", "b", "c"))
        await until(lambda: _sink(operator).in_flight, "a write is under way")
        await cluster.delete("serviceregistrations", "web", cluster.shop)
        await until(partial(_is_gone, cluster), "the object goes")
        assert cluster.published() == []
        await always(lambda: not cluster.published(), 2.0, "nothing comes back")


async def test_13_a_target_of_another_environment_is_not_written_and_the_sink_says_why(cluster: Cluster) -> None:
    cluster.targets["out"] = SharedTarget()
    cluster.targets["out"].claim("prod", "somebody", 0)
    await _begin(cluster, "web")
    async with cluster.operator():

        async def told() -> bool:
            found = await cluster.get("servicesinks", "out")
            return found is not None and "environment `prod`" in str(found.get("status"))

        await until(told, "the sink says why")
        await until(partial(_says, cluster, "Ready", "False"), "the registration says that it is not ready")
        assert not cluster.targets["out"].log
